"""Lanes that compute in turns: each its own passes, so many at a time, the more urgent before the others."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from threading import Barrier
from typing import cast

import pytest
import torch

from engine.inprocess import load_engine
from engine.networks.attention import Attend
from engine.networks.native import NativeGemma
from engine.networks.network import Network
from engine.request import Decoding, DenoiseRequest, Engine, Priority, Prompt, Step
from engine.service import turns as module
from engine.service.lanes import Lane, lanes_of
from engine.service.turns import TakingTurns, Turns
from tests.engine.service.harness import until


class Watched:
    """A network that remembers whose passes it computed, with how many threads, and how many at once."""

    def __init__(self, seconds: float = 0.0) -> None:
        self.threads, self._seconds = 3, seconds
        self.order: list[int] = []
        self.seen: list[int] = []
        self.most = self._now = 0
        self._counting = threading.Lock()

    def use_threads(self, count: int) -> None:
        self.threads = count

    def encode(self, ids: torch.Tensor, *_: object) -> torch.Tensor:
        with self._counting:
            self.order.append(int(ids[0, 0]))
            self.seen.append(self.threads)
            self._now += 1
            self.most = max(self.most, self._now)
        time.sleep(self._seconds)
        with self._counting:
            self._now -= 1
        return ids


def turns_of(network: Watched, places: int = 1) -> Turns:
    return Turns(cast("Network", network), places=places)


def once(turns: Turns, network: Watched, ids: torch.Tensor) -> torch.Tensor:
    positions = torch.arange(ids.shape[1])[None]
    return TakingTurns(cast("Network", network), turns).encode(ids, positions, cast("Attend", None))


def passes(turns: Turns, network: Watched, lane: int, count: int, priority: Priority, begin: Barrier) -> None:
    ids = torch.full((1, 4), lane)
    begin.wait()
    with turns.member(priority):
        for _ in range(count):
            assert once(turns, network, ids).equal(ids)  # one's own and nobody else's
            time.sleep(0.001)


@pytest.mark.parametrize(("turn_s", "switches"), [(0.002, (4, 100)), (60.0, (1, 1))])
def test_each_computes_for_a_turn_and_then_the_other(
    turn_s: float, switches: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_TURN_S", turn_s)
    network = Watched()
    turns, begin = turns_of(network), Barrier(2)
    with ThreadPoolExecutor(2) as pool:
        pending = [
            pool.submit(passes, turns, network, lane, 30, Priority.AUTOMATIC, begin) for lane in (1, 2)
        ]
        for each in pending:
            each.result(30)
    assert sorted(network.order) == [1] * 30 + [2] * 30
    changes = sum(one != other for one, other in pairwise(network.order))
    assert switches[0] <= changes <= switches[1]
    assert turns.present == 0
    assert turns.sizes == {1: 60}


@pytest.mark.parametrize("places", [1, 2, 3])
def test_so_many_compute_at_a_time_and_no_more(places: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_TURN_S", 0.01)
    network = Watched(seconds=0.005)
    turns, begin = turns_of(network, places), Barrier(5)
    with ThreadPoolExecutor(5) as pool:
        pending = [
            pool.submit(passes, turns, network, lane, 8, Priority.AUTOMATIC, begin) for lane in range(5)
        ]
        for each in pending:
            each.result(30)
    assert network.most == places
    assert sorted(network.order) == sorted([*range(5)] * 8)


@pytest.mark.parametrize("places", [1, 2])
def test_the_less_urgent_stand_still(places: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_TURN_S", 0.002)
    network = Watched()
    turns = turns_of(network, places)
    with ThreadPoolExecutor(2) as pool:
        slow = pool.submit(passes, turns, network, 1, 200, Priority.PREFETCH, Barrier(1))
        until(lambda: len(network.order) > 2)
        urgent = pool.submit(passes, turns, network, 2, 20, Priority.INVOKED, Barrier(1))
        urgent.result(30)
        slow.result(30)
    first = network.order.index(2)
    # One pass may have begun before the urgent lane was there.
    assert network.order[first : first + 21].count(2) >= 20
    assert len(network.order) == 220


def test_who_comes_first_is_served_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_TURN_S", 60.0)
    network = Watched()
    turns = turns_of(network)
    with ThreadPoolExecutor(4) as pool:
        pending = []
        with turns.member(Priority.INVOKED):
            for lane, priority in enumerate(
                [Priority.BACKGROUND, Priority.AUTOMATIC, Priority.INVOKED, Priority.AUTOMATIC]
            ):
                pending.append(pool.submit(passes, turns, network, lane, 2, priority, Barrier(1)))
                until(lambda: turns.present == 1 + len(pending))
        for each in pending:
            each.result(30)
    assert network.order == [2, 2, 1, 1, 3, 3, 0, 0]


def test_long_rows_of_one_that_is_alone_have_all_threads() -> None:
    network = Watched()
    turns = Turns(cast("Network", network), threads=3, places=2)
    at_work, over = threading.Event(), threading.Event()

    def work_beside() -> None:
        with turns.member(Priority.AUTOMATIC):
            at_work.set()
            over.wait()

    beside = threading.Thread(target=work_beside)
    try:
        with turns.member(Priority.AUTOMATIC):
            for tokens in (512, 4, 32):
                once(turns, network, torch.zeros(1, tokens))
            beside.start()
            at_work.wait()
            once(turns, network, torch.zeros(1, 512))
        assert network.threads == 3  # for whatever else there is
    finally:
        over.set()
        beside.join()
    assert network.seen == [3, 1, 3, 1]


def test_a_pass_that_fails_leaves_its_place() -> None:
    network = Watched()
    turns = turns_of(network)

    def fail() -> torch.Tensor:
        raise MemoryError("too large")

    with pytest.raises(MemoryError), turns.member(Priority.AUTOMATIC):
        turns.compute(1, 4, fail)
    assert turns.present == 0
    passes(turns, network, 1, 2, Priority.AUTOMATIC, Barrier(1))
    assert network.order == [1, 1]


def run(engine: Engine, request: DenoiseRequest) -> Step:
    *_, last = engine.denoise(request, threading.Event())
    return last


@pytest.mark.parametrize("decoding", list(Decoding))
def test_lanes_of_the_embedded_model_answer_as_it_does_alone(decoding: Decoding) -> None:
    engine = load_engine(None)
    if not isinstance(engine.network, NativeGemma):
        pytest.skip("its layers were not compiled")
    source = Path(__file__).read_text(encoding="utf-8")
    requests = [
        DenoiseRequest(
            prompt=Prompt(prefix=source[: 900 + 211 * index], suffix=source[-300:]),
            canvas_tokens=32,
            max_steps=3,
            one_line=True,
            decoding=decoding,
        )
        for index in range(6)
    ]
    alone = [run(engine, request) for request in requests]
    lanes = lanes_of(engine, 3)
    [turns] = {lane.batch for lane in lanes if isinstance(lane, Lane)}
    assert isinstance(turns, Turns)
    with ThreadPoolExecutor(3) as pool:
        together = [*pool.map(run, lanes, requests[:3]), *pool.map(run, lanes, requests[3:])]
    for one, other in zip(alone, together, strict=True):
        assert [canvas.text for canvas in one.canvases] == [canvas.text for canvas in other.canvases]
    assert turns.present == 0
