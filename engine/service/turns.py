"""Lanes on a network that gains nothing from joined rows: so many compute at a time, each its own passes.

A lane computes for a turn and then leaves its place to the next one that waits, so that requests of several
clients go on side by side. While there are more urgent lanes the others stand still. About as many lanes as
there are processor cores compute beside each other, since a pass through a small model keeps one of them
busy; one that is alone has all. For networks that do gain there is `engine.service.batching`.
"""

from __future__ import annotations

import itertools
import math
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from engine.request import Priority

if TYPE_CHECKING:
    from torch import Tensor

    from engine.networks.attention import Attend, Memory
    from engine.networks.network import Network, Searching

T = TypeVar("T")

_URGENCY = {priority: rank for rank, priority in enumerate(Priority)}

_TURN_S = 0.03
"""For how long a lane computes before others of its kind have their turn."""

_LONG_ROW = 16
"""Tokens of a row from which on several threads are worth it; see `engine.service.batching`."""


class Turns:
    """The lanes at work on one network, of which `places` compute at a time.

    Passes over long rows are computed by `threads` threads while no other lane is at work, the rest by one.
    """

    def __init__(self, network: Network, *, threads: int = 1, places: int = 1) -> None:
        self._network, self._threads, self._places = network, threads, places
        self._changed = threading.Condition()
        self._tickets = itertools.count()
        # By the lanes' threads: urgency, the lower the more urgent, and a ticket, or when its turn is over.
        self._waiting: dict[int, tuple[int, int]] = {}
        self._running: dict[int, tuple[int, float]] = {}
        self.sizes: dict[int, int] = {}
        """How many passes were of how many rows."""

    @property
    def present(self) -> int:
        """How many lanes take part now, those included that wait to."""
        return len(self._waiting) + len(self._running)

    @contextmanager
    def member(self, priority: Priority) -> Iterator[None]:
        """Take part: have a place, and leave it now and then to others while computing."""
        me = threading.get_ident()
        with self._changed:
            self._take_place(me, _URGENCY[priority])
        try:
            yield
        finally:
            with self._changed:
                del self._running[me]
                self._changed.notify_all()
            self._use_threads(self._threads)  # for whatever else this thread does

    def compute(self, rows: int, count: int, work: Callable[[], T]) -> T:
        """A pass over (rows, count) tokens, in our turn; None is none."""
        me = threading.get_ident()
        with self._changed:
            if me in self._running and not self._may_go_on(me):
                urgency, _ = self._running.pop(me)
                self._changed.notify_all()
                self._take_place(me, urgency)
            alone = self.present <= 1
        self._use_threads(self._threads if alone and count >= _LONG_ROW else 1)
        done = work()
        if done is not None:
            with self._changed:
                self.sizes[rows] = self.sizes.get(rows, 0) + 1
        return done

    def _take_place(self, me: int, urgency: int) -> None:
        self._waiting[me] = mine = urgency, next(self._tickets)
        while (
            len(self._running) >= self._places
            or mine != min(self._waiting.values())
            or any(other < urgency for other, _ in self._running.values())
        ):
            self._changed.wait()
        del self._waiting[me]
        self._running[me] = urgency, time.monotonic() + _TURN_S
        self._changed.notify_all()  # there may be another place for the next one

    def _may_go_on(self, me: int) -> bool:
        urgency, until = self._running[me]
        first = min([other for other, _ in (*self._running.values(), *self._waiting.values())])
        waiting = min(self._waiting.values(), default=(math.inf, 0))[0]
        return urgency <= first and (waiting > urgency or time.monotonic() < until)

    def _use_threads(self, count: int) -> None:
        """From now on, on this thread: libraries know one number for each."""
        if self._threads > 1:
            self._network.use_threads(count)


class TakingTurns:
    """Stands in for a network: passes through its layers wait for their turn, all else is its own."""

    def __init__(self, network: Network, turns: Turns) -> None:
        self._network, self._turns = network, turns

    def encode(self, ids: Tensor, positions: Tensor, attend: Attend) -> Tensor:
        """See `engine.networks.network.Network`."""
        rows, count = ids.shape
        return self._turns.compute(rows, count, lambda: self._network.encode(ids, positions, attend))

    def denoise(self, canvas: Tensor, positions: Tensor, attend: Attend, soft: Tensor | None) -> Tensor:
        """See `engine.networks.network.Network`."""
        rows, count = canvas.shape
        return self._turns.compute(
            rows, count, lambda: self._network.denoise(canvas, positions, attend, soft)
        )

    def logits_behind(
        self,
        memory: Memory,
        ids: Sequence[Sequence[int]],
        at: Sequence[int],
        sources: Sequence[int] | None = None,
    ) -> Tensor | None:
        """See `engine.networks.network.Network`."""
        return self._turns.compute(
            len(ids), len(ids[0]), lambda: self._network.logits_behind(memory, ids, at, sources)
        )

    def search_behind(
        self, memory: Memory, searching: Searching, seconds: float
    ) -> Sequence[tuple[int, int]] | None:
        """See `engine.networks.network.Network`."""
        rows = searching.width
        return self._turns.compute(rows, 1, lambda: self._network.search_behind(memory, searching, seconds))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._network, name)
