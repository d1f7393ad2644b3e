"""What became of the middles an engine has found for a hole, and which of them is shown first.

What is sound goes before what is not. Among the sound ones the engine's order counts, save where the line
goes on behind the hole: see `infill.following`. It asks for no middles itself.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from engine.request import Canvas, Engine, Prompt, Step
from infill.checks import Verdict
from infill.following import by_what_follows, log_probability
from infill.postprocess import Kept
from infill.request import Reason


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


def judged(
    denoised: Step | Verdict, judge: Callable[[Canvas], Kept | Verdict], cancelled: threading.Event
) -> list[Outcome]:
    """What is kept of each canvas of the last step, in order and no two alike; if nothing is, what is against
    the first."""
    if isinstance(denoised, Verdict):
        return [Outcome(result=denoised)]
    kept: dict[tuple[int, str], Outcome] = {}
    rejected: list[Outcome] = []
    for canvas in denoised.canvases:
        result = judge(canvas)
        if cancelled.is_set():  # in a text that is hard to parse, each takes its time
            return [_called_off(denoised.number)]
        outcome = Outcome(result=result, canvas=canvas, steps=denoised.number)
        if isinstance(result, Kept):
            kept.setdefault((result.start, result.text), outcome)
        else:
            rejected.append(outcome)
    return [*kept.values()] or rejected[:1]


def joined(outcomes: list[Outcome], others: list[Outcome]) -> list[Outcome]:
    """The outcomes of two looks at one hole; verdicts only where nothing was kept."""
    if others[0].is_called_off:
        return others
    found = [*outcomes, *others]
    steps = outcomes[0].steps + others[0].steps
    kept = [each for each in found if isinstance(each.result, Kept)]
    return [replace(each, steps=steps) for each in kept or found[:1]]


def ordered(
    engine: Engine, prompt: Prompt, outcomes: list[Outcome], cancelled: threading.Event
) -> list[Outcome]:
    """Kept outcomes by how likely they are together with what follows them.

    Raises:
        EngineError: the engine cannot serve it.
    """
    texts: list[tuple[str, float]] = []
    for each in outcomes:
        if not isinstance(each.result, Kept) or each.canvas is None:
            return outcomes
        texts.append((each.result.text, log_probability(each.canvas)))
    return [outcomes[index] for index in by_what_follows(engine, prompt, texts, cancelled)]


def sound_first(
    outcomes: Sequence[Outcome],
    is_sound: Callable[[Kept], bool],
    cancelled: threading.Event,
    *,
    wanted: int | None,
) -> list[Outcome]:
    """The outcomes that are sound before the others; no more are looked at than it takes to find `wanted`."""
    sound: list[Outcome] = []
    others: list[Outcome] = []
    for each in outcomes:
        if wanted is not None and len(sound) >= wanted:
            break
        if cancelled.is_set():
            return [_called_off(each.steps)]
        if isinstance(each.result, Kept) and is_sound(each.result):
            sound.append(replace(each, sound=True))
        else:
            others.append(each)
    return sound + others


def better_of(outcomes: list[Outcome], others: list[Outcome]) -> list[Outcome]:
    """The others if they are sound, or kept where none was; a request that is called off says so."""
    then, now = others[0], outcomes[0]
    kept_at_last = isinstance(then.result, Kept) and not isinstance(now.result, Kept)
    if not (then.sound or kept_at_last or then.is_called_off):
        return outcomes
    return [replace(each, steps=now.steps + each.steps) for each in others]


def _called_off(steps: int) -> Outcome:
    return Outcome(result=Verdict(Reason.CANCELLED), steps=steps)
