"""Suggestions for one hole, tried in the order that is likely to be quickest: warm, fresh, in other lengths.

Each try is one pass through `infill.pipeline`; what a suggestion is for is the caller's business.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import replace

from engine.request import CANVAS_LENGTHS, Engine
from infill.code.document import Document
from infill.hole import canvas_tokens, choose_hole
from infill.pipeline import OnStep, fill_all
from infill.request import FillRequest, Rejected, Suggestion
from infill.reuse import renoise

_OTHER_LENGTHS_SHARE = 0.5
"""How much of the deadline may be gone when a canvas of another length is begun."""


def fill_variants(
    engine: Engine,
    document: Document,
    request: FillRequest,
    *,
    wanted: int,
    rest: str | None = None,
    cancelled: threading.Event,
    on_step: OnStep | None = None,
) -> tuple[Suggestion, ...] | Rejected:
    """Up to `wanted` suggestions, no two alike, the best first.

    With `rest`, what an older suggestion has left, a canvas begins with that first, if the engine is good
    at it. Where more than one is
    wanted, canvases of other lengths follow as long as there is time.

    Raises:
        InvalidHole: the request's offsets do not lie within the text.
        EngineError: the engine cannot serve the request.
    """
    began = time.perf_counter()
    info = engine.info()
    if wanted > 1 and not info.searches:  # a search finds several anyway
        request = replace(request, candidates=max(wanted, info.candidates))
    if not info.warm_starts:
        rest = None

    def go(canvas: int | None, rest: str | None = None) -> tuple[Suggestion, ...] | Rejected:
        spent_ms = (time.perf_counter() - began) * 1000
        left = None if request.deadline_ms is None else max(1.0, request.deadline_ms - spent_ms)
        return fill_all(
            engine,
            document,
            replace(request, deadline_ms=left, canvas_tokens=canvas),
            cancelled=cancelled,
            on_step=on_step,
            wanted=wanted,
            shape=renoise(rest, info.candidates) if rest is not None else None,
        )

    found = go(request.canvas_tokens, rest)
    if rest is not None and isinstance(found, Rejected) and not cancelled.is_set():
        found = go(request.canvas_tokens)
    for canvas in _other_lengths(document, request) if wanted > 1 else ():
        late = (time.perf_counter() - began) * 1000 > _OTHER_LENGTHS_SHARE * (request.deadline_ms or 1e9)
        if cancelled.is_set() or late or (not isinstance(found, Rejected) and len(found) >= wanted):
            break
        found = _joined(found, go(canvas), wanted)
    return found


def _other_lengths(document: Document, request: FillRequest) -> Iterator[int]:
    """The next longer canvas, then the next shorter, where the request leaves it to us."""
    if request.canvas_tokens is not None:
        return
    usual = CANVAS_LENGTHS.index(canvas_tokens(choose_hole(document, request.offset, request.end)))
    for index in (usual + 1, usual - 1):
        if 0 <= index < len(CANVAS_LENGTHS):
            yield CANVAS_LENGTHS[index]


def _joined(
    found: tuple[Suggestion, ...] | Rejected, more: tuple[Suggestion, ...] | Rejected, wanted: int
) -> tuple[Suggestion, ...] | Rejected:
    if isinstance(found, Rejected) or isinstance(more, Rejected):
        return found if isinstance(more, Rejected) else more
    new = tuple(s for s in more if s.text not in {f.text for f in found})
    return (*found, *new)[:wanted]
