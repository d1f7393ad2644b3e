"""Denoises again what a parser cannot read of a text, everything else on the canvas pinned.

Which of the texts that come of it is taken is decided elsewhere.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

from engine.errors import InvalidRequest
from engine.request import CANVAS_LENGTHS, DenoiseRequest, Engine, Layout, Prompt, Segment
from infill.checks import check_repetitive
from infill.code.lines import with_line_feeds
from infill.repair.damage import faults_with
from infill.repair.mechanical import TOKEN, Fill

_STEPS = 6
_CHARS_PER_TOKEN = 1.5  # on the short side, so that a layout fits its canvas
_RENOISE_CHARS = 120  # more than this is another fill rather than a repair


def renoised(
    engine: Engine,
    fill: Fill,
    prompt: Prompt,
    sound: int,
    ends: float | None,
    seed: int,
    cancelled: threading.Event,
) -> Iterator[str]:
    """What the denoiser makes of the tokens at the fault, the others pinned; `sound` characters parse."""
    start, end = _span(fill, sound)
    if end - start > _RENOISE_CHARS:
        return
    tokens = max(1, round((end - start) / 2.6))
    text, tail = fill.text, fill.text[end:]
    layouts = []
    for free, noise in ((tokens, 0.6), (tokens, 1.0), (max(1, tokens - 2), 1.0), (tokens + 2, 1.0)):
        segments = [Segment(text=text[start:end], free_tokens=free, noise=noise)]
        head = [Segment(text=text[:start])] if start else []
        layouts.append((*head, *segments, *([Segment(text=tail)] if tail else [])))
    for candidate in denoised(engine, prompt, tuple(dict.fromkeys(layouts)), ends, seed, cancelled):
        candidate = with_line_feeds(candidate).rstrip() if not tail else with_line_feeds(candidate)
        longer = candidate.count("\n") > text.count("\n")
        if candidate.strip() and not longer and check_repetitive(candidate) is None:
            yield candidate


def denoised(
    engine: Engine,
    prompt: Prompt,
    layouts: tuple[Layout, ...],
    ends: float | None,
    seed: int,
    cancelled: threading.Event,
    steps: int = _STEPS,
) -> list[str]:
    """The texts of a batch of layouts, none that was cut off; nothing where they fit no canvas.

    `ends` is when to be done, a `time.perf_counter()` value. What was typed is the layouts' business.
    """
    size = max(
        sum(len(s.text) / _CHARS_PER_TOKEN if s.pinned else s.free_tokens for s in row) for row in layouts
    )
    length = next((n for n in CANVAS_LENGTHS if n >= size + 2), None)
    left = None if ends is None else max(0.0, 1000 * (ends - time.perf_counter()))
    if length is None or left == 0:
        return []
    request = DenoiseRequest(
        prompt=Prompt(prefix=prompt.prefix, suffix=prompt.suffix, snippets=prompt.snippets),
        canvas_tokens=length,
        layouts=layouts,
        seed=seed,
        max_steps=steps,
        deadline_ms=left,
    )
    try:
        done = list(engine.denoise(request, cancelled))
    except InvalidRequest:  # it does not fit after all: tokens are shorter here than elsewhere
        return []
    return [canvas.text for canvas in done[-1].canvases if canvas.ended] if done else []


def _span(fill: Fill, sound: int) -> tuple[int, int]:
    """What of the fill to make noise of: what lies under faults, else all behind the part that parses."""
    text = fill.text
    inside = []
    for fault in faults_with(fill.document, fill.start, fill.end, fill.native(text)):
        start, end = fault.start - fill.start, fault.end - fill.start
        if fill.typed <= start and end <= len(text) and end - start < len(text) // 2:
            inside.append((start, end))
    if inside:
        start, end = min(a for a, _ in inside), max(b for _, b in inside)
        tokens = [found.span() for found in TOKEN.finditer(text)]
        # One token on either side, since a parser finds a fault rather late than early.
        start = max((a for a, b in tokens if b <= start), default=start)
        end = min((b for a, b in tokens if a >= end), default=len(text))
        return max(fill.typed, start), end
    return max(fill.typed, sound), len(text)
