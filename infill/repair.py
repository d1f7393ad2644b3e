"""Repairs a fill with which the text does not parse, by changing nothing but the fill.

Two sorts of candidates compete: what is left of the fill when it is cut, closed or mended without any
model, and what the denoiser writes when only the tokens at the fault are noise again and the others are
pinned. The least damage wins, then the causal direction's score. It knows nothing of how the fill came about.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import Enum

from engine.errors import InvalidRequest
from engine.request import (
    CANVAS_LENGTHS,
    DenoiseRequest,
    Engine,
    Layout,
    Prompt,
    ScoreRequest,
    Segment,
)
from infill.checks import check_repetitive
from infill.damage import UNREADABLE, damage, faults_with
from infill.document import Document
from infill.hole import Hole
from infill.indentation import indent_of
from infill.lines import line_start, newline_of, with_line_feeds
from infill.request import Reason, Rejected, Suggestion

_TOKEN = re.compile(r"\w+|\n[ \t]*|[^\w\s]")
_CLOSER = {"(": ")", "[": "]", "{": "}"}
_TAILS = (")", "]", "}", ":", "):", '"', "'", '")', "')", '"""', "'''", "x")
"""What a fill may lack at its end; the name stands for any operand."""
_HEADS = ("(", "[", "{", '"', "'")
"""What it may lack at its beginning."""
_SCORED = 6  # candidates that are worth the causal direction's time
_LEAST_MS = 50.0  # even at the deadline: a fill that is cut is better than none
_MOST_MS = 1000.0  # even without a deadline
_PROBES = ("x", "pass", "")  # something that fits nearly everywhere
_PARSED = 150  # candidates that are tried at all, a millisecond each in an ordinary file
_TAILED = 4  # of the longest cuts, every tail is tried as well
_STEPS = 6
_CHARS_PER_TOKEN = 1.5  # on the short side, so that a layout fits its canvas
_CONTEXT_CHARS = 1000  # before the hole, for the brackets that are open there
_RENOISE_CHARS = 120  # more than this is another fill rather than a repair


class How(Enum):
    """What became of a fill."""

    KEPT = "kept"  # it parses, or nothing else is better
    CUT = "cut"  # a beginning of it
    CLOSED = "closed"  # a beginning of it with brackets, a quote or a colon behind
    MENDED = "mended"  # without the tokens the parser could not read
    RENOISED = "renoised"  # denoised again at the fault


@dataclass(frozen=True, kw_only=True)
class Repaired:
    """The text for the hole, how it came about, and what is still wrong (0: the text parses)."""

    text: str
    how: How
    damage: int


@dataclass(frozen=True, kw_only=True)
class _Fill:
    """A fill under repair: `text` for `start` to `end`, of which the first `typed` characters are fixed."""

    document: Document
    start: int
    end: int
    text: str
    typed: int

    def damage(self, text: str) -> int:
        return damage(self.document, self.start, self.end, self._native(text))

    def _native(self, text: str) -> str:
        return text.replace("\n", newline_of(self.document.text, self.start))

    def result(self, text: str, how: How, left: int) -> Repaired:
        return Repaired(text=self._native(text), how=how, damage=left)


def repair(
    engine: Engine,
    document: Document,
    hole: Hole,
    prompt: Prompt,
    text: str,
    *,
    deadline_ms: float | None,
    cancelled: threading.Event,
    seed: int = 0,
) -> Repaired:
    """The better of `text` and what it can be made into, to stand where `Suggestion.text` would.

    `text` begins with the prompt's typed characters, save for an indentation, which no repair touches. It
    ends by `deadline_ms`, counted from the call, give or take one denoising step.

    Raises:
        EngineError: the engine cannot serve it.
    """
    left_ms = _MOST_MS if deadline_ms is None else min(_MOST_MS, max(_LEAST_MS, deadline_ms))
    ends = time.perf_counter() + left_ms / 1000
    if prompt.typed.startswith("\n"):  # an indentation is no part of the text (see `infill.postprocess.Kept`)
        prompt = replace(prompt, prefix=prompt.prefix + prompt.typed, typed="")
    typed = len(prompt.typed)
    fill = _Fill(
        document=document,
        start=hole.start - typed,
        end=hole.end,
        text=with_line_feeds(text),
        typed=typed,
    )
    before = fill.damage(fill.text)
    # Grammars know no bare carriage return as a line's end, and what takes too long to parse is not known.
    if before in (0, UNREADABLE) or newline_of(document.text, fill.start) == "\r":
        return fill.result(fill.text, How.KEPT, 0)
    found = _found(engine, fill, prompt, ends, cancelled, seed)
    better = [(left, candidate, how) for left, candidate, how in found if left < before]
    if not better or cancelled.is_set():
        return fill.result(fill.text, How.KEPT, before)
    least = min(left for left, _, _ in better)
    best = [(candidate, how) for left, candidate, how in better if left == least][:_SCORED]
    candidate, how = _likeliest(engine, prompt, best, cancelled)
    return fill.result(candidate, how, least)


def repair_suggestion(
    engine: Engine,
    document: Document,
    hole: Hole,
    prompt: Prompt,
    suggestion: Suggestion,
    *,
    deadline_ms: float | None,
    cancelled: threading.Event,
    seed: int = 0,
) -> Suggestion | Rejected:
    """The suggestion with its text repaired where it needs that; see `repair`.

    It is turned down where it still breaks the text, which was whole around it.

    Raises:
        EngineError: the engine cannot serve it.
    """
    began = time.perf_counter()
    found = repair(
        engine,
        document,
        hole,
        prompt,
        suggestion.text,
        deadline_ms=deadline_ms,
        cancelled=cancelled,
        seed=seed,
    )
    elapsed_ms = suggestion.elapsed_ms + 1000 * (time.perf_counter() - began)
    typed = document.text[suggestion.start : hole.start]
    if found.damage and _breaks(document, suggestion.start, hole.end, typed):
        return Rejected(
            reason=Reason.BROKEN,
            text=found.text,
            steps=suggestion.steps,
            canvas_tokens=suggestion.canvas_tokens,
            elapsed_ms=elapsed_ms,
            model=suggestion.model,
        )
    return replace(suggestion, text=found.text, repaired=found.how.value, elapsed_ms=elapsed_ms)


def _breaks(document: Document, start: int, end: int, typed: str) -> bool:
    """Whether a fill that does not parse is at fault itself: with something simple in its place all is well.

    Otherwise nobody can tell, and nothing is said against it.
    """
    return any(damage(document, start, end, typed + probe) == 0 for probe in _PROBES)


def _found(
    engine: Engine, fill: _Fill, prompt: Prompt, ends: float | None, cancelled: threading.Event, seed: int
) -> list[tuple[int, str, How]]:
    """The candidates with what is wrong with each; the denoiser's come first."""
    cuts: list[tuple[int, str, How]] = []
    for candidate, how in _mechanical(fill):
        if cancelled.is_set() or _is_over(ends):
            break
        cuts.append((fill.damage(candidate), candidate, how))
        if sum(left == 0 for left, _, _ in cuts) >= _SCORED or len(cuts) >= _PARSED:
            break
    whole = [candidate for left, candidate, how in cuts if left == 0 and how is How.CUT]
    renoised = []
    if not cancelled.is_set() and not _is_over(ends):
        sound = max(map(len, whole), default=0)
        for candidate in _renoised(engine, fill, prompt, sound, ends, seed, cancelled):
            renoised.append((fill.damage(candidate), candidate, How.RENOISED))
    return renoised + cuts


def _mechanical(fill: _Fill) -> Iterator[tuple[str, How]]:
    """What can be done without a model, the longest candidates first."""
    if (mended := _mended(fill)) is not None:
        yield mended, How.MENDED
    seen = {fill.text, ""}
    context = _context_tails(fill)
    for index, beginning in enumerate(_beginnings(fill)):
        closers = _closers(beginning)
        few = index < _TAILED or len(beginning) == fill.typed
        heads = [beginning[: fill.typed] + head + beginning[fill.typed :] for head in _HEADS if few]
        tails = [beginning + closers + tail for tail in (*_TAILS, *context) if few]
        for candidate in (beginning, beginning + closers, *tails, *heads):
            if candidate not in seen and candidate[fill.typed :].strip():
                seen.add(candidate)
                yield candidate, How.CUT if candidate == beginning else How.CLOSED


def _beginnings(fill: _Fill) -> Iterator[str]:
    """The fill cut behind each of its tokens, the longest first; the last is what was typed."""
    for end in reversed([found.end() for found in _TOKEN.finditer(fill.text)]):
        if end > fill.typed and len(beginning := fill.text[:end].rstrip()) > fill.typed:
            yield beginning
    yield fill.text[: fill.typed]


def _context_tails(fill: _Fill) -> list[str]:
    """What closes the brackets that are open where the hole is, and what opens or ends a docstring."""
    text = fill.document.text
    before = text[max(0, fill.start - _CONTEXT_CHARS) : fill.start]
    before = before[max(0, before.rfind("\n\n")) :]
    closers = _closers(before)
    if fill.document.language != "python":
        return [closers]
    indent = indent_of(text, line_start(text, fill.start))
    docstring = "\n" + indent + '"""'
    return [closers, closers + ":", docstring, closers + ":" + docstring, ":" + docstring]


def _mended(fill: _Fill) -> str | None:
    """The fill without what lies under ERROR nodes and with what the parser found missing."""
    text, shift = fill.text, fill.start
    for fault in reversed(faults_with(fill.document, fill.start, fill.end, fill._native(fill.text))):
        start, end = fault.start - shift, fault.end - shift
        if not fill.typed <= start <= end <= len(text):
            continue
        insert = fault.kind if fault.missing and re.fullmatch(r"[^\w\s]+", fault.kind) else ""
        text = text[:start] + insert + text[end:]
    return text if text.strip() and text != fill.text and len(text) > fill.typed else None


def _closers(text: str) -> str:
    """What closes the brackets and the quote a text leaves open."""
    pending: list[str] = []
    quote = ""
    skip = False
    for char in text:
        if skip:
            skip = False
        elif quote:
            skip = char == "\\"
            quote = "" if char in (quote, "\n") else quote
        elif char in "\"'":
            quote = char
        elif char in _CLOSER:
            pending.append(_CLOSER[char])
        elif pending and char == pending[-1]:
            pending.pop()
    return quote + "".join(reversed(pending))


def _renoised(
    engine: Engine,
    fill: _Fill,
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


def _span(fill: _Fill, sound: int) -> tuple[int, int]:
    """What of the fill to make noise of: what lies under faults, else all behind the part that parses."""
    text = fill.text
    inside = []
    for fault in faults_with(fill.document, fill.start, fill.end, fill._native(text)):
        start, end = fault.start - fill.start, fault.end - fill.start
        if fill.typed <= start and end <= len(text) and end - start < len(text) // 2:
            inside.append((start, end))
    if inside:
        start, end = min(a for a, _ in inside), max(b for _, b in inside)
        tokens = [found.span() for found in _TOKEN.finditer(text)]
        # One token on either side, since a parser finds a fault rather late than early.
        start = max((a for a, b in tokens if b <= start), default=start)
        end = min((b for a, b in tokens if a >= end), default=len(text))
        return max(fill.typed, start), end
    return max(fill.typed, sound), len(text)


def _likeliest(
    engine: Engine, prompt: Prompt, candidates: list[tuple[str, How]], cancelled: threading.Event
) -> tuple[str, How]:
    if len(candidates) == 1:
        return candidates[0]
    bare = Prompt(prefix=prompt.prefix, suffix=prompt.suffix, snippets=prompt.snippets)
    scored = engine.score(ScoreRequest(prompt=bare, middles=tuple(text for text, _ in candidates)), cancelled)
    if len(scored) < len(candidates):  # cancelled
        return candidates[0]
    return max(zip(scored, candidates, strict=True), key=lambda pair: pair[0].mean)[1]


def _is_over(ends: float | None) -> bool:
    return ends is not None and time.perf_counter() >= ends
