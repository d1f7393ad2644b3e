"""What becomes of the middles an engine has found for a hole, and which of them is shown first.

What is sound goes before what is not; else the engine's order counts. No more are looked at than it takes,
since each is parsed with the text around. It asks for no middles itself.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace

from engine.request import Canvas
from infill.checks import Verdict
from infill.postprocess import Kept
from infill.request import Reason

Candidate = tuple[Canvas, Callable[[Canvas], Kept | Verdict]]
"""A canvas, and what tells what is kept of it or what is against it."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """A kept text, or a verdict; `canvas` is the one it is about, if any.

    `sound` says that nothing is wrong with the text around, or nothing that the kept one is to blame for.
    """

    result: Kept | Verdict
    canvas: Canvas | None = None
    steps: int = 0
    sound: bool = False

    @property
    def is_called_off(self) -> bool:
        """Whether nobody waits any more."""
        return isinstance(self.result, Verdict) and self.result.reason is Reason.CANCELLED


def judged(found: Iterable[Candidate], steps: int, cancelled: threading.Event) -> Iterator[Outcome]:
    """What becomes of each candidate, when it is asked for; `steps` is how many it took to find them."""
    for canvas, judge in found:
        result = judge(canvas)
        if cancelled.is_set():  # in a text that is hard to parse, each takes its time
            yield _called_off(steps)
            return
        yield Outcome(result=result, canvas=canvas, steps=steps)


def sound_first(
    outcomes: Iterable[Outcome],
    is_sound: Callable[[Kept], bool],
    cancelled: threading.Event,
    *,
    wanted: int | None,
) -> list[Outcome]:
    """What is kept, no two alike and the sound before the others; if nothing is, what is against the first.

    No more are looked at than it takes to find `wanted` that are sound.
    """
    sound: list[Outcome] = []
    others: list[Outcome] = []
    rejected: list[Outcome] = []
    seen: set[tuple[int, str]] = set()
    for each in outcomes:
        if cancelled.is_set():
            return [_called_off(each.steps)]
        if not isinstance(each.result, Kept):
            rejected.append(each)
        elif (each.result.start, each.result.text) not in seen:
            seen.add((each.result.start, each.result.text))
            if is_sound(each.result):
                sound.append(replace(each, sound=True))
            else:
                others.append(each)
        if wanted is not None and len(sound) >= wanted:
            break
    return sound + others or rejected[:1]


def better_of(outcomes: list[Outcome], more: list[Outcome]) -> list[Outcome]:
    """Those of a second look if they are sound, or kept where none was; one that was called off says so."""
    then, now = more[0], outcomes[0]
    kept_at_last = isinstance(then.result, Kept) and not isinstance(now.result, Kept)
    if not (then.sound or kept_at_last or then.is_called_off):
        return outcomes
    return [replace(each, steps=now.steps + each.steps) for each in more]


def _called_off(steps: int) -> Outcome:
    return Outcome(result=Verdict(Reason.CANCELLED), steps=steps)
