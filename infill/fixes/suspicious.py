"""Doubtful tokens in existing code: where the model reads another one, and the text is likelier with it.

The denoiser reads every token without being shown it; where it prefers something else, the swap is tried on
the causal direction, which judges the lines around. Both have to agree: either alone cries wolf. For
identifiers the swaps are names in scope, for operators and literals others of their sort.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator
from dataclasses import dataclass

from engine.request import Engine, Reading, ReadRequest
from infill.code.document import Document
from infill.fixes.edit import Edit, prompt_around, rank
from infill.fixes.pieces import broken_pieces
from infill.fixes.silence import is_silenced, silenced_lines
from infill.fixes.sites import sites

KINDS = ("name", "misspelt", "operator", "literal", "arguments", "missing")
"""What can be doubtful; the words of `# infill: ignore[…]`."""

THRESHOLD = 21.0
"""How many nats of evidence a doubt takes by default; see `Doubt.score`.

Chosen on held-out packages as the least with at most 2 false alarms per 1,000 clean lines (docs/fix-ups.md).
"""

_VIEWS = 4
_CHUNK_CHARS = 500
_SITES = 8
"""How many places of a chunk are looked at twice, those the reader doubts most first."""

_MOST_SURPRISE = 8.0


@dataclass(frozen=True, kw_only=True)
class Doubt:
    """A place that reads as if something else should stand there, and the swap.

    `score` is the evidence in nats: `gain`, how much likelier the lines are with the swap, left to right, and
    how little the denoiser thinks of what stands there. `confidence` is the score on a scale from 0 to 1.
    """

    kind: str
    edit: Edit
    now: str
    score: float
    gain: float = 0.0

    @property
    def confidence(self) -> float:
        """From 0 to 1; what the default threshold lets through is above a half."""
        return 1 / (1 + math.exp(-(self.score - THRESHOLD) / 3))


def find_doubts(
    engine: Engine,
    document: Document,
    start: int,
    end: int,
    *,
    cancelled: threading.Event,
    threshold: float = THRESHOLD,
    kinds: tuple[str, ...] = KINDS,
    seed: int = 0,
) -> list[Doubt]:
    """The doubtful places between two offsets, those that are silenced left out, in the order of the text.

    Setting `cancelled` ends it with what was found so far.

    Raises:
        EngineError: the engine cannot serve it.
    """
    silenced = silenced_lines(document.text, KINDS)
    if document.tree is None or (-1 in silenced and set(kinds) <= silenced[-1]):
        return []
    found = []
    broken = [(p.start, p.start + len(p.text)) for p in broken_pieces(document, start, end)]
    for doubt in judged_range(engine, document, start, end, cancelled=cancelled, seed=seed):
        if any(a <= doubt.edit.start < b for a, b in broken):  # there is something else to be said
            continue
        line = document.text.count("\n", 0, doubt.edit.start)
        wanted = doubt.kind in kinds and not is_silenced(silenced, line, doubt.kind)
        if wanted and doubt.score >= threshold:
            found.append(doubt)
    return sorted(found, key=lambda doubt: doubt.edit.start)


def judged_range(
    engine: Engine,
    document: Document,
    start: int,
    end: int,
    *,
    cancelled: threading.Event,
    seed: int = 0,
) -> list[Doubt]:
    """Every place between two offsets that was looked at twice, no two of them neighbours, best first.

    Raises:
        EngineError: the engine cannot serve it.
    """
    found: list[Doubt] = []
    for first, last in _chunks(document.text, start, end):
        if cancelled.is_set():
            break
        found += judged(engine, document, first, min(last, end), cancelled=cancelled, seed=seed)
    return _apart(found)


def judged(
    engine: Engine,
    document: Document,
    start: int,
    end: int,
    *,
    cancelled: threading.Event,
    seed: int = 0,
) -> list[Doubt]:
    """Every place of one chunk that was looked at twice, with its best swap, whatever its score.

    Raises:
        EngineError: the engine cannot serve it.
    """
    text = document.text[start:end]
    prompt = prompt_around(document, start, end, engine.info())
    readings = engine.read(ReadRequest(prompt=prompt, text=text, views=_VIEWS, seed=seed), cancelled)
    surprise = _Surprise(readings, start)
    chosen = sorted(sites(document, start, end), key=lambda s: surprise.of(s.start, s.end))[-_SITES:]
    swaps = [edit for site in chosen for edit in site.swaps]
    gains = {ranked.edit: ranked.gain for ranked in rank(engine, document, swaps, cancelled, reach_chars=0)}
    doubts = []
    for site in chosen:
        options = [(gains[edit], edit) for edit in site.swaps if edit in gains]
        if options:
            gain, edit = max(options, key=lambda pair: pair[0])
            doubt = min(surprise.of(site.start, site.end), _MOST_SURPRISE)
            now = document.text[site.start : site.end]
            doubts.append(Doubt(kind=site.kind, edit=edit, now=now, score=gain + doubt / 2, gain=gain))
    return doubts


class _Surprise:
    """How little the reader expected each token: -log of its probability, in nats."""

    def __init__(self, readings: tuple[Reading, ...], start: int) -> None:
        self._tokens = [
            (start + r.start, start + r.start + len(r.text), -math.log(max(r.probability, 1e-9)))
            for r in readings
        ]

    def of(self, start: int, end: int) -> float:
        """The greatest surprise of the tokens that overlap a range."""
        return max((s for a, b, s in self._tokens if a < end and b > start), default=0.0)


def _chunks(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Whole lines, about as much as the reader takes at once, from `start` to `end`."""
    at = text.rfind("\n", 0, start) + 1
    while at < end:
        last = text.rfind("\n", at, min(len(text), at + _CHUNK_CHARS)) + 1
        last = last if last > at else (text.find("\n", at) + 1 or len(text))
        yield at, last
        at = last


def _apart(doubts: list[Doubt]) -> list[Doubt]:
    """No two about the same place or a neighbouring one: the stronger stays."""
    kept: list[Doubt] = []
    for doubt in sorted(doubts, key=lambda d: d.score, reverse=True):
        if all(doubt.edit.end < k.edit.start or doubt.edit.start > k.edit.end for k in kept):
            kept.append(doubt)
    return kept
