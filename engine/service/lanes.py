"""The engines of several lanes on one model's weights, each with prefix caches of its own.

What runs out of memory is tried again with less. How passes through the network are joined, or wait for their
turn, is for `engine.service.batching` and `engine.service.turns` to know.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from engine.errors import EngineError
from engine.inprocess import CACHE_BYTES, InProcessEngine
from engine.request import (
    CANVAS_LENGTHS,
    DenoiseRequest,
    Engine,
    EngineInfo,
    Priority,
    Reading,
    ReadRequest,
    Scored,
    ScoreRequest,
    Step,
)
from engine.service.batching import Batch, BatchedNetwork
from engine.service.turns import TakingTurns, Turns

if TYPE_CHECKING:
    from engine.networks.network import Network
    from engine.service.budget import Budget

_WITH_THE_LOCK = 1
"""Lanes more than there are processor cores that compute at a time where passes are not joined: one of them
is usually between two passes, where it has the interpreter's lock or waits for it, and no use for a core."""

logger = logging.getLogger(__name__)


def lanes_of(engine: Engine, count: int, batches: int | None = None) -> list[Engine]:
    """`count` engines that can be used at once, on the weights of `engine`.

    Their passes are joined, in turn in one of `batches` that compute beside each other; where nothing is
    gained by joining about so many lanes compute at a time. None is as many as there are processor cores for.
    What is not ours to take apart is used as it is by every lane.
    """
    if not isinstance(engine, InProcessEngine):
        return [engine] * count
    from engine.service.budget import Budget

    network = engine.network
    at_once, threads = min(count, batches or _at_once(network)), _threads(network)
    shared: Sequence[tuple[Batch | Turns, Any]]
    if network.joins:
        apart = Batch.beside_each_other(network, threads, at_once)
        shared = [(batch, BatchedNetwork(network, batch)) for batch in apart]
    else:
        turns = Turns(network, threads=threads, places=min(count, at_once + _WITH_THE_LOCK))
        shared = [(turns, TakingTurns(network, turns))]
    budget = Budget(CACHE_BYTES["cpu" if network.device.type == "cpu" else "gpu"])
    return [
        Lane(engine.sibling(own, budget.pool(network)), batch, budget)
        for batch, own in (shared[index % len(shared)] for index in range(count))
    ]


def _at_once(network: Network) -> int:
    """How many passes to compute beside each other: one through a small model rarely keeps all cores busy."""
    if network.device.type != "cpu":
        return 1
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _threads(network: Network) -> int:
    """How many threads a pass may use, 1 where that is not for us to say."""
    return network.threads if network.device.type == "cpu" else 1


class Lane:
    """An engine that takes part in a batch, or in turns, while it computes; see `engine.request.Engine`."""

    def __init__(self, engine: InProcessEngine, batch: Batch | Turns, budget: Budget) -> None:
        self._engine, self.batch, self.budget = engine, batch, budget

    def info(self) -> EngineInfo:
        """See `engine.request.Engine.info`."""
        return self._engine.info()

    def denoise(self, request: DenoiseRequest, cancelled: threading.Event) -> Iterator[Step]:
        """See `engine.request.Engine.denoise`; steps must be taken without waiting for anything."""
        with self.batch.member(request.priority):
            began = time.perf_counter()
            for smaller in _ever_smaller(request):
                if request.deadline_ms is not None:
                    left_ms = request.deadline_ms - 1000 * (time.perf_counter() - began)
                    smaller = replace(smaller, deadline_ms=max(0.0, left_ms))
                try:
                    yield from self._engine.denoise(smaller, cancelled)
                    return
                except Exception as error:
                    if not is_out_of_memory(error):
                        raise
                    logger.warning("out of memory: caches go, and then it is tried with less")
                # Outside of the handler, whose traceback holds on to what was computed.
                self.budget.evict()
            raise EngineError("memory has run out, even for one short canvas")

    def score(self, request: ScoreRequest, cancelled: threading.Event) -> tuple[Scored, ...]:
        """See `engine.request.Engine.score`."""
        return self._together(request.priority, lambda: self._engine.score(request, cancelled))

    def read(self, request: ReadRequest, cancelled: threading.Event) -> tuple[Reading, ...]:
        """See `engine.request.Engine.read`."""
        return self._together(request.priority, lambda: self._engine.read(request, cancelled))

    def _together(self, priority: Priority, work: Callable[[], tuple[Any, ...]]) -> tuple[Any, ...]:
        with self.batch.member(priority):
            return work()


def _ever_smaller(request: DenoiseRequest) -> Iterator[DenoiseRequest]:
    """The request, again once caches have gone, with one candidate, and on shorter and shorter canvases."""
    yield request
    yield request
    if request.layouts:
        return  # they say themselves how many there are and how long
    if request.candidates != 1:
        yield replace(request, candidates=1)
    for length in reversed(CANVAS_LENGTHS):
        if length < request.canvas_tokens:
            yield replace(request, candidates=1, canvas_tokens=length)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether memory has run out: a GPU's, or this machine's, of which torch says so only in words."""
    import torch

    words = ("can't allocate memory", "not enough memory", "bad_alloc")
    told = isinstance(error, RuntimeError) and any(word in str(error) for word in words)
    return told or isinstance(error, torch.OutOfMemoryError | MemoryError)
