"""Fixes for syntax errors: edits with which a broken piece of a text parses, the likeliest first.

Small edits come from `infill.fixes.mistakes`; where a statement is only half there, the denoiser writes the
rest. Both have to parse, and both are ranked by the causal direction over the lines around.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass

from engine.request import Engine, Segment
from infill.damage import python_error
from infill.document import Document
from infill.fixes.edit import Edit, Ranked, prompt_around, rank
from infill.fixes.mistakes import edits
from infill.fixes.pieces import Piece, broken_pieces
from infill.lines import line_end, line_start
from infill.repair import denoised

_TRIED = 900
_RANKED = 60
_BUDGET_S = 1.5
_WRITTEN = (2, 4, 6, 10)
"""How many tokens the denoiser is given for the rest of a statement, one candidate each."""

_SLIPS = {"quote", "closing bracket", "opening bracket", "colon", "indentation", "keyword"}
"""What people leave out or misspell; where one of these helps, nothing is written anew."""

_PRIOR = {
    "colon": 1.5,
    "other colon": -3.0,
    "separator": -3.0,
    "written": -3.0,
    "surplus bracket": -8.0,
    "surplus quote": -8.0,
    "surplus token": -8.0,
    "cut": -1000.0,
}
"""Nats added to a gain. Text that goes takes its own improbability along and so always gains: what deletes
has to gain much more than what adds, and dropping the rest of a line is a last resort."""


@dataclass(frozen=True, kw_only=True)
class Broken:
    """A place that does not parse: `offset` is where, and `fixes` are what to do, best first."""

    offset: int
    fixes: tuple[Ranked, ...]


def fix_syntax(
    engine: Engine,
    document: Document,
    start: int,
    end: int,
    *,
    cancelled: threading.Event,
    most: int = 3,
    seed: int = 0,
) -> list[Broken]:
    """What is broken between two offsets, a piece at a time, with up to `most` fixes for each.

    Raises:
        EngineError: the engine cannot serve it.
    """
    found = []
    for piece in broken_pieces(document, start, end):
        if cancelled.is_set():
            break
        ranked = _fixes(engine, document, piece, cancelled, seed)
        found.append(Broken(offset=_offset(piece), fixes=tuple(ranked[:most])))
    return found


def parsing_edits(piece: Piece, language: str, cancelled: threading.Event) -> list[Edit]:
    """The small edits with which a piece parses, in its own offsets."""
    document = Document(piece.frame + piece.text, language)
    offset = len(piece.frame)
    begun = time.monotonic()
    found: list[Edit] = []
    seen: set[tuple[int, int, str]] = set()
    for tried, edit in enumerate(edits(piece.text, language, piece.faulty_lines)):
        if tried >= _TRIED or len(found) >= _RANKED or time.monotonic() - begun > _BUDGET_S:
            break
        key = (edit.start, edit.end, edit.text)
        if cancelled.is_set() or key in seen:
            continue
        seen.add(key)
        if _parses(document, edit.shifted(offset)):
            found.append(edit)
    return found


def _fixes(
    engine: Engine, document: Document, piece: Piece, cancelled: threading.Event, seed: int
) -> list[Ranked]:
    small = parsing_edits(piece, document.language, cancelled)
    candidates = [edit.shifted(piece.start) for edit in small]
    if not any(edit.how in _SLIPS for edit in small):
        candidates += _written(engine, document, piece, cancelled, seed)
    ranked = [
        Ranked(edit=r.edit, gain=r.gain + _PRIOR.get(r.edit.how, 0.0))
        for r in rank(engine, document, candidates, cancelled)
    ]
    return sorted(_distinct(document, ranked), key=lambda r: r.gain, reverse=True)


def _distinct(document: Document, ranked: list[Ranked]) -> Iterator[Ranked]:
    """Each resulting text once."""
    seen: set[str] = set()
    for one in ranked:
        around = document.text[: one.edit.start][-40:] + one.edit.text + document.text[one.edit.end :][:40]
        if around not in seen:
            seen.add(around)
            yield one


def _written(
    engine: Engine, document: Document, piece: Piece, cancelled: threading.Event, seed: int
) -> Iterator[Edit]:
    """The rest of the statement the parser stumbled over, as the denoiser writes it."""
    own = Document(piece.frame + piece.text, document.language)
    for line in dict.fromkeys(max(0, piece.faulty_lines[0] + by) for by in (0, -1)):
        start = _line_start(piece.text, line)
        at = line_end(piece.text, start)
        at = start + len(piece.text[start:at].rstrip())
        if at == start:
            continue
        first = line_start(piece.text, at)
        prompt = prompt_around(document, piece.start + first, piece.start + at, engine.info())
        head = Segment(text=piece.text[first:at])
        layouts = tuple((head, Segment(free_tokens=free)) for free in _WRITTEN)
        for text in denoised(engine, prompt, layouts, None, seed, cancelled):
            added = text[at - first :].split("\n")[0].rstrip()
            edit = Edit(start=at, end=at, text=added, how="written")
            if added.strip() and _parses(own, edit.shifted(len(piece.frame))):
                yield edit.shifted(piece.start)


def _parses(document: Document, edit: Edit) -> bool:
    filled = document.filled(edit.start, edit.end, edit.text)
    if filled.tree is None or filled.tree.root_node.has_error:
        return False
    return document.language != "python" or python_error(filled.text) is None


def _offset(piece: Piece) -> int:
    start = _line_start(piece.text, piece.faulty_lines[0])
    line = piece.text[start : line_end(piece.text, start)]
    return piece.start + start + len(line) - len(line.lstrip())


def _line_start(text: str, line: int) -> int:
    at = 0
    for _ in range(line):
        at = text.find("\n", at) + 1
    return at
