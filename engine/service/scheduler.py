"""Who is served next: a bounded queue of jobs of several clients, and the lanes that work on them.

A lane is a thread; a job runs on one from its beginning to its end. The more urgent go first; among equals
the client that has waited longest; of one client's jobs for the same document only the latest. Knows
neither models nor HTTP: a job is a function.
"""

from __future__ import annotations

import itertools
import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum

from engine.request import Priority

logger = logging.getLogger(__name__)

_URGENCY = {priority: rank for rank, priority in enumerate(Priority)}
_PATIENT = (Priority.PREFETCH, Priority.BACKGROUND)
"""These never take the last free lane: somebody may press a key."""


class Dropped(Enum):
    """Why a job was not done; the value is for people."""

    SUPERSEDED = "a newer request replaced this one"
    CANCELLED = "the client no longer wants it"
    LATE = "the deadline passed in the queue"
    FULL = "the engine has too much to do"
    CLOSED = "the engine is stopping"


@dataclass(kw_only=True, eq=False)
class Job:
    """Work for a lane: `run(lane)` does it, `drop(why)` is called instead where it never will be.

    Both are called on some thread, exactly one of them, once. `deadline` is a `time.monotonic()` value;
    `cancelled` is what `run` must look at. A job without a `key` supersedes nothing.
    """

    run: Callable[[int], None]
    drop: Callable[[Dropped], None]
    client: str = ""
    key: str = ""
    priority: Priority = Priority.AUTOMATIC
    deadline: float | None = None
    cancelled: threading.Event = field(default_factory=threading.Event)
    why: Dropped = Dropped.CANCELLED
    queued_at: float = field(default_factory=time.monotonic)


class Scheduler:
    """`lanes` threads, begun as they are needed, and at most `queue_length` jobs that wait."""

    def __init__(self, lanes: int = 8, queue_length: int = 64) -> None:
        self.lanes, self._limit = lanes, queue_length
        self._changed = threading.Condition()
        self._waiting: deque[Job] = deque()
        self._running: dict[int, Job] = {}
        self._latest: dict[tuple[str, str], Job] = {}
        self._homes: dict[tuple[str, str], int] = {}  # where a document was last worked on
        self._served: dict[str, int] = {}  # when a client was last served
        self._ticks = itertools.count()
        self._threads: list[threading.Thread] = []
        self._closed = False

    @property
    def waiting(self) -> int:
        """How many jobs wait."""
        return len(self._waiting)

    @property
    def running(self) -> int:
        """How many jobs are being worked on."""
        return len(self._running)

    def submit(self, job: Job) -> None:
        """Take a job; it takes the place of its document's earlier one, and drops another if all is full."""
        dropped: list[tuple[Job, Dropped]] = []
        with self._changed:
            if self._closed:
                dropped.append((job, Dropped.CLOSED))
            else:
                dropped += self._supersede(job)
                self._waiting.append(job)
                dropped += self._overflow()
                self._begin_lane()
                self._changed.notify_all()
        for each, why in dropped:
            each.drop(why)

    def cancel(self, job: Job) -> None:
        """Nobody wants it any more; a running one ends within a step."""
        job.cancelled.set()
        with self._changed:
            waiting = job in self._waiting
            if waiting:
                self._waiting.remove(job)
                self._forget(job)
        if waiting:
            job.drop(Dropped.CANCELLED)

    def forget_client(self, client: str) -> None:
        """A client has gone, and what is known of it with it."""
        with self._changed:
            self._served.pop(client, None)
            for key in [key for key in self._homes if key[0] == client]:
                del self._homes[key]

    def close(self, timeout_s: float) -> bool:
        """Drop what waits, cancel what runs, and wait for the lanes to end; False if one is still busy."""
        with self._changed:
            self._closed = True
            left = list(self._waiting)
            self._waiting.clear()
            for job in self._running.values():
                job.why = Dropped.CLOSED
                job.cancelled.set()
            self._changed.notify_all()
        for job in left:
            job.drop(Dropped.CLOSED)
        until = time.monotonic() + timeout_s
        for thread in self._threads:
            thread.join(max(0.0, until - time.monotonic()))
        return not any(thread.is_alive() for thread in self._threads)

    def _supersede(self, job: Job) -> list[tuple[Job, Dropped]]:
        if not job.key:
            return []
        older = self._latest.get((job.client, job.key))
        self._latest[job.client, job.key] = job
        if older is None:
            return []
        older.why = Dropped.SUPERSEDED
        older.cancelled.set()
        if older not in self._waiting:
            return []
        self._waiting.remove(older)
        return [(older, Dropped.SUPERSEDED)]

    def _overflow(self) -> list[tuple[Job, Dropped]]:
        """What must go: the least urgent, of the client with the most of them, the oldest."""
        dropped = []
        while len(self._waiting) > self._limit:
            worst = max(_URGENCY[job.priority] for job in self._waiting)
            of_worst = [job for job in self._waiting if _URGENCY[job.priority] == worst]
            counts: dict[str, int] = {}
            for job in of_worst:
                counts[job.client] = counts.get(job.client, 0) + 1
            victim = max(of_worst, key=lambda job: counts[job.client])
            self._waiting.remove(victim)
            self._forget(victim)
            dropped.append((victim, Dropped.FULL))
        return dropped

    def _begin_lane(self) -> None:
        if len(self._threads) < self.lanes and len(self._threads) < len(self._running) + len(self._waiting):
            thread = threading.Thread(target=self._work, args=(len(self._threads),), name="lane", daemon=True)
            self._threads.append(thread)
            thread.start()

    def _work(self, lane: int) -> None:
        while (job := self._take(lane)) is not None:
            late = job.deadline is not None and time.monotonic() >= job.deadline
            try:
                if job.cancelled.is_set() or late:
                    job.drop(job.why if job.cancelled.is_set() else Dropped.LATE)
                else:
                    job.run(lane)
            except Exception:
                logger.exception("a job failed")
            with self._changed:
                del self._running[lane]
                self._forget(job)
                self._changed.notify_all()

    def _take(self, lane: int) -> Job | None:
        """The next job for a lane, waiting for one; None when all is over."""
        with self._changed:
            while not self._closed:
                if (job := self._best(lane)) is not None:
                    self._waiting.remove(job)
                    self._running[lane] = job
                    self._served[job.client] = next(self._ticks)
                    if job.key:
                        self._homes[job.client, job.key] = lane
                    if self._waiting:  # a lane that left this job to us may take the next one
                        self._changed.notify_all()
                    return job
                self._changed.wait()
            return None

    def _best(self, lane: int) -> Job | None:
        free = self.lanes - len(self._running)
        choices = [
            job for job in self._waiting if free > 1 or self.lanes == 1 or job.priority not in _PATIENT
        ]
        if not choices:
            return None
        job = min(choices, key=lambda job: (_URGENCY[job.priority], self._served.get(job.client, -1)))
        home = self._homes.get((job.client, job.key), lane)
        # What another lane has in its cache is left to that lane, if it is free to take it.
        return job if home == lane or home in self._running else None

    def _forget(self, job: Job) -> None:
        if self._latest.get((job.client, job.key)) is job:
            del self._latest[job.client, job.key]
