"""Steps of several requests as one forward pass, denoising ones and left-to-right ones alike.

Every lane runs its own loop with its own prefix cache, and only one of them computes at a time. A lane that
wants a pass through the network waits; once all lanes of the most urgent kind wait, their rows of equal
length go through it together, each with its own prefix's attention. So requests join and leave between two
steps, and the loops in `engine.denoiser` and `engine.verified` know nothing of it. Requests that are less
urgent stand still meanwhile. Where a pass leaves processor cores idle there are several such batches, and
lanes take turns in joining them.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, cast

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

if TYPE_CHECKING:
    from torch import Tensor

    from engine.attention import Attend
    from engine.network import Network
    from engine.service.budget import Budget

logger = logging.getLogger(__name__)

_URGENCY = {priority: rank for rank, priority in enumerate(Priority)}


def lanes_of(engine: Engine, count: int, batches: int | None = None) -> list[Engine]:
    """`count` engines that can be used at once, on the weights of `engine`, in turn in one of `batches`.

    Batches compute beside each other; None is as many as there are processor cores for. What is not ours to
    take apart is used as it is by every lane.
    """
    if not isinstance(engine, InProcessEngine):
        return [engine] * count
    shared = [Batch(engine.network) for _ in range(min(count, batches or _at_once(engine.network)))]
    networks = [cast("Network", BatchedNetwork(engine.network, batch)) for batch in shared]
    from engine.service.budget import Budget

    kind = "cpu" if engine.network.device.type == "cpu" else "gpu"
    budget = Budget(CACHE_BYTES[kind])
    return [
        Lane(
            engine.sibling(networks[index % len(shared)], budget.pool(engine.network)),
            shared[index % len(shared)],
            budget,
        )
        for index in range(count)
    ]


def _at_once(network: Network) -> int:
    """How many passes to compute beside each other: one through a small model rarely keeps all cores busy."""
    import torch

    if network.device.type != "cpu":
        return 1
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, cores // torch.get_num_threads())


@dataclass(kw_only=True, eq=False)
class _Call:
    """One lane's pass: rows (b, n), positions (1 or b, n), soft (b, n, hidden) or None -> states.

    `causal` passes go through the encoder and have no `soft`.
    """

    owner: int
    causal: bool
    rows: Tensor
    positions: Tensor
    attend: Attend
    soft: Tensor | None
    states: Tensor | None = None
    error: Exception | None = None


class Batch:
    """The lanes at work on one network, and the steps they wait for."""

    def __init__(self, network: Network) -> None:
        self._network = network
        self._computing = threading.RLock()
        self._changed = threading.Condition(self._computing)
        self._joining = threading.Lock()
        self._present: dict[int, int] = {}  # lane's thread -> urgency; the lower the more urgent
        self._calls: list[_Call] = []
        self.sizes: dict[int, int] = {}
        """How many forward passes were of how many canvases."""

    @property
    def present(self) -> int:
        """How many lanes take part now, those included that wait to."""
        return len(self._present)

    @contextmanager
    def member(self, priority: Priority) -> Iterator[None]:
        """Take part: others' steps wait for ours from now on, and nobody else computes meanwhile."""
        me = threading.get_ident()
        with self._joining:
            # Before the lock is ours: who has it would else go on without us, step after step.
            self._present[me] = _URGENCY[priority]
        try:
            with self._computing:
                yield
        finally:
            with self._changed:
                with self._joining:
                    del self._present[me]
                self._changed.notify_all()

    def forward(self, call: _Call) -> Tensor:
        """Have a pass computed together with those of the other lanes; our turn to compute goes on after it.

        Raises:
            Exception: whatever the network raises for this pass alone.
        """
        with self._changed:
            self._calls.append(call)
            while call.states is None and call.error is None:
                ready = self._ready()
                if call in ready:
                    self._run(ready)
                    self._changed.notify_all()
                elif ready:
                    self._changed.notify_all()
                    self._changed.wait()
                else:
                    self._changed.wait()
        if call.error is not None:
            raise call.error
        assert call.states is not None
        return call.states

    def _ready(self) -> list[_Call]:
        """The steps to compute now: those of the most urgent lanes, if all of them wait; else none."""
        with self._joining:
            present = dict(self._present)
        # A caller that never joined is as urgent as can be.
        urgency = {call.owner: present.get(call.owner, 0) for call in self._calls}
        first = min([*urgency.values(), *present.values()])
        ready = [call for call in self._calls if urgency[call.owner] == first]
        missing = {owner for owner, of in present.items() if of == first} - {call.owner for call in ready}
        return [] if missing else ready

    def _run(self, calls: list[_Call]) -> None:
        alike: dict[tuple[bool, int], list[_Call]] = {}
        for call in calls:
            self._calls.remove(call)
            alike.setdefault((call.causal, call.rows.shape[1]), []).append(call)
        for group in alike.values():
            self._run_together(group)

    def _run_together(self, calls: list[_Call]) -> None:
        rows = sum(len(call.rows) for call in calls)
        self.sizes[rows] = self.sizes.get(rows, 0) + 1
        try:
            states = _forward(self._network, calls)
        except Exception as error:
            if len(calls) == 1:
                calls[0].error = error
                return
            # Out of memory, or one of them is at fault: the others are served by themselves.
            for call in calls:
                self._run_together([call])
            return
        for call, part in zip(calls, states, strict=True):
            call.states = part


def _forward(network: Network, calls: list[_Call]) -> list[Tensor]:
    """The final states of each call, from one pass over all their rows."""
    import torch

    sizes = [len(call.rows) for call in calls]
    with torch.inference_mode():
        if len(calls) == 1:
            [call] = calls
            rows, positions, attend = call.rows, call.positions, call.attend
        else:
            rows = torch.cat([call.rows for call in calls])
            positions = torch.cat([call.positions.expand_as(call.rows) for call in calls])
            attend = _apart(calls, sizes)
        if calls[0].causal:
            states = network.encode(rows, positions, attend)
        else:
            states = network.denoise(rows, positions, attend, _soft(calls))
        return list(states.split(sizes))


def _apart(calls: list[_Call], sizes: list[int]) -> Attend:
    """Each call's rows attend to their own prefix."""
    import torch

    def attend(layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        parts = zip(calls, q.split(sizes), k.split(sizes), v.split(sizes), strict=True)
        return torch.cat([call.attend(layer, *part) for call, *part in parts])

    return attend


def _soft(calls: list[_Call]) -> Tensor | None:
    """The previous steps' guesses; zeros stand for those that have none, and give the same."""
    import torch

    known = next((call.soft for call in calls if call.soft is not None), None)
    if known is None:
        return None
    return torch.cat(
        [
            known.new_zeros(*call.rows.shape, known.shape[-1]) if call.soft is None else call.soft
            for call in calls
        ]
    )


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


class BatchedNetwork:
    """Stands in for a network: passes through its layers are batched, all else is the network's own."""

    def __init__(self, network: Network, batch: Batch) -> None:
        self._network, self._batch = network, batch

    def encode(self, ids: Tensor, positions: Tensor, attend: Attend) -> Tensor:
        """See `engine.network.Network`."""
        return self._forward(ids, positions, attend, None, causal=True)

    def denoise(self, canvas: Tensor, positions: Tensor, attend: Attend, soft: Tensor | None) -> Tensor:
        """See `engine.network.Network`."""
        return self._forward(canvas, positions, attend, soft, causal=False)

    def _forward(
        self, rows: Tensor, positions: Tensor, attend: Attend, soft: Tensor | None, *, causal: bool
    ) -> Tensor:
        owner = threading.get_ident()
        return self._batch.forward(
            _Call(owner=owner, causal=causal, rows=rows, positions=positions, attend=attend, soft=soft)
        )

    def __getattr__(self, name: str) -> Any:
        return getattr(self._network, name)


class Lane:
    """An engine that takes part in a batch while it computes; see `engine.request.Engine`."""

    def __init__(self, engine: InProcessEngine, batch: Batch, budget: Budget) -> None:
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
