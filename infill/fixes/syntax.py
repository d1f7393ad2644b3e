"""Fixes for syntax errors: edits with which a broken piece of a text parses, the likeliest first.

Small edits come from `infill.fixes.mistakes`; where a statement is only half there, the model writes the
rest. Both have to parse, and both are ranked by the causal direction over the lines around.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace

from engine.request import Engine, Segment
from infill.code.document import Document
from infill.code.lines import line_end, line_start
from infill.fixes.edit import Edit, Ranked, prompt_around, rank
from infill.fixes.mistakes import edits
from infill.fixes.pieces import Piece, broken_pieces, faulty_lines
from infill.fixes.rest import rests
from infill.repair.damage import python_error
from infill.repair.renoise import denoised

_TRIED = 900
_RANKED = 60
_BUDGET_S = 1.5
_FAULTS = 3
"""How many slips a piece may have."""

_END = 10**9
_PARSES = (_END, 0)
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


_WITHIN_A_LINE = -8.0
"""Nats, likewise, for a closing bracket with more behind it on its line than punctuation: it is the last one
of a line that is forgotten. `f(a, g(b);` otherwise becomes `f(a, g)(b);` as easily as `f(a, g(b));`, in a
language that the model has not learned: what it says of one changes by nats from version to version."""

_PUNCTUATION = " \t;:,.)]}"


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


def helpful_edits(piece: Piece, language: str, cancelled: threading.Event) -> tuple[list[Edit], bool]:
    """The small edits with which a piece parses, in its own offsets, and True.

    If there are none, those with which a parser gets further than before, and False.
    """
    document = Document(piece.frame + piece.text, language)
    offset = len(piece.frame)
    before = _progress(document, Edit(start=0, end=0, text=""))
    begun = time.thread_time()
    whole: list[Edit] = []
    further: list[Edit] = []
    seen: set[tuple[int, int, str]] = set()
    for tried, edit in enumerate(edits(piece.text, language, piece.faulty_lines)):
        late = tried >= _TRIED or len(whole) >= _RANKED or time.thread_time() - begun > _BUDGET_S
        if late or cancelled.is_set():
            break
        key = (edit.start, edit.end, edit.text)
        if key in seen:
            continue
        seen.add(key)
        progress = _progress(document, edit.shifted(offset))
        if progress == _PARSES:
            whole.append(edit)
        elif not whole and edit.how in _SLIPS and progress > before and len(further) < _RANKED:
            further.append(edit)
    return (whole, True) if whole else (further, False)


def _fixes(
    engine: Engine,
    document: Document,
    piece: Piece,
    cancelled: threading.Event,
    seed: int,
    faults: int = _FAULTS,
) -> list[Ranked]:
    small, whole = helpful_edits(piece, document.language, cancelled)
    candidates = [edit.shifted(piece.start) for edit in small]
    own = Document(piece.frame + piece.text, document.language)
    shift = len(piece.frame) - piece.start
    rest = [e for e in rests(engine, document, piece, cancelled, seed) if _parses(own, e.shifted(shift))]
    if rest:  # then nothing of what is there is wrong, and what would delete some of it is out of place
        slips = [edit for edit in candidates if whole and edit.how in _SLIPS]
        return list(_distinct(document, _weighed(engine, document, [*slips, *rest], cancelled)))
    if not whole and faults > 1:
        return _one_by_one(engine, document, piece, candidates, cancelled, seed, faults)
    if not whole or not any(edit.how in _SLIPS for edit in small):
        candidates = (candidates if whole else []) + list(_written(engine, document, piece, cancelled, seed))
    return list(_distinct(document, _weighed(engine, document, candidates, cancelled)))


def _weighed(
    engine: Engine, document: Document, candidates: list[Edit], cancelled: threading.Event
) -> list[Ranked]:
    """The candidates by what they gain and by their sort."""
    ranked = rank(engine, document, candidates, cancelled)
    weighed = [Ranked(edit=r.edit, gain=r.gain + _prior(document.text, r.edit)) for r in ranked]
    return sorted(weighed, key=lambda r: r.gain, reverse=True)


def _prior(text: str, edit: Edit) -> float:
    prior = _PRIOR.get(edit.how, 0.0)
    if edit.how == "closing bracket" and text[edit.end : line_end(text, edit.end)].strip(_PUNCTUATION):
        prior += _WITHIN_A_LINE
    return prior


def _one_by_one(
    engine: Engine,
    document: Document,
    piece: Piece,
    candidates: list[Edit],
    cancelled: threading.Event,
    seed: int,
    faults: int,
) -> list[Ranked]:
    """Where no single edit is enough: the likeliest that gets a parser further, and what then remains."""
    for first in _weighed(engine, document, candidates, cancelled)[:2]:
        edit = first.edit
        text = edit.shifted(-piece.start).applied(piece.text)
        half = Document(edit.applied(document.text), document.language)
        lines = faulty_lines(piece.frame + text, document.language)
        shift = piece.frame.count("\n")
        rest = replace(piece, text=text, faulty_lines=tuple(max(0, line - shift) for line in lines))
        then = _fixes(engine, half, rest, cancelled, seed, faults - 1) if lines else []
        if then:
            both = _joined(document.text, edit, then[0].edit)
            return [Ranked(edit=both, gain=first.gain + then[0].gain)]
    return list(
        _weighed(engine, document, list(_written(engine, document, piece, cancelled, seed)), cancelled)
    )


def _joined(text: str, first: Edit, second: Edit) -> Edit:
    """One edit of `text` that does `first` and then `second`, whose offsets are those after the first."""
    after = second.applied(first.applied(text))
    grown = len(after) - len(text)
    start = min(first.start, second.start)
    moved = len(first.text) - (first.end - first.start)
    end = max(first.end, second.end - moved if second.end > first.start else second.end)
    return Edit(start=start, end=end, text=after[start : end + grown], how=f"{first.how}, {second.how}")


def _progress(document: Document, edit: Edit) -> tuple[int, int]:
    """How far parsers get with an edit: the line Python's stops at, then how few faults a grammar finds."""
    filled = document.filled(edit.start, edit.end, edit.text)
    if filled.tree is None:
        return 0, -_END
    line = python_error(filled.text) if document.language == "python" else None
    return (_END if line is None else line), -len(filled.faults())


def _distinct(document: Document, ranked: list[Ranked]) -> Iterator[Ranked]:
    """Each resulting text once."""
    seen: set[str] = set()
    for one in ranked:
        text = one.edit.applied(document.text)  # of two brackets side by side either may be the new one
        if text not in seen:
            seen.add(text)
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
