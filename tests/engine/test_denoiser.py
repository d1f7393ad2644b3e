"""The loop's promises: seeds, budgets, pins, deadlines, cancellation, batches, and a cache only read."""

from __future__ import annotations

import threading

import pytest
import torch

from engine.caches.prefix import PrefixCache, encode_prefix
from engine.config import SamplerConfig
from engine.denoising.denoiser import Draft, Plan, denoise
from engine.denoising.sampler import FREE
from engine.errors import InvalidRequest
from engine.networks.model import DiffusionGemma
from engine.request import CANVAS_LENGTHS, Stop
from tests.engine.checkpoints import write_own_checkpoint

CONFIG = SamplerConfig(max_denoising_steps=5, entropy_bound=3.0, confidence_threshold=1e-6)
PROMPT = list(range(20, 60))


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> DiffusionGemma:
    return write_own_checkpoint(tmp_path_factory.mktemp("model"))


def _encoded(model: DiffusionGemma, prompt: list[int]) -> PrefixCache:
    cache = PrefixCache(model.config, dtype=torch.float32, device=torch.device("cpu"))
    with torch.inference_mode():
        encode_prefix(model, cache, prompt)
    return cache


@pytest.fixture
def cache(model: DiffusionGemma) -> PrefixCache:
    return _encoded(model, PROMPT)


def _run(
    model: DiffusionGemma, cache: PrefixCache, plan: Plan, config: SamplerConfig = CONFIG
) -> list[Draft]:
    return list(denoise(model, cache, config, plan, threading.Event()))


@pytest.mark.parametrize("length", CANVAS_LENGTHS)
def test_every_canvas_length(model: DiffusionGemma, cache: PrefixCache, length: int) -> None:
    *_, last = _run(model, cache, Plan(length=length, max_steps=2))
    assert last.tokens.shape == (1, length)
    assert ((last.confidence > 0) & (last.confidence <= 1)).all()


def test_a_seed_gives_one_result(model: DiffusionGemma, cache: PrefixCache) -> None:
    first = _run(model, cache, Plan(length=32, seed=7))[-1].tokens
    again = _run(model, cache, Plan(length=32, seed=7))[-1].tokens
    other = _run(model, cache, Plan(length=32, seed=8))[-1].tokens
    assert first.equal(again)
    assert not first.equal(other)


def test_the_budget_is_kept_and_reported(model: DiffusionGemma, cache: PrefixCache) -> None:
    drafts = _run(model, cache, Plan(length=32))
    assert [draft.number for draft in drafts] == [1, 2, 3, 4, 5]
    assert [draft.stop for draft in drafts] == [None] * 4 + [Stop.STEPS]
    assert len(_run(model, cache, Plan(length=32, max_steps=2))) == 2
    more = _run(model, cache, Plan(length=32, max_steps=CONFIG.max_denoising_steps + 5))
    assert len(more) == len(drafts)  # it lowers their number, and never raises it
    assert more[-1].tokens.equal(drafts[-1].tokens)


def test_the_cache_is_only_read(model: DiffusionGemma, cache: PrefixCache) -> None:
    before = [tensor.clone() for layer in range(2) for tensor in cache.read(layer)]
    _run(model, cache, Plan(length=64, batch=2))
    after = [tensor for layer in range(2) for tensor in cache.read(layer)]
    assert cache.tokens == PROMPT
    assert all(a.equal(b) for a, b in zip(before, after, strict=True))


def test_pinned_tokens_stay_at_every_step(model: DiffusionGemma, cache: PrefixCache) -> None:
    pins = torch.full((32,), FREE)
    pins[3:6] = torch.tensor([111, 222, 333])
    for draft in _run(model, cache, Plan(length=32, batch=2, pins=pins)):
        assert draft.tokens[:, 3:6].tolist() == [[111, 222, 333]] * 2
        assert draft.confidence[:, 3:6].min() == pytest.approx(1.0)


def test_a_fully_pinned_canvas_stops_at_once(model: DiffusionGemma, cache: PrefixCache) -> None:
    """Nothing is free, so the second step repeats the first and is certain."""
    pins = torch.arange(100, 132)
    *_, last = _run(model, cache, Plan(length=32, pins=pins))
    assert last.tokens[0].tolist() == pins.tolist()
    assert (last.stop, last.number) == (Stop.CONFIDENT, 2)


def test_cancelling_stops_before_the_next_step(model: DiffusionGemma, cache: PrefixCache) -> None:
    cancelled = threading.Event()
    steps = denoise(model, cache, CONFIG, Plan(length=32), cancelled)
    first = next(steps)
    cancelled.set()
    rest = list(steps)
    assert [draft.stop for draft in rest] == [Stop.CANCELLED]
    assert rest[0].number == first.number == 1
    assert rest[0].tokens.equal(first.tokens)


def test_cancelled_before_the_first_step_yields_nothing(model: DiffusionGemma, cache: PrefixCache) -> None:
    cancelled = threading.Event()
    cancelled.set()
    assert list(denoise(model, cache, CONFIG, Plan(length=32), cancelled)) == []


def test_a_deadline_returns_the_canvas_so_far(model: DiffusionGemma, cache: PrefixCache) -> None:
    drafts = _run(model, cache, Plan(length=32, deadline_ms=0.0))
    assert [draft.stop for draft in drafts] == [Stop.DEADLINE]
    assert drafts[0].tokens.shape == (1, 32)


def test_at_the_deadline_the_surest_canvas_so_far_wins(
    model: DiffusionGemma, cache: PrefixCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The clock is ours: the third step is the last that fits, and the first was the surest."""
    now = iter([0.0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5])
    monkeypatch.setattr("engine.denoising.denoiser.time.perf_counter", lambda: next(now))
    drafts = _run(model, cache, Plan(length=32, deadline_ms=3500.0))
    assert [draft.stop for draft in drafts] == [None, None, Stop.DEADLINE]
    scores = [float(draft.confidence.log().mean()) for draft in drafts]
    assert scores[0] > scores[1]
    assert drafts[2].tokens.equal(drafts[0].tokens)
    assert scores[2] == pytest.approx(scores[0])


def test_prompt_and_canvas_must_fit_the_positions(model: DiffusionGemma) -> None:
    cache = _encoded(model, [20] * 4090)
    with pytest.raises(InvalidRequest, match="positions"):
        _run(model, cache, Plan(length=32))


def test_encoding_stops_between_chunks(model: DiffusionGemma) -> None:
    class CancelledAfterOneLook(threading.Event):
        looks = 0

        def is_set(self) -> bool:
            self.looks += 1
            return self.looks > 1

    cache = PrefixCache(model.config, dtype=torch.float32, device=torch.device("cpu"))
    prompt = [20] * 1500
    with torch.inference_mode():
        encode_prefix(model, cache, prompt, CancelledAfterOneLook())
        assert 0 < len(cache) < 1500
        encode_prefix(model, cache, prompt)
    assert cache.tokens == prompt
    fresh = _encoded(model, prompt)
    for a, b in zip(cache.read(1), fresh.read(1), strict=True):
        torch.testing.assert_close(a, b, atol=1e-5, rtol=0)


def test_no_deadline_is_no_stop(model: DiffusionGemma, cache: PrefixCache) -> None:
    assert _run(model, cache, Plan(length=32, deadline_ms=1e9))[-1].stop is Stop.STEPS


def test_finished_canvases_stand_still(model: DiffusionGemma, cache: PrefixCache) -> None:
    """In a batch, a canvas that was confident keeps its tokens while others go on."""
    pins = torch.full((3, 32), FREE)
    pins[1] = torch.arange(100, 132)
    drafts = _run(model, cache, Plan(length=32, batch=3, pins=pins))
    assert drafts[-1].steps.tolist() == [5, 2, 5]
    assert drafts[1].stop is None  # one of three is not all
    assert all(draft.tokens[1].tolist() == pins[1].tolist() for draft in drafts)


def test_cached_equals_uncached(model: DiffusionGemma) -> None:
    """Typing, deleting and jumping about: the kept cache gives what a fresh one gives."""
    kept = PrefixCache(model.config, dtype=torch.float32, device=torch.device("cpu"))
    generator = torch.Generator().manual_seed(0)
    tokens: list[int] = PROMPT
    for _ in range(12):
        keep = int(torch.randint(1, len(tokens) + 1, (), generator=generator))
        more = torch.randint(
            16, 4096, (int(torch.randint(1, 200, (), generator=generator)),), generator=generator
        )
        tokens = tokens[:keep] + more.tolist()
        with torch.inference_mode():
            encode_prefix(model, kept, tokens)
        fresh = _encoded(model, tokens)
        for layer in range(len(model.config.layers)):
            for a, b in zip(kept.read(layer), fresh.read(layer), strict=True):
                torch.testing.assert_close(a, b, atol=1e-5, rtol=0)
        plan = Plan(length=32, max_steps=2)
        assert _run(model, kept, plan)[-1].tokens.equal(_run(model, fresh, plan)[-1].tokens)


def test_only_new_tokens_are_encoded(model: DiffusionGemma, cache: PrefixCache) -> None:
    with torch.inference_mode():
        states = encode_prefix(model, cache, [*PROMPT, 99])
        assert states is not None
        assert states.shape[1] == 1
        assert encode_prefix(model, cache, [*PROMPT, 99]) is None
