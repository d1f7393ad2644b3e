"""The layers in C compute what the same layers in torch do, with every instruction set this processor has."""

from __future__ import annotations

import ctypes
import shutil
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from engine.caches.continuation import Continuation
from engine.caches.prefix import PrefixCache, encode_prefix, over_cache
from engine.checkpoints.weights import load_model
from engine.denoising.reading import read
from engine.native import library, why_not
from engine.native.compiled import Library
from engine.native.matrix import NativeMatrix
from engine.networks.hardware import fastest
from engine.networks.matrix import Matrix
from engine.networks.model import DiffusionGemma
from engine.networks.native import NativeGemma, can_run
from engine.networks.network import OFF, Network
from engine.networks.packed import PackedGemma
from tests.engine.checkpoints import write_reference_checkpoint

SHAPE: dict[str, Any] = {
    "vocab_size": 128,
    "head_dim": 32,
    "global_head_dim": 64,
    "num_experts": 1,
    "top_k_experts": 1,
}
"""Sliding layers of two KV heads for four query heads and a window of 8, full ones of one that is its own
value."""

PREFIX = [int(i) for i in torch.randint(0, 128, (29,), generator=torch.Generator().manual_seed(3))]

code = library()
sets = {} if code is None else code.sets
needs_library = pytest.mark.skipif(code is None, reason=f"not built: {why_not()}")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> DiffusionGemma:
    folder = tmp_path_factory.mktemp("dense")
    write_reference_checkpoint(folder, **SHAPE)
    return load_model(folder).requires_grad_(False)


@pytest.fixture(autouse=True)
def two_threads() -> Iterator[None]:
    if code is None:
        yield
        return
    before = code.threads
    code.use_threads(2)
    yield
    code.use_threads(before)


def in_steps(x: torch.Tensor, most: int = 127) -> torch.Tensor:
    """Each row rounded to so many steps of its own, up and down."""
    step = x.abs().amax(-1, keepdim=True).clamp_min(1e-30) / most
    return (x / step).round() * step


def rounded(model: DiffusionGemma, monkeypatch: pytest.MonkeyPatch, instructions: int) -> PackedGemma:
    """The same in torch: its matrices rounded as C has them and, where they are there, what goes into them.

    All else is float32."""
    prepare, multiply = Matrix.__init__, Matrix.__call__

    def prepared(self: Matrix, weight: torch.Tensor, dtype: torch.dtype) -> None:
        prepare(self, in_steps(weight.detach().float()), dtype)

    def multiplied(self: Matrix, x: torch.Tensor) -> torch.Tensor:
        return multiply(self, taken(x, instructions))

    monkeypatch.setattr(Matrix, "__init__", prepared)
    monkeypatch.setattr(Matrix, "__call__", multiplied)
    monkeypatch.setattr(Matrix, "gelu", lambda self, x: F.gelu(self(x), approximate="tanh"))
    monkeypatch.setattr(Matrix, "times", lambda self, x, other: self(x) * other)
    packed = PackedGemma(model, torch.float32)
    # Rounded before it is scaled.
    head = in_steps((model.embed_tokens.weight * model.norm.weight).detach())
    prepare(packed._head, head * (2 / model.config.final_logit_softcapping), torch.float32)
    return packed


@pytest.fixture
def torchs(model: DiffusionGemma, monkeypatch: pytest.MonkeyPatch) -> PackedGemma:
    return rounded(model, monkeypatch, 0)


def taken(x: torch.Tensor, instructions: int) -> torch.Tensor:
    """Inputs as products take them."""
    most = {"plain": None, "avx2": 63, "avx512": 63}.get(sets[instructions], 127)
    return in_steps(x, most) if most else x


def native(model: DiffusionGemma, instructions: int | None = None) -> NativeGemma:
    assert code is not None
    return NativeGemma(model, torch.float32, code, instructions)


def cached(network: Network, dtype: torch.dtype = torch.float32) -> PrefixCache:
    cache = PrefixCache(network.config, dtype=dtype, device=torch.device("cpu"))
    with torch.inference_mode():
        encode_prefix(network, cache, PREFIX)
    return cache


def tokens(rows: int, count: int) -> torch.Tensor:
    return torch.randint(0, 128, (rows, count), generator=torch.Generator().manual_seed(rows * 100 + count))


def written(network: Network, rows: int, count: int) -> torch.Tensor:
    """Logits of rows at different places behind a prefix, the second time where the first has been, the third
    with rows that have changed places."""
    cache = cached(network)
    room = Continuation(network, cache, len(cache), rows, 40)
    with torch.inference_mode():
        first = room.read(tokens(rows, count).tolist(), [0] * rows)
        at = [index % (count + 1) for index in range(rows)]
        second = room.read(tokens(rows, 5).tolist(), at)
        sources = [*range(1, rows), 0]
        third = room.read(tokens(rows, 2).tolist(), [1 + at[source] for source in sources], sources)
    return torch.cat([logits.flatten(0, 1) for logits in (first, second, third)])


def denoised(
    network: Network, rows: int, count: int, *, seen: int | None = None, soft: torch.Tensor | None = None
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """States of a first step, the soft embeddings it gives and states of a second one, conditioned on those
    or on `soft`."""
    cache = cached(network)
    positions = torch.arange(len(cache), len(cache) + count)[None]
    attend = over_cache(cache, seen)
    with torch.inference_mode():
        first = network.denoise(tokens(rows, count), positions, attend, None)
        own = network.mean_embed(network.logits(first).softmax(-1).flatten(0, 1)).view_as(first)
        given = own if soft is None else soft
        second = network.denoise(tokens(rows, count).flip(0), positions, attend, given)
    return first[:, :seen], own[:, :seen], second[:, :seen]


def close(found: torch.Tensor, want: torch.Tensor, instructions: str) -> None:
    """Equal but for rounding: where products take steps, sums in another order make another step of a few
    inputs, and each of them others in the layers behind."""
    if instructions == "plain":
        torch.testing.assert_close(found, want, atol=2e-4, rtol=0)
    else:
        assert (found - want).norm() <= 4e-2 * want.norm()


@needs_library
@pytest.mark.parametrize("instructions", sets, ids=lambda number: sets[number])
class TestEverySet:
    @pytest.fixture
    def torchs(
        self, model: DiffusionGemma, monkeypatch: pytest.MonkeyPatch, instructions: int
    ) -> PackedGemma:
        return rounded(model, monkeypatch, instructions)

    @pytest.mark.parametrize(("rows", "count"), [(1, 1), (1, 8), (3, 4), (8, 1), (5, 13), (2, 33)])
    def test_written(
        self, model: DiffusionGemma, torchs: PackedGemma, instructions: int, rows: int, count: int
    ) -> None:
        close(
            written(native(model, instructions), rows, count),
            written(torchs, rows, count),
            sets[instructions],
        )

    @pytest.mark.parametrize(
        ("rows", "count", "seen"), [(1, 16, None), (1, 64, 51), (4, 32, None), (3, 7, 6)]
    )
    def test_denoised(
        self,
        model: DiffusionGemma,
        torchs: PackedGemma,
        instructions: int,
        rows: int,
        count: int,
        seen: int | None,
    ) -> None:
        [_, soft, _] = denoised(torchs, rows, count)
        theirs, ours = (
            denoised(network, rows, count, seen=seen, soft=soft)
            for network in (torchs, native(model, instructions))
        )
        for found, want in zip(ours, theirs, strict=True):
            close(found, want, sets[instructions])

    def test_keys_and_values_in_bfloat16(
        self, model: DiffusionGemma, torchs: PackedGemma, instructions: int
    ) -> None:
        theirs, ours = cached(torchs), cached(native(model, instructions), torch.bfloat16)
        for layer in range(len(model.config.layers)):
            for want, found in zip(theirs.read(layer), ours.read(layer), strict=True):
                assert (found.float() - want).norm() <= 4e-2 * want.norm()

    @pytest.mark.parametrize(
        ("rows", "inputs", "outputs"), [(1, 16, 16), (3, 48, 80), (9, 256, 32), (8, 64, 48)]
    )
    def test_a_product_is_that_of_the_steps(
        self, instructions: int, rows: int, inputs: int, outputs: int
    ) -> None:
        assert code is not None
        draw = torch.Generator().manual_seed(rows)
        weight = torch.randn(outputs, inputs, generator=draw) * torch.logspace(-3, 2, outputs)[:, None]
        weight[1] = 0.0
        x = torch.randn(rows, inputs, generator=draw) * torch.logspace(-2, 3, rows)[:, None]
        want_of = taken(x, instructions)
        want = want_of.double() @ in_steps(weight).double().T
        found = NativeMatrix(weight, code, instructions)(x)
        size = want_of.abs().double() @ in_steps(weight).abs().double().T
        assert ((found - want).abs() <= 1e-6 * size + 1e-30).all()

    def test_rows_of_nothing_give_nothing(self, instructions: int) -> None:
        assert code is not None
        assert not NativeMatrix(torch.ones(16, 16), code, instructions)(torch.zeros(3, 16)).any()


@needs_library
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_prompt_in_pieces_is_the_prompt_at_once(model: DiffusionGemma, dtype: torch.dtype) -> None:
    """To the last bit: what a user gets does not depend on what was asked for before."""
    network = native(model)
    whole = cached(network, dtype)
    pieces = PrefixCache(model.config, dtype=dtype, device=torch.device("cpu"))
    with torch.inference_mode():
        for end in (1, 9, 10, 14, len(PREFIX)):
            encode_prefix(network, pieces, PREFIX[:end])
    for layer in range(len(model.config.layers)):
        for want, found in zip(whole.read(layer), pieces.read(layer), strict=True):
            assert found.equal(want)
    assert whole.ended is not None
    assert pieces.ended is not None
    assert whole.ended.equal(pieces.ended)


@needs_library
def test_reading_sees_no_padding(model: DiffusionGemma, torchs: PackedGemma) -> None:
    found, want = (read(n, cached(n), PREFIX[:9], views=2, seed=1) for n in (native(model, 0), torchs))
    assert found[0] == pytest.approx(want[0], rel=1e-3, abs=1e-5)


@needs_library
def test_positions_past_the_first_table(model: DiffusionGemma, torchs: PackedGemma) -> None:
    states = []
    for network in (native(model, 0), torchs):
        cache = PrefixCache(model.config, dtype=torch.float32, device=torch.device("cpu"))
        with torch.inference_mode():
            encode_prefix(network, cache, PREFIX)  # a small table first
            encode_prefix(network, cache, [5, *PREFIX * 40])
            states.append(cache.ended)
    assert states[0] is not None
    assert states[1] is not None
    torch.testing.assert_close(*states, atol=5e-4, rtol=0)


@needs_library
def test_threads_change_nothing(model: DiffusionGemma) -> None:
    network = native(model)
    both = denoised(network, 4, 32)
    network.use_threads(1)
    for found, want in zip(denoised(network, 4, 32), both, strict=True):
        assert found.equal(want)


@needs_library
def test_several_at_once_are_as_one(model: DiffusionGemma) -> None:
    """Helping threads have one job at a time, and whoever finds them at work does without."""
    network = native(model)
    want = denoised(network, 4, 32)
    with ThreadPoolExecutor(4) as pool:
        for states in pool.map(lambda _: denoised(network, 4, 32), range(24)):
            assert all(found.equal(one) for found, one in zip(states, want, strict=True))


def others_go_on(model: DiffusionGemma, library: Library, monkeypatch: pytest.MonkeyPatch, most: int) -> bool:
    """Whether another thread of the interpreter goes on during one of at most so many calls of the library.

    Nobody is made to hand over the interpreter's lock meanwhile, so that it goes on then or not at all.
    """
    network, counted, seen, done = NativeGemma(model, torch.float32, library), [0], [0], threading.Event()
    inner = library.run

    def count() -> None:
        while not done.is_set():
            counted[0] += 1
            time.sleep(1e-4)

    def run(*arguments: Any) -> None:
        before = counted[0]
        inner(*arguments)
        seen[0] += counted[0] - before

    cache, canvas, positions = cached(network), tokens(16, 256), torch.arange(29, 285)[None]
    monkeypatch.setattr(library, "run", run)
    thread, interval = threading.Thread(target=count), sys.getswitchinterval()
    sys.setswitchinterval(1000)
    thread.start()
    try:
        with torch.inference_mode():
            for _ in range(most):
                network.denoise(canvas, positions, over_cache(cache), None)
                if seen[0]:
                    return True
        return False
    finally:
        done.set()
        thread.join()
        sys.setswitchinterval(interval)


@needs_library
def test_others_of_the_interpreter_go_on_meanwhile(
    model: DiffusionGemma, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert code is not None
    # On a busy machine the other thread may have no core during the first calls.
    assert others_go_on(model, code, monkeypatch, most=500)


@needs_library
def test_they_would_not_if_the_library_kept_the_lock(
    model: DiffusionGemma, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That is, the test above can fail."""
    found = find_spec("engine.native._layers")
    assert found is not None
    assert found.origin is not None
    monkeypatch.setattr(ctypes, "CDLL", ctypes.PyDLL)
    assert not others_go_on(model, Library(found.origin), monkeypatch, most=10)


@needs_library
def test_ids_that_stand_for_nothing_are_off(model: DiffusionGemma) -> None:
    for network in (native(model), PackedGemma(model, torch.float32), model):
        states = torch.zeros(2, 3, network.config.hidden_size)
        every = written(network, 3, 4), network.logits(states)
        network.use_ids(100)
        some = written(network, 3, 4), network.logits(states)
        network.use_ids(network.config.vocab_size)
        for before, after in zip(every, some, strict=True):
            assert after[..., :100].equal(before[..., :100])
            assert after[..., 100:].eq(OFF).all()


@needs_library
def test_what_does_not_say_where_keys_lie_is_refused(model: DiffusionGemma) -> None:
    with pytest.raises(TypeError, match="where the keys lie"):
        native(model).encode(tokens(1, 4), torch.arange(4)[None], lambda _layer, q, _k, _v: q)


@needs_library
def test_a_dense_model_on_a_cpu_runs_in_c(model: DiffusionGemma) -> None:
    assert isinstance(fastest(model), NativeGemma)


@pytest.mark.parametrize("other", [{"num_experts": 4, "top_k_experts": 2}, {"head_dim": 16}])
def test_a_model_of_another_shape_does_not(tmp_path: Path, other: dict[str, int]) -> None:
    write_reference_checkpoint(tmp_path, **{**SHAPE, **other})
    assert not can_run(load_model(tmp_path))


@pytest.mark.skipif(sys.platform == "win32" or shutil.which("cc") is None, reason="no C compiler")
def test_where_there_is_a_compiler_it_was_built() -> None:
    assert why_not() is None


def test_without_the_library_the_model_runs_in_torch(
    model: DiffusionGemma, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("engine.networks.hardware.library", lambda: None)
    assert isinstance(fastest(model), PackedGemma)


def test_why_there_is_none_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    from engine.native import compiled as module

    monkeypatch.setattr(module, "_MODULE", "engine.native._not_built")
    module._load.cache_clear()
    try:
        assert "compiler" in (why_not() or "")
    finally:
        module._load.cache_clear()
