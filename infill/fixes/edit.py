"""An edit of a text, what makes it one worth offering, and the ranking of several by how likely they read."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass

from engine.request import Engine, EngineInfo, Prompt, ScoreRequest
from infill.code.document import Document
from infill.code.lines import line_end, line_start, with_line_feeds
from infill.context import prefix_start, suffix_end

_GROUP_CHARS = 160
"""How far apart edits may be that are compared over the same lines: what is scored costs its length."""

_WINDOW_CHARS = 300
"""How much of a long line is scored on either side of an edit."""

_LONGEST_CHARS = 2000
"""What is compared is at most so much, and a window on either side: there are lines without an end, and a
model reads only so many tokens."""

_BATCH = 32


@dataclass(frozen=True, kw_only=True)
class Edit:
    """Replace the code points `start` to `end` by `text`; `how` names the sort of change."""

    start: int
    end: int
    text: str
    how: str = ""

    def shifted(self, by: int) -> Edit:
        """The same edit in a text that has `by` more characters before it."""
        return Edit(start=self.start + by, end=self.end + by, text=self.text, how=self.how)

    def applied(self, text: str) -> str:
        """`text` with the edit made."""
        return text[: self.start] + self.text + text[self.end :]


@dataclass(frozen=True, kw_only=True)
class Ranked:
    """An edit and how much likelier the text reads with it: nats over the lines around, above 0 is better."""

    edit: Edit
    gain: float


def rank(
    engine: Engine,
    document: Document,
    edits: Sequence[Edit],
    cancelled: threading.Event,
    *,
    reach_chars: int = _GROUP_CHARS,
) -> list[Ranked]:
    """The edits, likeliest first; nothing once cancelled.

    Those that are within `reach_chars` of each other are compared over the same lines; the text before and
    after them is the prompt's. One that is too long to be compared is left out.

    Raises:
        EngineError: the engine cannot serve it.
    """
    ranked: list[Ranked] = []
    for group in _groups(document.text, edits, reach_chars):
        ranked += _ranked(engine, document, group, cancelled)
    return [] if cancelled.is_set() else sorted(ranked, key=lambda r: r.gain, reverse=True)


def _groups(text: str, edits: Sequence[Edit], reach_chars: int) -> list[list[Edit]]:
    """Edits in the order of the text, so that none of a group is far from its first, save on its line, and
    none is too long."""
    groups: list[list[Edit]] = []
    reach = -1
    some = (edit for edit in edits if edit.end - edit.start <= _LONGEST_CHARS)
    for edit in sorted(some, key=lambda e: (e.start, e.end)):
        if edit.end > reach:
            groups.append([])
            reach = max(edit.start + reach_chars, line_end(text, edit.start))
            reach = min(reach, edit.start + _LONGEST_CHARS)
        groups[-1].append(edit)
    return groups


def _ranked(
    engine: Engine, document: Document, edits: Sequence[Edit], cancelled: threading.Event
) -> list[Ranked]:
    start, end = window(document.text, min(e.start for e in edits), max(e.end for e in edits))
    text = document.text[start:end]
    prompt = prompt_around(document, start, end, engine.info())
    middles = [text, *(edit.shifted(-start).applied(text) for edit in edits)]
    totals: list[float] = []
    for first in range(0, len(middles), _BATCH):
        batch = tuple(middles[first : first + _BATCH])
        scored = engine.score(ScoreRequest(prompt=prompt, middles=batch), cancelled)
        if len(scored) < len(batch):
            return []
        totals += [sum(t.log_probability for t in s.tokens) + s.end for s in scored]
    return [Ranked(edit=e, gain=t - totals[0]) for e, t in zip(edits, totals[1:], strict=True)]


def window(text: str, start: int, end: int) -> tuple[int, int]:
    """The lines around a range, with the line feed before them, which shares a token with the indentation."""
    first = line_start(text, start)
    last = line_end(text, end)
    first = first - 1 if first > 0 and text[first - 1] == "\n" else first
    return max(first, start - _WINDOW_CHARS), min(last, end + _WINDOW_CHARS)


def prompt_around(document: Document, start: int, end: int, info: EngineInfo) -> Prompt:
    """What an engine is shown around a range, of which nothing is typed."""
    text = document.text
    return Prompt(
        prefix=with_line_feeds(text[prefix_start(document, start, info.prefix_chars) : start]),
        suffix=with_line_feeds(text[end : suffix_end(document, end, info.suffix_chars)]),
    )
