"""Measures quick fixes: told where a one-token bug is, how long an edit takes, and whether it is right."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass

from engine.request import Engine
from infill.code.document import Document
from infill.evaluate.fixes_bugs import Bug
from infill.evaluate.metrics import percentile, share
from infill.fixes.diagnostic import fix_diagnostic


@dataclass(frozen=True, kw_only=True)
class QuickFix:
    """One request for a fix of a bug whose place a tool has named: its time, and what came of it."""

    ms: float
    offered: bool
    exact: bool
    among: bool


@dataclass(frozen=True, kw_only=True)
class QuickFixes:
    """`offered` had an edit, `exact` were right at the first, `among` at one of three; 0 to 1.

    The times are from the request to the edit, the document being parsed already.
    """

    requests: int
    offered: float
    exact: float
    among: float
    ms_p50: float
    ms_p95: float


def quick_fix(engine: Engine, bug: Bug) -> QuickFix:
    """Ask for a fix where the bug is, as an editor does for what a linter says.

    Raises:
        EngineError: the engine cannot serve it.
    """
    document = Document(bug.text, "python")
    assert document.tree is not None  # parsed now, as an open document's is
    message = f"undefined name '{bug.edit.text}'" if bug.kind in ("misspelt", "self") else "this looks wrong"
    began = time.perf_counter()
    undo = bug.undo
    found = fix_diagnostic(engine, document, undo.start, undo.end, message, cancelled=threading.Event())
    ms = 1000 * (time.perf_counter() - began)
    texts = [ranked.edit.applied(bug.text) for ranked in found]
    whole = bug.function.text
    return QuickFix(ms=ms, offered=bool(texts), exact=texts[:1] == [whole], among=whole in texts)


def quick_fixes(results: Sequence[QuickFix]) -> QuickFixes:
    """The rates and times of several."""
    times = [r.ms for r in results]
    return QuickFixes(
        requests=len(results),
        offered=share([r.offered for r in results]),
        exact=share([r.exact for r in results]),
        among=share([r.among for r in results]),
        ms_p50=round(percentile(times, 0.5), 1),
        ms_p95=round(percentile(times, 0.95), 1),
    )
