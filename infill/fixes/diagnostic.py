"""A quick fix for any tool's diagnostic: the node it points at written anew, both sides pinned.

It does not understand messages and needs not to: the causal direction ranks what could stand there. For a
name nobody knows the candidates are the names in scope as well.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterator

from engine.request import Engine, Segment
from infill.code.document import Document, Span
from infill.code.lines import line_end, line_start, with_line_feeds
from infill.fixes.edit import Edit, Ranked, prompt_around, rank, window
from infill.fixes.names import alike, names_in_scope
from infill.fixes.syntax import fix_syntax
from infill.repair.damage import damage
from infill.repair.renoise import denoised

_LONGEST_CHARS = 160
"""A node of more is not written anew: what is said about a whole function says little about a place in it."""
_LENGTHS = (-1, 0, 1, 3)
"""How many tokens more or fewer than now the candidates of one batch have."""
_NAMES = 24
_STEPS = 6
_IDENTIFIER = re.compile(r"[^\W\d]\w*")
_UNKNOWN_NAME = re.compile(
    r"undefined|not defined|unresolved|cannot find|unknown (?:name|identifier|variable)|undeclared",
    re.IGNORECASE,
)


def fix_diagnostic(
    engine: Engine,
    document: Document,
    start: int,
    end: int,
    message: str = "",
    *,
    cancelled: threading.Event,
    deadline_ms: float | None = None,
    most: int = 3,
    seed: int = 0,
) -> list[Ranked]:
    """Up to `most` edits for what a tool said about `start` to `end`, the likeliest first.

    None of them leaves the text with more syntax errors than before, and none is what stands there now.

    Raises:
        EngineError: the engine cannot serve it.
    """
    ends = None if deadline_ms is None else time.perf_counter() + deadline_ms / 1000
    node = target(document, start, end)
    before = len(document.faults())
    if any(node.start <= fault.end and fault.start <= node.end for fault in document.faults()):
        broken = fix_syntax(engine, document, start, end, cancelled=cancelled, most=most, seed=seed)
        if broken:
            return list(broken[0].fixes)
    now = document.text[node.start : node.end]
    texts = list(_candidates(engine, document, node, message, ends, cancelled, seed))
    edits = [
        Edit(start=node.start, end=node.end, text=text, how="written")
        for text in dict.fromkeys(texts)
        if text != now and damage(document, node.start, node.end, text) <= before
    ]
    return rank(engine, document, edits, cancelled)[:most]


def title(document: Document, edit: Edit) -> str:
    """What an editor shows for an edit, in one line: its change."""
    old, new = _short(document.text[edit.start : edit.end]), _short(edit.text)
    if not old.strip():
        return f"Insert `{new}`" if new.strip() else "Change the indentation"
    return f"Replace `{old}` with `{new}`" if new.strip() else f"Remove `{old}`"


def target(document: Document, start: int, end: int) -> Span:
    """The smallest node around a range that is worth writing anew; the range's line without a tree."""
    text = document.text
    while start < end and text[start].isspace():
        start += 1
    while end > start and text[end - 1].isspace():
        end -= 1
    for node in document.enclosing(start, max(end, min(len(text), start + 1))):
        if text[node.start : node.end].strip() and node.end - node.start <= _LONGEST_CHARS:
            return node
        break
    end = min(end, start + _LONGEST_CHARS) if end > start else line_end(text, start)
    return Span(start, max(end, start), "range")


def _candidates(
    engine: Engine,
    document: Document,
    node: Span,
    message: str,
    ends: float | None,
    cancelled: threading.Event,
    seed: int,
) -> Iterator[str]:
    text = document.text
    now = text[node.start : node.end]
    if _IDENTIFIER.fullmatch(now):
        names = names_in_scope(document, node.start)
        yield from dict.fromkeys([*alike(now, names, 6), *names[:_NAMES]])
        if _UNKNOWN_NAME.search(message):
            return
    yield from _written(engine, document, node, ends, cancelled, seed)


def _written(
    engine: Engine, document: Document, node: Span, ends: float | None, cancelled: threading.Event, seed: int
) -> Iterator[str]:
    """What the denoiser puts in the node's place, the rest of its lines pinned."""
    text = document.text
    first, last = window(text, node.start, node.end)
    first = max(first, line_start(text, node.start) - 1, 0)
    head, tail = with_line_feeds(text[first : node.start]), with_line_feeds(text[node.end : last])
    prompt = prompt_around(document, first, last, engine.info())
    tokens = max(1, round((node.end - node.start) / 3))
    layouts = []
    for free in dict.fromkeys(max(1, tokens + by) for by in _LENGTHS):
        free_segment = Segment(text=text[node.start : node.end], free_tokens=free, noise=1.0)
        pinned = [Segment(text=part) for part in (head, tail) if part]
        layouts.append((*pinned[: bool(head)], free_segment, *pinned[bool(head) :]))
    for whole in denoised(engine, prompt, tuple(layouts), ends, seed, cancelled, _STEPS):
        middle = whole[len(head) : len(whole) - len(tail)] if tail else whole[len(head) :]
        if whole.startswith(head) and middle.strip():
            lead = text[node.start - 1 : node.start] in (" ", "(", "[", "{") or not head
            yield middle.strip() if lead else middle.rstrip()


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= 40 else line[:39] + "…"
