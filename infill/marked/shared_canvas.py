"""One canvas for several holes: how it is laid out, denoised and taken apart again.

The code between the holes is pinned. A hole that pinned code follows has to be as long as its free stretch,
so every candidate tries other lengths. Which candidate is the best is `infill.marked.joint`'s business.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise

from engine.errors import InvalidRequest
from engine.request import (
    CANVAS_LENGTHS,
    Canvas,
    DenoiseRequest,
    Engine,
    EngineInfo,
    Layout,
    Prompt,
    Segment,
    Step,
)
from infill.code.lines import with_line_feeds
from infill.context import build_context, prefix_start, suffix_end
from infill.hole import HoleKind, choose_hole
from infill.marked.filling import Filling
from infill.marked.markers import Marker
from infill.postprocess import Kept, postprocess

_LENGTHS = {
    HoleKind.EXPRESSION: (2, 4, 8),
    HoleKind.LINE: (5, 9, 14),
    HoleKind.BLOCK: (8, 16, 32),
    HoleKind.SPAN: (8, 16, 32),
}
"""Free tokens to try for a hole that pinned code follows: short, medium, long."""
_MIXES = ((1,), (0,), (2,), (0, 1), (1, 0), (2, 1))
"""Which of those each hole in turn has, a mix for each candidate."""
_LAST_TOKENS = 48  # the last hole ends where the model says
_CHARS_PER_TOKEN = 2.5  # of pinned code, on the short side
_SPARE_TOKENS = 8


def room(group: Sequence[Marker]) -> int:
    """The tokens that the widest layout of a group needs, about."""
    pinned = sum(b.start - a.end + len(b.lead) for a, b in pairwise(group))
    longest = max(max(lengths) for lengths in _LENGTHS.values())
    return int(pinned / _CHARS_PER_TOKEN) + longest * (len(group) - 1) + _LAST_TOKENS + _SPARE_TOKENS


def lay_out(text: Filling, group: Sequence[Marker], info: EngineInfo) -> tuple[Prompt, tuple[Layout, ...]]:
    """The prompt around the holes, and a layout for each mix of lengths; none if two holes touch."""
    whole = text.document.text
    begin, last = text.before(group[0]), text.at(group[-1])[1]
    start = prefix_start(text.document, begin, info.prefix_chars)
    prompt = Prompt(
        prefix=with_line_feeds(whole[start:begin] + group[0].lead),
        suffix=with_line_feeds(whole[last : suffix_end(text.document, last, info.suffix_chars)]),
    )
    between = [
        with_line_feeds(whole[text.at(a)[1] : max(text.at(a)[1], text.before(b))] + b.lead)
        for a, b in pairwise(group)
    ]
    if not all(between):
        return prompt, ()
    kinds = [choose_hole(*text.opened(marker)).kind for marker in group]
    layouts = []
    for mix in _MIXES:
        parts: list[Segment] = []
        for index, pinned in enumerate(between):
            length = _LENGTHS[kinds[index]][mix[index % len(mix)]]
            parts += (Segment(free_tokens=length), Segment(text=pinned))
        layouts.append((*parts, Segment(free_tokens=_LAST_TOKENS)))
    return prompt, tuple(dict.fromkeys(layouts))


def denoise(
    engine: Engine,
    ask: DenoiseRequest,
    cancelled: threading.Event,
    report: Callable[[Step], None],
) -> Step | None:
    """The last step on the shortest canvas that the layouts of `ask` fit; None if they fit none.

    Raises:
        EngineError: the engine cannot serve it.
    """
    needed = min(CANVAS_LENGTHS[-1], max(map(_tokens, ask.layouts), default=0))
    for canvas_tokens in (n for n in CANVAS_LENGTHS if n >= needed):
        last: Step | None = None
        try:
            for last in engine.denoise(replace(ask, canvas_tokens=canvas_tokens), cancelled):
                report(last)
        except InvalidRequest:
            continue  # its tokens are more than they were thought to be
        return last
    return None


def judged(text: Filling, group: Sequence[Marker], canvas: Canvas, info: EngineInfo) -> list[str] | None:
    """What is kept of each hole's segment of a canvas; None if one of them is turned down."""
    free = canvas.segments[::2]  # between any two holes there is one pinned segment
    if len(free) != len(group):
        return None
    trial, texts = text.copy(), []
    for marker, part in zip(group, free, strict=True):
        document, at = trial.opened(marker)
        hole = choose_hole(document, at)
        context = build_context(document, hole, info)
        context = replace(context, prompt=replace(context.prompt, typed=""))
        new = part.removeprefix(" ") if document.text[at - 1 : at] == " " else part
        kept = postprocess(replace(canvas, text=new, tokens=(), ended=True), document, hole, context)
        if not isinstance(kept, Kept):
            return None
        trial.put(marker, kept.text)
        texts.append(kept.text)
    return texts


def _tokens(layout: Layout) -> int:
    """The tokens a layout needs, about."""
    pinned = sum(len(s.text) for s in layout if s.pinned)
    return int(pinned / _CHARS_PER_TOKEN) + sum(s.free_tokens for s in layout) + _SPARE_TOKENS
