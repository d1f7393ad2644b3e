"""Measures syntax fixes: exact repair and parse rate, beside tree-sitter inserting what is missing."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass

from engine.request import Engine
from infill.code.document import Document
from infill.evaluate.fixes_bugs import Bug
from infill.evaluate.metrics import share
from infill.fixes.syntax import fix_syntax
from infill.repair.damage import python_error

_NOT_CANCELLED = threading.Event()


@dataclass(frozen=True, kw_only=True)
class SyntaxRow:
    """One kind of syntax error: shares of `bugs`, 0 to 1."""

    kind: str
    bugs: int
    exact: float
    parses: float
    offered: float
    baseline_missing_exact: float
    baseline_missing_parses: float


def syntax_row(kind: str, results: Sequence[Mended]) -> SyntaxRow:
    return SyntaxRow(
        kind=kind,
        bugs=len(results),
        exact=share([r.exact for r in results]),
        parses=share([r.parses for r in results]),
        offered=share([r.offered for r in results]),
        baseline_missing_exact=share([r.missing_exact for r in results]),
        baseline_missing_parses=share([r.missing_parses for r in results]),
    )


@dataclass(frozen=True, kw_only=True)
class Mended:
    """What became of one syntax bug."""

    exact: bool
    parses: bool
    offered: bool
    missing_exact: bool
    missing_parses: bool


def judge_syntax(engine: Engine, bug: Bug) -> Mended:
    """Fix one bug, ours and the baseline's way.

    Raises:
        EngineError: the engine cannot serve it.
    """
    document = Document(bug.text, "python")
    broken = fix_syntax(engine, document, 0, len(bug.text), cancelled=_NOT_CANCELLED)
    texts = [ranked.edit.applied(bug.text) for one in broken[:1] for ranked in one.fixes]
    missing = _insert_missing(document)
    return Mended(
        exact=bool(texts) and texts[0] == bug.function.text,
        parses=bool(texts) and python_error(texts[0]) is None,
        offered=bug.function.text in texts,
        missing_exact=missing == bug.function.text,
        missing_parses=python_error(missing) is None,
    )


def _insert_missing(document: Document) -> str:
    """The text with what tree-sitter found missing put in where it found it so."""
    text = document.text
    for fault in reversed(document.faults()):
        if fault.missing and not fault.kind.isidentifier():
            text = text[: fault.start] + fault.kind + text[fault.start :]
    return text
