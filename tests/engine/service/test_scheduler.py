"""Who is served next: one property each, with lanes that wait for the test."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from engine.request import Priority
from engine.service.scheduler import Dropped, Job, Scheduler

TIMEOUT_S = 10.0


class Bench:
    """A scheduler whose jobs note when they run, and wait for `gate` where they are told to."""

    def __init__(self, lanes: int = 1, queue_length: int = 64) -> None:
        self.scheduler = Scheduler(lanes, queue_length)
        self.gate = threading.Event()
        self.ran: list[str] = []
        self.dropped: list[tuple[str, Dropped]] = []
        self._changed = threading.Condition()

    def add(
        self,
        name: str,
        *,
        client: str = "",
        key: str = "",
        priority: Priority = Priority.AUTOMATIC,
        deadline: float | None = None,
        waits: bool = False,
    ) -> Job:
        def note(into: list[object], what: object) -> None:
            with self._changed:
                into.append(what)
                self._changed.notify_all()

        def run(lane: int) -> None:
            note(self.ran, name)  # type: ignore[arg-type]
            if waits:
                assert self.gate.wait(TIMEOUT_S)

        job = Job(
            run=run,
            drop=lambda why: note(self.dropped, (name, why)),  # type: ignore[arg-type]
            client=client,
            key=key,
            priority=priority,
            deadline=deadline,
        )
        self.scheduler.submit(job)
        return job

    def occupy(self, count: int = 1) -> None:
        for index in range(count):
            self.add(f"first{index}", waits=True)
            self.until(lambda at=index: len(self.ran) > at)  # type: ignore[misc]

    def until(self, happened: object) -> None:
        with self._changed:
            assert self._changed.wait_for(happened, TIMEOUT_S)  # type: ignore[arg-type]

    def finish(self, count: int) -> list[str]:
        self.gate.set()
        self.until(lambda: len(self.ran) == count)
        return self.ran


@pytest.fixture
def bench() -> Iterator[Bench]:
    bench = Bench()
    yield bench
    bench.gate.set()
    assert bench.scheduler.close(TIMEOUT_S)


def test_the_more_urgent_goes_first(bench: Bench) -> None:
    bench.occupy()
    for priority in reversed(Priority):
        bench.add(priority.value, priority=priority)
    assert bench.finish(5)[1:] == ["invoked", "automatic", "prefetch", "background"]


def test_clients_take_turns(bench: Bench) -> None:
    bench.occupy()
    for name in ("a1", "a2", "a3", "b1", "b2"):
        bench.add(name, client=name[0])
    assert bench.finish(6)[1:] == ["a1", "b1", "a2", "b2", "a3"]


def test_the_latest_of_a_document_wins(bench: Bench) -> None:
    bench.occupy()
    for name in ("old", "new"):
        bench.add(name, client="c", key="doc")
    bench.add("other", client="d", key="doc")
    assert bench.finish(3)[1:] == ["new", "other"]
    assert bench.dropped == [("old", Dropped.SUPERSEDED)]


def test_a_running_one_is_cancelled_by_a_newer(bench: Bench) -> None:
    running = bench.add("old", key="doc", waits=True)
    bench.until(lambda: bench.ran == ["old"])
    bench.add("new", key="doc")
    assert running.cancelled.is_set()
    assert running.why is Dropped.SUPERSEDED
    assert bench.finish(2) == ["old", "new"]


def test_what_is_cancelled_or_late_is_not_done(bench: Bench) -> None:
    bench.occupy()
    bench.scheduler.cancel(bench.add("cancelled"))
    bench.add("late", deadline=time.monotonic())
    bench.add("timely", deadline=time.monotonic() + TIMEOUT_S)
    assert bench.finish(2)[1:] == ["timely"]
    assert bench.dropped == [("cancelled", Dropped.CANCELLED), ("late", Dropped.LATE)]


def test_a_full_queue_drops_the_least_urgent_of_the_greediest() -> None:
    bench = Bench(queue_length=3)
    bench.occupy()
    bench.add("a1", client="a")
    bench.add("a2", client="a")
    bench.add("b1", client="b")
    bench.add("urgent", client="b", priority=Priority.INVOKED)
    assert bench.dropped == [("a1", Dropped.FULL)]
    assert bench.finish(4)[1:] == ["urgent", "a2", "b1"]
    assert bench.scheduler.close(TIMEOUT_S)


def test_the_last_lane_is_kept_for_those_who_wait() -> None:
    bench = Bench(lanes=2)
    bench.add("check1", priority=Priority.BACKGROUND, waits=True)
    bench.until(lambda: bench.ran == ["check1"])
    bench.add("check2", priority=Priority.BACKGROUND)
    bench.add("key", priority=Priority.INVOKED)
    bench.until(lambda: len(bench.ran) == 2)
    assert bench.ran == ["check1", "key"]
    assert bench.finish(3)[2] == "check2"
    assert bench.scheduler.close(TIMEOUT_S)


def test_closing_drops_what_waits_and_cancels_what_runs(bench: Bench) -> None:
    running = bench.add("running", waits=True)
    bench.until(lambda: bench.ran == ["running"])
    bench.add("waiting")
    assert not bench.scheduler.close(0.0)
    assert running.cancelled.is_set()
    bench.add("after")
    assert bench.dropped == [("waiting", Dropped.CLOSED), ("after", Dropped.CLOSED)]


def test_a_job_that_fails_does_not_end_its_lane(bench: Bench) -> None:
    def fail(lane: int) -> None:
        raise ValueError("ours")

    bench.scheduler.submit(Job(run=fail, drop=lambda why: None))
    bench.add("next")
    bench.until(lambda: bench.ran == ["next"])
