"""The service without HTTP: takes requests, has them scheduled on the lanes, and hands the steps out.

All methods are for the event loop's thread; the lanes' threads come in through `call_soon_threadsafe` only.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import ExitStack, aclosing
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from engine.request import (
    CanvasToken,
    DenoiseRequest,
    Engine,
    Priority,
    Reading,
    ReadRequest,
    Scored,
    ScoreRequest,
    Step,
    Stop,
)
from engine.service.metrics import Metrics
from engine.service.models import Loaded, Models
from engine.service.scheduler import Dropped, Job, Scheduler

T = TypeVar("T")

_FRAME_MS = 33.0
"""Steps that follow one another faster are left out, never the last: nobody could see them, and
making and sending them takes longer than computing them."""

_RESERVE = 0.1
"""The share of a deadline that is kept for a last step that takes longer than the one before, among others'
steps, and for the way back."""

_WAY_BACK = 0.05
"""The share of it after which a request is answered with what there is, whatever a lane still does."""

_KEPT_STEPS = 8
"""Steps that wait for a slow client; of more than these the older are left out, the last never."""


@dataclass(frozen=True, kw_only=True)
class Origin:
    """Who asks, of which endpoint, for which model (None: the one the user has chosen).

    `asked_at` is a `time.monotonic()` value, from which a deadline counts: on a busy machine a request can
    be seconds old when we get to read it.
    """

    endpoint: str
    client: str = ""
    model: str | None = None
    asked_at: float = field(default_factory=time.monotonic)


@dataclass(kw_only=True, eq=False)
class Client:
    """One that has attached itself, such as a language server."""

    name: str
    pid: int
    since: float = field(default_factory=time.monotonic)
    requests: int = 0


@dataclass(kw_only=True)
class Live:
    """The canvas that moved last, for whoever watches; `number` tells a new one from the old."""

    number: int = 0
    tokens: tuple[CanvasToken, ...] = ()
    step: int = 0
    done: bool = True


class Service:
    """One engine for many clients."""

    def __init__(self, models: Models, scheduler: Scheduler) -> None:
        self.models, self.scheduler, self.metrics = models, scheduler, Metrics()
        self.clients: dict[str, Client] = {}
        self.live = Live()
        self.started = self.active_at = time.monotonic()
        self.open_requests = 0
        self.closing = asyncio.Event()

    @property
    def idle_s(self) -> float:
        """Seconds since anybody was here; 0 while somebody is."""
        return 0.0 if self.clients or self.open_requests else time.monotonic() - self.active_at

    async def denoise(self, request: DenoiseRequest, origin: Origin) -> AsyncGenerator[Step | Dropped]:
        """The steps of a request as they are made; where it is dropped, the reason in place of the rest.

        One that outlives its deadline ends with the step it has come to. Of steps that come faster than
        thirty a second some are left out, and of those a slow consumer does not take in time; never the
        last. Closing it cancels.

        Raises:
            EngineError: the model cannot be loaded, or the request cannot be served.
        """
        asked_at = origin.asked_at
        newest: Step | None = None

        def work(engine: Engine, stream: _Stream) -> None:
            nonlocal newest
            waited_ms = 1000 * (time.monotonic() - asked_at)
            timely = replace(request, frame_ms=max(request.frame_ms, _FRAME_MS))
            if request.deadline_ms is not None:
                left_ms = (1 - _RESERVE) * request.deadline_ms - waited_ms
                timely = replace(timely, deadline_ms=max(0.0, left_ms))
            for step in engine.denoise(timely, stream.job.cancelled):
                newest = step
                stream.put(step)

        deadline = None
        if request.deadline_ms is not None:
            deadline = asked_at + (1 - _WAY_BACK) * request.deadline_ms / 1000
        async with aclosing(self._run(origin, work, request.priority, request.key, deadline)) as items:
            counted = 0
            async for item in items:
                if item is Dropped.LATE and newest is not None:
                    item = replace(newest, stop=newest.stop or Stop.DEADLINE)
                if isinstance(item, Step):
                    # A request that is begun anew counts its steps from one again.
                    self.metrics.steps += item.number - (counted if item.number > counted else 0)
                    counted = item.number
                    self._saw(item)
                yield item

    async def score(self, request: ScoreRequest, origin: Origin) -> tuple[Scored, ...] | Dropped:
        """See `engine.request.Engine.score`; or why not.

        Raises:
            EngineError: the model cannot be loaded, or the request cannot be served.
        """
        return await self._once(origin, lambda engine, event: engine.score(request, event), request.priority)

    async def read(self, request: ReadRequest, origin: Origin) -> tuple[Reading, ...] | Dropped:
        """See `engine.request.Engine.read`; or why not.

        Raises:
            EngineError: the model cannot be loaded, or the request cannot be served.
        """
        return await self._once(origin, lambda engine, event: engine.read(request, event), request.priority)

    async def _once(
        self, origin: Origin, ask: Callable[[Engine, threading.Event], T], priority: Priority
    ) -> T | Dropped:
        def work(engine: Engine, stream: _Stream) -> None:
            stream.put(ask(engine, stream.job.cancelled))

        async with aclosing(self._run(origin, work, priority, "", None)) as items:
            async for item in items:
                answer: T | Dropped = item
                return answer
        return Dropped.CANCELLED

    async def _run(
        self,
        origin: Origin,
        work: Callable[[Engine, _Stream], None],
        priority: Priority,
        key: str,
        deadline: float | None,
    ) -> AsyncGenerator[Any]:
        """What `work` puts into its stream; it is done on a lane, with the lane's engine of the model."""
        began, outcome, stream = time.monotonic(), "cancelled", None
        self.open_requests += 1
        if (client := self.clients.get(origin.client)) is not None:
            client.requests += 1
        try:
            with ExitStack() as stack:
                loaded = await self._model(origin.model, deadline)
                if isinstance(loaded, Dropped):
                    outcome = loaded.name.lower()
                    yield loaded
                    return
                stack.enter_context(loaded.in_use())
                stream = _Stream(loaded, work)
                stream.job.client, stream.job.key = origin.client, key
                stream.job.priority, stream.job.deadline = priority, deadline
                stack.callback(self.scheduler.cancel, stream.job)
                self.scheduler.submit(stream.job)
                if deadline is not None:
                    loop = asyncio.get_running_loop()
                    stack.callback(loop.call_at(deadline, stream.expire).cancel)
                async for item in stream:
                    outcome = item.name.lower() if isinstance(item, Dropped) else "ok"
                    yield item
        except Exception:
            outcome = "error"
            raise
        finally:
            self.open_requests -= 1
            self.active_at = now = time.monotonic()
            waited_s = stream.waited_s if stream is not None else 0.0
            self.metrics.answered(origin.endpoint, outcome, now - began, waited_s)

    async def _model(self, name: str | None, deadline: float | None) -> Loaded | Dropped:
        left = None if deadline is None else max(0.0, deadline - time.monotonic())
        try:
            async with asyncio.timeout(left):
                return await self.models.get(name)
        except TimeoutError:
            return Dropped.LATE

    def _saw(self, step: Step) -> None:
        if step.canvases:
            self.live = Live(
                number=self.live.number + 1,
                tokens=step.canvases[0].tokens,
                step=step.number,
                done=step.stop is not None,
            )


class _Stream:
    """A job and what comes out of it, from a lane's thread to the event loop."""

    def __init__(self, loaded: Loaded, work: Callable[[Engine, _Stream], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._arrived = asyncio.Event()
        self._items: deque[Any] = deque()
        self._over = False
        self._error: Exception | None = None
        self._loaded, self._work = loaded, work
        self.waited_s = 0.0
        self.job = Job(run=self._do, drop=self._dropped)

    def put(self, item: Any) -> None:
        """Hand something to the event loop; on a lane's thread."""
        self._loop.call_soon_threadsafe(self._add, item)

    def expire(self) -> None:
        """End it as late, whether it waits or a lane is at work on it."""
        if not self._over:
            self.job.why = Dropped.LATE
            self.job.cancelled.set()
            self._add(Dropped.LATE)
            self._end(None)

    async def __aiter__(self) -> AsyncIterator[Any]:
        while True:
            await self._arrived.wait()
            self._arrived.clear()
            while self._items:
                yield self._items.popleft()
            if self._over:
                if self._error is not None:
                    raise self._error
                return

    def _do(self, lane: int) -> None:
        self.waited_s = time.monotonic() - self.job.queued_at
        error: Exception | None = None
        try:
            self._work(self._loaded.engines[lane], self)
            if self.job.why is not Dropped.CANCELLED:  # cancelled by the scheduler, and the client waits
                self.put(self.job.why)
        except Exception as raised:
            error = raised
        self._loop.call_soon_threadsafe(self._end, error)

    def _dropped(self, why: Dropped) -> None:
        self._loop.call_soon_threadsafe(self._add, why)
        self._loop.call_soon_threadsafe(self._end, None)

    def _add(self, item: Any) -> None:
        if self._over:  # the lane of one that has expired
            return
        if len(self._items) >= _KEPT_STEPS:
            self._items.popleft()
        self._items.append(item)
        self._arrived.set()

    def _end(self, error: Exception | None) -> None:
        if self._over:
            return
        self._over, self._error = True, error
        self._arrived.set()
