"""A thread for the model, with at most one request per document on it, and another for what nobody waits for.

Not pygls' thread pool: its handlers cannot be stopped, and it is what standard input is read with. This
module knows neither models nor the protocol.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

T = TypeVar("T")

_THREAD_NAME = "engine"


@dataclass(frozen=True, kw_only=True)
class _Job:
    """Work for one key: `cancelled` tells the thread to stop, `outcome` is what its requester awaits."""

    cancelled: threading.Event
    outcome: asyncio.Future[Any]

    def supersede(self) -> None:
        self.cancelled.set()
        if not self.outcome.done():
            self.outcome.set_result(None)


class Worker:
    """Runs tasks one after another on a thread of its own, and those `behind` on another, so that who types
    never waits for a text to be read or a checker to run; all methods are for the event loop's thread."""

    def __init__(self) -> None:
        self._executor = ThreadPoolExecutor(1, thread_name_prefix=_THREAD_NAME)
        self._behind = ThreadPoolExecutor(1, thread_name_prefix=f"{_THREAD_NAME}-behind")
        self._jobs: dict[str, _Job] = {}

    @property
    def busy(self) -> bool:
        """Whether somebody waits for a result."""
        return bool(self._jobs)

    async def run(self, key: str, task: Callable[[threading.Event], T], *, behind: bool = False) -> T | None:
        """Run a task and return its result; None as soon as a newer one with the same key takes its place.

        The task gets an event that is set when nobody wants its result any more: it was superseded, or
        this coroutine was cancelled.

        Raises:
            Exception: whatever the task raises.
        """
        self.supersede(key)
        job = _Job(cancelled=threading.Event(), outcome=asyncio.get_running_loop().create_future())
        self._jobs[key] = job
        work = (self._behind if behind else self._executor).submit(task, job.cancelled)
        _deliver(work, job.outcome)
        try:
            result: T | None = await job.outcome
            return result
        finally:
            # Also where the task is done: then it means nothing.
            job.cancelled.set()
            work.cancel()
            if self._jobs.get(key) is job:
                del self._jobs[key]

    async def call(self, task: Callable[[], T]) -> T:
        """Run a task nothing supersedes, such as loading the model.

        Raises:
            Exception: whatever the task raises.
        """
        outcome: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        _deliver(self._executor.submit(task), outcome)
        return await outcome

    def supersede(self, key: str) -> None:
        """Stop the task of this key, if there is one; whoever awaits it gets None now."""
        if job := self._jobs.get(key):
            job.supersede()

    def close(self) -> None:
        """Stop everything; tasks that were not begun never are."""
        for job in self._jobs.values():
            job.supersede()
        for executor in (self._executor, self._behind):
            executor.shutdown(wait=False, cancel_futures=True)

    def join(self, timeout_s: float) -> bool:
        """Wait for the threads to end after `close`; False if one is still busy."""
        for thread in threading.enumerate():
            if thread.name.startswith(_THREAD_NAME):
                thread.join(timeout_s)
        return not any(thread.name.startswith(_THREAD_NAME) for thread in threading.enumerate())


def _deliver(work: Future[T], outcome: asyncio.Future[Any]) -> None:
    """Pass on what becomes of `work`, unless `outcome` is settled by then."""
    loop = outcome.get_loop()

    def settle() -> None:
        if outcome.done():
            return
        try:
            outcome.set_result(work.result())
        except CancelledError:
            outcome.cancel()
        except BaseException as error:
            outcome.set_exception(error)

    def done(_: Future[T]) -> None:
        # It raises where the loop is closed: the server has ended, and nobody waits.
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(settle)

    work.add_done_callback(done)
