"""`infill fix --checker`: fixes what a checker says, and keeps only what the checker then agrees with."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from lsp.checker import Checker, CheckerError, Complaint, agreed
from lsp.commands.errors import CommandError

if TYPE_CHECKING:
    from engine.request import Engine
    from infill.code.document import Document
    from infill.fixes.edit import Ranked

_TRIED = 8  # candidates for one complaint, each a run of the checker
_MOST = 50  # complaints of one file


def checked_fixes(
    engine: Engine,
    document: Document,
    start: int,
    end: int,
    message: str | None,
    *,
    file: str,
    checker: Checker,
    wanted: int,
    seed: int,
) -> list[tuple[int, tuple[Ranked, ...]]]:
    """Where the checker complains between two offsets, with up to `wanted` fixes each that settle it.

    A fix is one with which the complaint is gone and none is there that was not before. With `message` only
    complaints that say it count. The first fixes of all places go together: each was checked with those
    behind it already made.

    Raises:
        CommandError: the checker cannot be run, or says nothing that can be read.
        EngineError: the engine cannot serve it.
    """
    from infill.fixes.diagnostic import fix_diagnostic

    try:
        standing = checker.complaints(document.text, file)
        targets = [c for c in standing if _concerns(document.text, c, start, end, message)][:_MOST]
        found: list[tuple[int, tuple[Ranked, ...]]] = []
        never = threading.Event()
        now, limit = document, len(document.text)
        # From the last to the first, so that the offsets of those to come stay what they are.
        for target in sorted(targets, key=lambda c: (c.line, c.column), reverse=True):
            first, last = _span(now.text, target)
            ranked = fix_diagnostic(
                engine, now, first, last, target.message, cancelled=never, most=_TRIED, seed=seed
            )
            candidates = [candidate for candidate in ranked if candidate.edit.end <= limit]
            texts = (candidate.edit.applied(now.text) for candidate in candidates)
            settled = list(agreed(checker, standing, texts, file, target, wanted=wanted, cancelled=never))
            kept = [candidates[index] for index, _ in settled]
            found.append((first, tuple(kept)))
            if kept:
                edit = kept[0].edit
                now, limit, standing = now.filled(edit.start, edit.end, edit.text), edit.start, settled[0][1]
        return found[::-1]
    except CheckerError as error:
        raise CommandError(str(error)) from error


def _concerns(text: str, complaint: Complaint, start: int, end: int, message: str | None) -> bool:
    first, last = _span(text, complaint)
    return first <= end and last >= start and (message is None or message in complaint.message)


def _span(text: str, complaint: Complaint) -> tuple[int, int]:
    start = _offset(text, complaint.line, complaint.column)
    return start, max(start, _offset(text, complaint.end_line, complaint.end_column))


def _offset(text: str, line: int, column: int) -> int:
    """The offset of a line and a column, from 1, or the nearest there is: checkers point behind ends too."""
    at = 0
    for _ in range(line - 1):
        following = text.find("\n", at)
        if following < 0:
            return len(text)
        at = following + 1
    end = text.find("\n", at)
    return min(at + column - 1, end if end >= 0 else len(text))
