"""Several holes of one text filled together: one canvas, with the code between them pinned.

Of many candidates the one is kept with which the text parses and that reads best, what hole by hole would
give among them. What does not fit in a canvas, or comes to nothing there, is filled hole by hole. It knows
no editor.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from engine.request import CANVAS_LENGTHS, MOST_AVOIDED, DenoiseRequest, Engine, ScoreRequest, Step
from infill.code.document import Document
from infill.marked.filling import Filled, Filling
from infill.marked.markers import Marker, find_markers
from infill.marked.shared_canvas import denoise, judged, lay_out, room
from infill.pipeline import Progress, fill_all
from infill.request import FillRequest, Reason, Rejected

OnCanvas = Callable[[Step, int, int], None]
"""A step, and the code points of the text that its canvases replace."""


@dataclass(frozen=True, kw_only=True)
class Holes:
    """What became of several holes: those that were filled, in order, and why the others were not.

    `together` counts the filled ones that shared a canvas.
    """

    filled: tuple[Filled, ...]
    rejected: tuple[tuple[Marker, Rejected], ...]
    together: int = 0


@dataclass(frozen=True, kw_only=True)
class Wish:
    """How holes are to be filled; the deadline counts from the call and is for all of them."""

    seed: int = 0
    max_steps: int | None = None
    deadline_ms: float | None = None


def fill_holes(
    engine: Engine,
    document: Document,
    markers: Sequence[Marker],
    wish: Wish,
    *,
    cancelled: threading.Event,
    on_step: OnCanvas | None = None,
    on_hole: Callable[[int], None] | None = None,
) -> Holes:
    """Fill `markers`, which are in order and do not overlap; together where they fit a canvas.

    `on_hole` is told how many are done.

    Raises:
        EngineError: the engine cannot serve it.
    """
    texts_of_markers = {document.text[marker.start : marker.end].strip() for marker in markers}
    job = _Job(engine, wish, cancelled, on_step, tuple(sorted(texts_of_markers - {""})[:MOST_AVOIDED]))
    text = Filling(document)
    rejected: list[tuple[Marker, Rejected]] = []
    together = 0
    for group in _groups(markers):
        texts = _together(job, text, group) if len(group) > 1 else None
        if texts is not None:
            together += len(group)
            for marker, new in zip(group, texts, strict=True):
                text.put(marker, new)
        for marker in group if texts is None else ():
            alone = _alone(job, text, marker)
            if isinstance(alone, Rejected):
                rejected.append((marker, alone))
            else:
                text.put(marker, alone)
        if on_hole is not None:
            on_hole(len(text.filled) + len(rejected))
    return Holes(filled=tuple(text.filled), rejected=tuple(rejected), together=together)


class _Job:
    """What all holes of one call share."""

    def __init__(
        self,
        engine: Engine,
        wish: Wish,
        cancelled: threading.Event,
        on_step: OnCanvas | None,
        avoid: tuple[str, ...],
    ) -> None:
        self.engine, self.wish, self.cancelled, self._on_step = engine, wish, cancelled, on_step
        self.avoid = avoid
        self._began = time.perf_counter()

    def report(self, step: Step, start: int, end: int) -> None:
        """Show a step to whoever watches."""
        if self._on_step is not None:
            self._on_step(step, start, end)

    def left_ms(self) -> float | None:
        """How much of the deadline is left, at least a millisecond; None where there is none."""
        if self.wish.deadline_ms is None:
            return None
        return max(1.0, self.wish.deadline_ms - (time.perf_counter() - self._began) * 1000)


def _alone(job: _Job, text: Filling, marker: Marker) -> str | Rejected:
    """The text for one hole, by the way any request goes."""
    if job.cancelled.is_set():
        return Rejected(reason=Reason.CANCELLED)
    document, at = text.opened(marker)
    request = FillRequest(
        text=document.text,
        language=document.language,
        offset=at,
        seed=job.wish.seed,
        max_steps=job.wish.max_steps,
        deadline_ms=job.left_ms(),
        # The other markers are code to a model, which may well write one more.
        avoid=job.avoid,
    )

    def report(progress: Progress) -> None:
        healed = progress.hole.start - progress.start
        job.report(progress.step, marker.start - healed, marker.end)

    found = fill_all(job.engine, document, request, cancelled=job.cancelled, on_step=report)
    if isinstance(found, Rejected):
        return found
    texts = [suggestion.text[at - suggestion.start :] for suggestion in found]
    fillings = [new for new in texts if not _is_marked(document, at, new)]
    if not fillings:
        return Rejected(reason=Reason.EMPTY, detail="it only leaves another marker", text=texts[0])
    whole = (new for new in fillings if not text.breaks_with([marker], [new]))
    return next(whole, Rejected(reason=Reason.BROKEN, text=fillings[0]))


def _is_marked(document: Document, at: int, text: str) -> bool:
    """Whether a text at an offset of the document has a hole in it itself."""
    found = find_markers(document.filled(at, at, text), at, at + len(text))
    return any(marker.start < at + len(text) and marker.end > at for marker in found)


def _together(job: _Job, text: Filling, group: Sequence[Marker]) -> list[str] | None:
    """The texts for holes that share a canvas; None where nothing comes of it."""
    info = job.engine.info()
    prompt, layouts = lay_out(text, group, info)
    if not layouts or job.cancelled.is_set():
        return None
    ask = DenoiseRequest(
        prompt=prompt,
        seed=job.wish.seed,
        max_steps=job.wish.max_steps,
        deadline_ms=job.left_ms(),
        layouts=layouts,
    )
    start, end = group[0].start, group[-1].end
    last = denoise(job.engine, ask, job.cancelled, lambda step: job.report(step, start, end))
    tried = [judged(text, group, canvas, info) for canvas in last.canvases] if last is not None else []
    tried.append(_one_by_one(job, text, group))
    opened, at = text.opened(group[0])
    candidates = list(
        dict.fromkeys(
            tuple(texts)
            for texts in tried
            if texts is not None
            if not any(_is_marked(opened, at, new) for new in texts) and not text.breaks_with(group, texts)
        )
    )
    if len(candidates) < 2 or job.cancelled.is_set():
        return [*candidates[0]] if candidates else None
    middles = tuple(text.middle(group, texts) for texts in candidates)
    scores = job.engine.score(ScoreRequest(prompt=prompt, middles=middles), job.cancelled)
    ranked = [
        (text.parses_with(group, texts), scored.mean, texts)
        for texts, scored in zip(candidates, scores, strict=False)
    ]
    return [*max(ranked)[2]] if ranked else None


def _one_by_one(job: _Job, text: Filling, group: Sequence[Marker]) -> list[str] | None:
    trial, texts = text.copy(), []
    for marker in group:
        alone = _alone(job, trial, marker)
        if isinstance(alone, Rejected):
            return None
        trial.put(marker, alone)
        texts.append(alone)
    return texts


def _groups(markers: Sequence[Marker]) -> list[list[Marker]]:
    """Neighbours that share a canvas, as many as probably fit."""
    groups: list[list[Marker]] = []
    for marker in markers:
        if groups and room([*groups[-1], marker]) <= CANVAS_LENGTHS[-1]:
            groups[-1].append(marker)
        else:
            groups.append([marker])
    return groups
