"""Training: batches, noise and losses do what the recipe says; a run learns, stops, resumes and exports."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from engine.caches.prefix import PrefixCache, encode_prefix, over_cache
from engine.checkpoints.hub import EMBEDDED
from engine.checkpoints.open_tokenizer import open_tokenizer
from engine.checkpoints.weights import load_model
from engine.errors import BrokenCheckpoint
from engine.networks.model import DiffusionGemma
from engine.text.special import Special
from engine.training.average import average
from engine.training.data import CANVAS_AREA, SEQUENCE, Shards, batches, make_batch, noise_levels, shift
from engine.training.export import export
from engine.training.loss import causal_loss, joint_loss
from engine.training.optimizer import Muon, orthogonalise
from engine.training.pack import UNUSED
from engine.training.recipe import SIZES, Recipe, initialise, model_config
from engine.training.train import run
from engine.training.trainer import State, Trainer
from tests.engine.checkpoints import write_own_checkpoint, write_reference_checkpoint

VOCAB = 4096
RECIPE = Recipe(size="tiny", rows=4, causal_batches=3, warmup=2)


@pytest.fixture
def shards(tmp_path: Path) -> Shards:
    """Forty examples whose prefix counts upwards, so that there is something to learn."""
    rng = np.random.default_rng(0)
    suffix_lens, prefix_lens = rng.integers(0, 81, 40), rng.integers(40, 225, 40)
    tokens = np.concatenate(
        [np.arange(100, 100 + s + p) for s, p in zip(suffix_lens, prefix_lens, strict=True)]
    )
    starts = np.full((40, 4), UNUSED, dtype=np.uint16)
    starts[:, 0], starts[:, 1], starts[:, 2] = prefix_lens - 3, prefix_lens - 20, prefix_lens - 38
    np.savez_compressed(
        tmp_path / "train-0000.npz",
        tokens=tokens.astype(np.uint16),
        suffix_lens=suffix_lens.astype(np.uint16),
        prefix_lens=prefix_lens.astype(np.uint16),
        starts=starts,
    )
    return Shards([tmp_path / "train-0000.npz"])


def test_a_batch_holds_the_examples(shards: Shards) -> None:
    batch = make_batch(shards, np.arange(4), VOCAB, np.random.default_rng(0), 0.5, canvas_tokens=32)
    assert batch.ids.shape == (4, SEQUENCE)
    assert batch.canvas.shape == (4, CANVAS_AREA)
    for row in range(4):
        suffix, prefix, _ = shards.example(row)
        ids = batch.ids[row].tolist()
        whole = [Special.BOS, Special.SUFFIX, *suffix, Special.PREFIX, *prefix, Special.EOM]
        assert ids[: len(whole)] == whole
        assert set(ids[len(whole) :]) <= {Special.PAD}
        for group in range(4):
            canvas = batch.canvas[row].view(4, 32)[group].tolist()
            begin = int(batch.start[row].view(4, 32)[group, 0])
            middle = canvas[: canvas.index(Special.EOM)]
            # The canvas continues exactly where its part of the prefix ends, and ends where it ends.
            assert ids[begin : begin + len(middle)] == middle
            assert ids[begin + len(middle)] == Special.EOM
            assert set(canvas[len(middle) + 1 :]) <= {Special.PAD}


def test_large_canvases_take_the_long_middles(shards: Shards) -> None:
    batch = make_batch(shards, np.arange(4), VOCAB, np.random.default_rng(0), 0.5, canvas_tokens=64)
    for row in range(4):
        lengths = {int((c != Special.PAD).sum()) - 1 for c in batch.canvas[row].view(2, 64)}
        assert lengths == {20, 38}


def test_the_middles_are_marked_where_the_encoder_reads_them(shards: Shards) -> None:
    batch = make_batch(shards, np.arange(4), VOCAB, np.random.default_rng(0), 0.5, canvas_tokens=32)
    for row in range(4):
        end = batch.ids[row].tolist().index(Special.EOM)
        starts = [int(start) for start in batch.start[row].view(4, 32)[:, 0]]
        expected = [sum(start <= at <= end for start in starts) / 4 for at in range(SEQUENCE)]
        assert batch.in_middle[row].tolist() == expected


def test_the_middles_loss_is_that_of_their_tokens_alone(shards: Shards) -> None:
    torch.manual_seed(0)
    model = initialise(DiffusionGemma(model_config(vocab=VOCAB, **SIZES["tiny"])))
    batch = make_batch(shards, np.arange(2), VOCAB, np.random.default_rng(0), 0.5, canvas_tokens=32)
    only_last = torch.zeros_like(batch.in_middle)
    ends = [row.tolist().index(Special.EOM) for row in batch.ids]
    only_last[[0, 1], ends] = 1.0
    with torch.no_grad():
        losses = causal_loss(model, replace(batch, in_middle=only_last))
        alone = []
        for row, end in enumerate(ends):
            cache = PrefixCache(model.config, dtype=torch.float32, device=torch.device("cpu"))
            states = encode_prefix(model, cache, batch.ids[row, :end].tolist())
            alone.append(-model.logits(states)[0, -1].log_softmax(-1)[Special.EOM])
    torch.testing.assert_close(losses.middle, torch.stack(alone).mean(), atol=1e-4, rtol=1e-4)


def test_pads_weigh_as_one_token(shards: Shards) -> None:
    batch = make_batch(shards, np.arange(4), VOCAB, np.random.default_rng(0), 1.0, canvas_tokens=32)
    pads = batch.canvas == Special.PAD
    for canvas_pads, weight in zip(pads.view(-1, 32), batch.weight.view(-1, 32), strict=True):
        assert float(weight[canvas_pads].sum()) == pytest.approx(1.0 if canvas_pads.any() else 0.0)
        assert weight[~canvas_pads].eq(1).all()


def test_noise_is_the_only_difference(shards: Shards) -> None:
    clean = make_batch(shards, np.arange(4), VOCAB, np.random.default_rng(0), 0.5, noise=0.0)
    assert clean.noisy.equal(clean.canvas)
    assert clean.weight[clean.canvas != Special.PAD].eq(0.5).all()
    noisy = make_batch(shards, np.arange(4), VOCAB, np.random.default_rng(0), 0.5, noise=1.0)
    assert (noisy.noisy != noisy.canvas).float().mean() > 0.99


def test_mistakes_are_shifts_and_the_models_own_samples(shards: Shards) -> None:
    batch = make_batch(
        shards, np.arange(40), VOCAB, np.random.default_rng(0), 0.5, noise=0.0, canvas_tokens=32, mistakes=1.0
    )
    changed = (batch.noisy != batch.canvas).view(-1, 32)
    assert 0.35 < changed.any(-1).float().mean() < 0.65  # half are shifted
    assert not batch.own.any()  # nothing is corrupted, so there is nothing to put samples in place of
    noisy = make_batch(
        shards, np.arange(40), VOCAB, np.random.default_rng(0), 0.5, noise=1.0, canvas_tokens=32, mistakes=1.0
    )
    assert 0.3 < noisy.own.view(-1, 32).all(-1).float().mean() < 0.7
    plain = make_batch(shards, np.arange(40), VOCAB, np.random.default_rng(0), 0.5, noise=1.0)
    assert not plain.own.any()


@pytest.mark.parametrize("by", [-2, -1, 1, 2])
def test_a_shift_moves_what_lies_behind_it(by: int) -> None:
    class Draw:
        def random(self, shape: tuple[int, ...]) -> np.ndarray:
            return np.full(shape, 0.6)  # of six tokens: the fourth

        def choice(self, values: list[int], shape: tuple[int, ...]) -> np.ndarray:
            assert by in values
            return np.full(shape, by)

    end = int(Special.EOM)
    canvas = np.array([[[10, 11, 12, 13, 14, end, 0, 0]]])
    expected = {
        -2: [10, 11, 12, 11, 12, 13, 14, end],
        -1: [10, 11, 12, 12, 13, 14, end, 0],
        1: [10, 11, 12, 14, end, 0, 0, 0],
        2: [10, 11, 12, end, 0, 0, 0, 0],
    }
    assert shift(canvas, Draw())[0, 0].tolist() == expected[by]  # type: ignore[arg-type]


def test_noise_levels_follow_the_mixture() -> None:
    t = noise_levels((100, 100), np.random.default_rng(0))
    assert (t == 1).mean() == pytest.approx(0.15, abs=0.001)
    assert ((t >= 0.02) & (t < 0.3)).mean() == pytest.approx(0.15, abs=0.001)
    assert t.min() >= 0.02


def test_batches_resume_exactly(shards: Shards) -> None:
    def stream(first: int) -> list[torch.Tensor]:
        source = batches(shards, 4, VOCAB, seed=1, first_batch=first, clean_weight=0.5)
        return [next(source).noisy for _ in range(15 - first)]

    whole, resumed = stream(0), stream(8)
    assert all(a.equal(b) for a, b in zip(whole[8:], resumed, strict=True))
    assert not whole[0].equal(whole[10])  # another epoch, another order and noise


def test_the_loss_sees_what_inference_sees(shards: Shards) -> None:
    """Each canvas's logits in the packed training pass equal those of the engine's own two modes."""
    torch.manual_seed(0)
    model = initialise(DiffusionGemma(model_config(vocab=VOCAB, **SIZES["tiny"])))
    batch = make_batch(shards, np.arange(2), VOCAB, np.random.default_rng(0), 1.0, canvas_tokens=32)
    logits: list[torch.Tensor] = []
    original = model.logits

    def spy(states: torch.Tensor) -> torch.Tensor:
        logits.append(original(states))
        return logits[-1]

    model.logits = spy  # type: ignore[method-assign]
    with torch.no_grad():
        joint_loss(model, batch, conditioned=False)
        packed = next(found for found in logits if found.shape[1] == CANVAS_AREA)
        for row in range(2):
            for group in range(4):
                begin = int(batch.start[row].view(4, 32)[group, 0])
                cache = PrefixCache(model.config, dtype=torch.float32, device=torch.device("cpu"))
                encode_prefix(model, cache, batch.ids[row, :begin].tolist())
                canvas = batch.noisy[row].view(4, 32)[group][None]
                positions = torch.arange(begin, begin + 32)[None]
                alone = original(model.denoise(canvas, positions, over_cache(cache), None))
                torch.testing.assert_close(
                    packed[row].view(4, 32, -1)[group][None], alone, atol=1e-4, rtol=1e-4
                )


def test_orthogonalise_flattens_singular_values() -> None:
    matrices = torch.randn(3, 24, 64, generator=torch.Generator().manual_seed(0))
    values = torch.linalg.svdvals(orthogonalise(matrices))
    assert values.min() > 0.5
    assert values.max() < 1.3
    tall = orthogonalise(matrices.mT)
    torch.testing.assert_close(tall, orthogonalise(matrices).mT, atol=1e-2, rtol=0)


def test_muon_goes_downhill() -> None:
    torch.manual_seed(0)
    weight = torch.nn.Parameter(torch.randn(2, 8, 16))
    target = torch.randn(2, 8, 16)
    optimizer = Muon([weight], lr=0.05, weight_decay=0.0)
    first = (weight - target).square().mean().item()
    for _ in range(200):
        loss = (weight - target).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.3 * first


def test_a_run_learns_resumes_and_exports(shards: Shards, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    trainer = Trainer(RECIPE, device="cpu", compiled=False)
    before = trainer.evaluate(shards, rows=4)
    for _ in range(25):
        source = batches(
            shards, 4, VOCAB, seed=0, first_batch=trainer.state.batch, clean_weight=RECIPE.clean_weight
        )
        losses = trainer.step(next(source))
    assert set(losses) == {"causal", "middle", "denoising"}
    after = trainer.evaluate(shards, rows=4)
    assert after["causal"] < before["causal"] - 1
    assert after["denoising@0.5"] < before["denoising@0.5"] - 0.5
    trainer.save(folder)

    resumed = Trainer(RECIPE, device="cpu", compiled=False)
    resumed.load(folder)
    assert resumed.state == trainer.state
    assert resumed.evaluate(shards, rows=4) == pytest.approx(after)

    # The cool-down ends by itself, at a learning rate of zero.
    resumed.state.decay_from, resumed.state.decay_batches = resumed.state.batch, 3
    run(resumed, shards, shards, folder, minutes=5)
    assert resumed.state.finished()
    assert resumed.state.lr_scale() == 0
    assert (folder / "log.jsonl").read_text().count("held out") == 1

    export(folder, tmp_path / "checkpoint", EMBEDDED / "tokenizer.json")
    loaded = load_model(tmp_path / "checkpoint")
    torch.testing.assert_close(
        loaded.embed_tokens.weight.float(), resumed.model.embed_tokens.weight, atol=1e-2, rtol=1e-2
    )

    # Where nothing else is left, training goes on from what was shipped, and with data not seen yet.
    again = Trainer(RECIPE, device="cpu", compiled=False)
    again.load_weights(tmp_path / "checkpoint")
    assert (again.state.batch, again.state.seconds) == (resumed.state.batch, resumed.state.seconds)
    assert again.evaluate(shards, rows=4) == pytest.approx(resumed.evaluate(shards, rows=4), abs=0.02)
    (tmp_path / "checkpoint" / "training.json").unlink()
    with pytest.raises(BrokenCheckpoint, match="training cannot go on from"):
        again.load_weights(tmp_path / "checkpoint")


def test_checkpoints_are_averaged_by_their_weights(tmp_path: Path) -> None:
    folders = [tmp_path / name for name in ("one", "other")]
    models = [write_own_checkpoint(folder, seed=seed) for seed, folder in enumerate(folders)]
    for folder, batch in zip(folders, (7, 3), strict=True):
        (folder / "training.json").write_text(f'{{"batch": {batch}, "seconds": 1.0}}\n')
    average([(folders[0], 1.0), (folders[1], 3.0)], tmp_path / "mean")
    mean = load_model(tmp_path / "mean", dtype=torch.float32).state_dict()
    first, second = (model.state_dict() for model in models)
    assert any(not torch.equal(first[name], second[name]) for name in mean)
    for name, found in mean.items():
        expected = (first[name].float() + 3 * second[name].float()) / 4
        torch.testing.assert_close(found, expected, atol=5e-3, rtol=1e-2)
    assert (tmp_path / "mean/training.json").read_text() == (folders[0] / "training.json").read_text()
    assert open_tokenizer(tmp_path / "mean").encode("x = 1") == open_tokenizer(folders[0]).encode("x = 1")
    with pytest.raises(ValueError, match="add up to 0"):
        average([(folders[0], 0.0)], tmp_path / "nothing")


def test_only_checkpoints_of_one_shape_are_averaged(tmp_path: Path) -> None:
    write_own_checkpoint(tmp_path / "own")
    write_reference_checkpoint(tmp_path / "reference")
    with pytest.raises(BrokenCheckpoint, match="not of the same shape"):
        average([(tmp_path / "own", 1.0), (tmp_path / "reference", 1.0)], tmp_path / "mean")


@pytest.mark.parametrize(
    "content", [b"", b"nothing", b"PK\x03\x04nothing", b"\x80\x04.", b"\x93NUMPY\x01\x00"]
)
def test_what_is_no_shard_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "train-0000.npz").write_bytes(content)
    with pytest.raises(BrokenCheckpoint, match="is not a shard"):
        Shards([tmp_path / "train-0000.npz"])
    with pytest.raises(BrokenCheckpoint, match="no shards"):
        Shards([])


@pytest.mark.usefixtures("shards")
def test_a_damaged_shard_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "train-0000.npz"
    whole = path.read_bytes()
    for at in range(0, len(whole), len(whole) // 50):
        for damaged in (whole[:at], whole[:at] + b"\xff\x00" + whole[at + 2 :]):
            path.write_bytes(damaged)
            with contextlib.suppress(BrokenCheckpoint):  # some bytes mean nothing, such as a date
                Shards([path])
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(BrokenCheckpoint, match="is not a shard"):
        Shards([path])


@pytest.mark.parametrize("part", ["tokens", "suffix_lens", "prefix_lens", "starts"])
def test_a_shard_that_contradicts_itself_is_refused(shards: Shards, tmp_path: Path, part: str) -> None:
    path = tmp_path / "train-0000.npz"
    with np.load(path) as stored:
        arrays = dict(stored)
    np.savez(path, **{**arrays, part: arrays[part][1:]})
    with pytest.raises(BrokenCheckpoint, match="different lengths"):
        Shards([path])
    np.savez(path, **{**arrays, part: arrays[part].astype(np.float32)})
    with pytest.raises(BrokenCheckpoint, match="other types"):
        Shards([path])


def test_a_plan_is_a_whole_run_in_so_much_time() -> None:
    state = State(recipe=replace(RECIPE, causal_batches=10**6), batch=100, plan_seconds=1000.0)

    def at(seconds: float) -> tuple[float, bool, float, bool]:
        state.seconds = seconds
        return round(state.lr_scale(), 3), state.causal_only(), state.mistakes_now(), state.finished()

    assert at(0) == (1.0, True, 0.0, False)
    assert at(160) == (1.0, False, 0.0, False)
    assert at(550) == (1.0, False, 0.0, False)
    assert at(775) == (0.5, False, 0.0, False)
    assert at(910) == (0.2, False, 0.5, False)
    assert at(1000) == (0.0, False, 0.5, True)


def test_a_share_of_the_batches_trains_the_causal_direction_alone(shards: Shards) -> None:
    state = State(recipe=replace(RECIPE, causal_batches=2), causal_share=0.75)
    alone = [replace(state, batch=batch).causal_only() for batch in range(402)]
    assert alone[:2] == [True, True]
    assert sum(alone[2:]) == 300
    assert all(sum(alone[first : first + 8]) == 6 for first in range(2, 394))
    trainer = Trainer(replace(RECIPE, causal_batches=0), device="cpu", compiled=False)
    batch = make_batch(shards, np.arange(4), VOCAB, np.random.default_rng(0), 0.5)
    assert "denoising" in trainer.step(batch)
    trainer.state.causal_share = 1.0
    assert "denoising" not in trainer.step(batch)


def test_a_run_warms_up_again_after_it_has_cooled_down() -> None:
    state = State(recipe=RECIPE, batch=10)
    state.cool_down(4)
    state.batch = 14
    assert state.finished()
    state.warm_up_again(0.5)
    assert (state.finished(), state.lr_scale()) == (False, 0.25)
    state.batch += 1
    assert state.lr_scale() == 0.5
