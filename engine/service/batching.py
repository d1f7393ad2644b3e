"""Denoising steps of several requests as one forward pass.

Every lane runs its own denoising loop with its own prefix cache, and only one of them computes at a time. A
lane that wants a step waits; once all lanes of the most urgent kind wait, their canvases of equal length go
through the network together, each with its own prefix's attention. So requests join and leave between two
steps, and the loop in `engine.denoiser` knows nothing of it. Requests that are less urgent stand still
meanwhile.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from engine.inprocess import InProcessEngine
from engine.request import (
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

_URGENCY = {priority: rank for rank, priority in enumerate(Priority)}


def lanes_of(engine: Engine, count: int) -> list[Engine]:
    """`count` engines that can be used at once, on the weights of `engine`.

    What is not ours to take apart is used as it is by every lane.
    """
    if not isinstance(engine, InProcessEngine):
        return [engine] * count
    batch = Batch(engine.network)
    network = cast("Network", BatchedNetwork(engine.network, batch))
    return [Lane(engine.sibling(network), batch) for _ in range(count)]


@dataclass(kw_only=True, eq=False)
class _Call:
    """One lane's step: canvas (b, n), positions (1 or b, n), soft (b, n, hidden) or None -> states."""

    owner: int
    canvas: Tensor
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

    def denoise(self, call: _Call) -> Tensor:
        """Have a step computed together with those of the other lanes; our turn to compute goes on after it.

        Raises:
            Exception: whatever the network raises for this step alone.
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
        by_length: dict[int, list[_Call]] = {}
        for call in calls:
            self._calls.remove(call)
            by_length.setdefault(call.canvas.shape[1], []).append(call)
        for group in by_length.values():
            self._run_together(group)

    def _run_together(self, calls: list[_Call]) -> None:
        rows = sum(len(call.canvas) for call in calls)
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

    if len(calls) == 1:
        [call] = calls
        with torch.inference_mode():
            return [network.denoise(call.canvas, call.positions, call.attend, call.soft)]
    sizes = [len(call.canvas) for call in calls]
    with torch.inference_mode():
        canvas = torch.cat([call.canvas for call in calls])
        positions = torch.cat([call.positions.expand_as(call.canvas) for call in calls])
        states = network.denoise(canvas, positions, _apart(calls, sizes), _soft(calls))
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
            known.new_zeros(*call.canvas.shape, known.shape[-1]) if call.soft is None else call.soft
            for call in calls
        ]
    )


class BatchedNetwork:
    """Stands in for a network: denoising steps are batched, all else is the network's own."""

    def __init__(self, network: Network, batch: Batch) -> None:
        self._network, self._batch = network, batch

    def denoise(self, canvas: Tensor, positions: Tensor, attend: Attend, soft: Tensor | None) -> Tensor:
        """See `engine.network.Network`."""
        call = _Call(
            owner=threading.get_ident(), canvas=canvas, positions=positions, attend=attend, soft=soft
        )
        return self._batch.denoise(call)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._network, name)


class Lane:
    """An engine that takes part in a batch while it computes; see `engine.request.Engine`."""

    def __init__(self, engine: InProcessEngine, batch: Batch) -> None:
        self._engine, self.batch = engine, batch

    def info(self) -> EngineInfo:
        """See `engine.request.Engine.info`."""
        return self._engine.info()

    def denoise(self, request: DenoiseRequest, cancelled: threading.Event) -> Iterator[Step]:
        """See `engine.request.Engine.denoise`; steps must be taken without waiting for anything."""
        with self.batch.member(request.priority):
            yield from self._engine.denoise(request, cancelled)

    def score(self, request: ScoreRequest, cancelled: threading.Event) -> tuple[Scored, ...]:
        """See `engine.request.Engine.score`."""
        return self._together(request.priority, lambda: self._engine.score(request, cancelled))

    def read(self, request: ReadRequest, cancelled: threading.Event) -> tuple[Reading, ...]:
        """See `engine.request.Engine.read`."""
        return self._together(request.priority, lambda: self._engine.read(request, cancelled))

    def _together(self, priority: Priority, work: Callable[[], tuple[Any, ...]]) -> tuple[Any, ...]:
        with self.batch.member(priority):
            return work()
