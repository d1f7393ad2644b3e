"""Steps of several requests as one forward pass: the same answers as alone, and faults kept apart."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import cast

import pytest
import torch

from engine.checkpoints.weights import load_model
from engine.errors import EngineError
from engine.inprocess import InProcessEngine, load_engine
from engine.networks.attention import Attend
from engine.networks.network import Network
from engine.networks.packed import PackedGemma
from engine.request import Decoding, DenoiseRequest, Engine, Priority, Prompt, Step
from engine.service.batching import Batch, BatchedNetwork
from engine.service.lanes import Lane, lanes_of
from tests.engine.checkpoints import write_own_checkpoint
from tests.engine.service.harness import until
from tests.fakes.engine import ScriptedEngine


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> InProcessEngine:
    folder: Path = tmp_path_factory.mktemp("tiny") / "tiny"
    write_own_checkpoint(folder)
    # Not as it is packed for this CPU: in bfloat16 a product's last bits depend on how many rows it has.
    return load_engine(str(folder)).sibling(load_model(folder, dtype=torch.float32))


def plain(prefix: str, steps: int) -> DenoiseRequest:
    return DenoiseRequest(prompt=Prompt(prefix=prefix), canvas_tokens=32, max_steps=steps)


def ask(index: int) -> DenoiseRequest:
    prompt = Prompt(prefix="x = 1\n" * (index + 1), suffix="\ny")
    length = 64 if index % 3 == 0 else 32
    return DenoiseRequest(
        prompt=prompt,
        seed=index,
        canvas_tokens=length,
        candidates=1 + index % 2,
        max_steps=6,
    )


def run(engine: Engine, request: DenoiseRequest) -> Step:
    *_, last = engine.denoise(request, threading.Event())
    return last


def test_together_they_answer_as_alone(engine: InProcessEngine) -> None:
    requests = [ask(index) for index in range(5)]
    alone = [run(engine.sibling(), request) for request in requests]
    lanes = lanes_of(engine, 5)
    with ThreadPoolExecutor(5) as pool:
        together = list(pool.map(run, lanes, requests))
    for one, other in zip(alone, together, strict=True):
        assert one.number == other.number
        assert [canvas.text for canvas in one.canvases] == [canvas.text for canvas in other.canvases]


@pytest.mark.parametrize("decoding", [Decoding.DENOISE, Decoding.VERIFY])
def test_packed_for_a_cpu_too_every_row_keeps_its_own_place(
    engine: InProcessEngine, decoding: Decoding
) -> None:
    packed = engine.sibling(PackedGemma(engine.network, torch.float32))  # type: ignore[arg-type]
    requests = [
        DenoiseRequest(
            prompt=Prompt(prefix="x = 1\n" * (i + 1)),
            seed=i,
            canvas_tokens=32,
            max_steps=4,
            decoding=decoding,
        )
        for i in range(4)
    ]
    alone = [run(packed.sibling(), request) for request in requests]
    lanes = lanes_of(packed, 4, batches=1)
    [batch] = {lane.batch for lane in lanes if isinstance(lane, Lane)}
    with ThreadPoolExecutor(4) as pool:
        with batch.member(Priority.AUTOMATIC):  # nobody begins before all are there
            pending = [pool.submit(run, lane, request) for lane, request in zip(lanes, requests, strict=True)]
            until(lambda: batch.present == 5)
        together = [each.result(30) for each in pending]
    for one, other in zip(alone, together, strict=True):
        assert [canvas.text for canvas in one.canvases] == [canvas.text for canvas in other.canvases]
    assert max(batch.sizes) >= 4


def test_steps_are_shared_and_lanes_join_and_leave_between_them(engine: InProcessEngine) -> None:
    lanes = lanes_of(engine, 2, batches=1)
    [batch] = {lane.batch for lane in lanes if isinstance(lane, Lane)}
    begun = threading.Event()

    def long() -> int:
        steps = lanes[0].denoise(plain("a", steps=9), threading.Event())
        next(iter(steps))
        begun.set()
        until(lambda: batch.present == 2)  # from here on our steps wait for the other's
        return 1 + len(list(steps))

    def short() -> int:
        assert begun.wait(30)
        return len(list(lanes[1].denoise(plain("b", steps=3), threading.Event())))

    with ThreadPoolExecutor(2) as pool:
        first, second = pool.submit(long), pool.submit(short)
        counts = (first.result(30), second.result(30))
    assert sum(rows * passes for rows, passes in batch.sizes.items()) == sum(counts) + 2  # each prompt
    assert batch.sizes[2] == counts[1]
    assert batch.present == 0


def test_a_step_that_fails_fails_alone(engine: InProcessEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    real = engine.network.denoise
    sizes: list[int] = []

    def out_of_memory(canvas: torch.Tensor, *others: object) -> torch.Tensor:
        sizes.append(len(canvas))
        if len(canvas) > 1:
            raise torch.OutOfMemoryError("too large a batch")
        return real(canvas, *others)  # type: ignore[arg-type]

    monkeypatch.setattr(engine.network, "denoise", out_of_memory)
    requests = [
        DenoiseRequest(prompt=Prompt(prefix="a" * (i + 1)), canvas_tokens=32, max_steps=4, seed=i)
        for i in range(4)
    ]
    with ThreadPoolExecutor(4) as pool:
        steps = list(pool.map(run, lanes_of(engine, 4), requests))
    assert all(step.canvases for step in steps)


def test_out_of_memory_caches_go_first_then_candidates_then_canvas(
    engine: InProcessEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    [lane] = lanes_of(engine, 1)
    assert isinstance(lane, Lane)
    for index in range(3):
        run(lane, plain("abc"[index] * 100, steps=1))  # too different to share a cache
    held = lane.budget.bytes
    real, tried = engine.network.denoise, []

    def out_of_memory(canvas: torch.Tensor, *others: object) -> torch.Tensor:
        tried.append((tuple(canvas.shape), lane.budget.bytes < held))
        if canvas.numel() > limit:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 1 byte")
        return real(canvas, *others)  # type: ignore[arg-type]

    monkeypatch.setattr(engine.network, "denoise", out_of_memory)
    limit = 32
    request = DenoiseRequest(prompt=Prompt(prefix="c" * 100), canvas_tokens=64, candidates=2, max_steps=1)
    assert len(run(lane, request).canvases) == 1
    assert tried == [((2, 64), False), ((2, 64), True), ((1, 64), True), ((1, 32), True)]
    limit = 0
    with pytest.raises(EngineError, match="memory has run out"):
        run(lane, request)


def test_an_abandoned_request_does_not_hold_up_the_others(engine: InProcessEngine) -> None:
    lanes = lanes_of(engine, 2)
    with ThreadPoolExecutor(1) as other:

        def begin_and_leave() -> None:
            steps = lanes[0].denoise(ask(1), threading.Event())
            next(iter(steps))
            steps.close()  # type: ignore[attr-defined]

        other.submit(begin_and_leave).result(30)
    assert run(lanes[1], ask(2)).number >= 1


def test_an_engine_that_is_not_ours_is_used_as_it_is() -> None:
    scripted = ScriptedEngine(["1"])
    assert lanes_of(scripted, 3) == [scripted] * 3


class Watched:
    """A network that remembers with how many threads it was used."""

    joins = True

    def __init__(self) -> None:
        self.threads = 3
        self.seen: list[int] = []

    def use_threads(self, count: int) -> None:
        self.threads = count

    def encode(self, ids: torch.Tensor, *_: object) -> torch.Tensor:
        self.seen.append(self.threads)
        return ids


def test_several_threads_compute_long_rows_and_one_short_ones() -> None:
    watched = Watched()
    batch = Batch(cast("Network", watched), threads=3)
    network = BatchedNetwork(cast("Network", watched), batch)
    with batch.member(Priority.AUTOMATIC):
        for tokens in (512, 4, 32):
            network.encode(torch.zeros(1, tokens), torch.arange(tokens)[None], cast("Attend", None))
    network.encode(torch.zeros(1, 4), torch.arange(4)[None], cast("Attend", None))
    with batch.member(Priority.AUTOMATIC):
        pass
    assert watched.seen == [3, 1, 3, 1]
    assert watched.threads == 3  # for whatever else there is


def test_a_batch_beside_another_that_is_at_work_computes_with_one_thread() -> None:
    watched = Watched()
    network = cast("Network", watched)
    mine, other = Batch.beside_each_other(network, threads=3, count=2)
    at_work, over = threading.Event(), threading.Event()

    def work_beside() -> None:
        with other.member(Priority.AUTOMATIC):
            at_work.set()
            over.wait()

    beside = threading.Thread(target=work_beside)
    try:
        for busy in (False, True, False):
            if busy:
                beside.start()
                at_work.wait()
            elif at_work.is_set():
                over.set()
                beside.join()
            with mine.member(Priority.AUTOMATIC):
                BatchedNetwork(network, mine).encode(
                    torch.zeros(1, 512), torch.arange(512)[None], cast("Attend", None)
                )
    finally:
        over.set()
    assert watched.seen == [3, 1, 3]
