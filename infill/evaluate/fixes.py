"""Measures fix-ups on injected bugs, on clean functions and on fills, beside baselines of the same run.

Syntax: exact repair and parse rate, by kind, of our top fix and of tree-sitter's own insertion of what it
finds missing. One-token bugs: how often the most doubtful place of the function is the bug's, against the
most surprising token left to right and, for names, against a spell-checker over the names in scope. Where a
threshold is tuned, that is on other packages than those it is scored on. Knows nothing of terminals.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

from engine.request import Engine
from infill.evaluate.fixes_bugs import SYNTAX, TOKENS, Bug, inject
from infill.evaluate.fixes_diagnostics import QuickFix, QuickFixes, quick_fix, quick_fixes
from infill.evaluate.fixes_fills import FillRates, fill_rates
from infill.evaluate.fixes_functions import Function, functions
from infill.evaluate.fixes_syntax import Mended, SyntaxRow, judge_syntax, syntax_row
from infill.evaluate.fixes_tokens import Clean, Read, Sample, TokenRow, judge_tokens, read_clean, token_row
from infill.evaluate.records import Records
from infill.fixes.suspicious import THRESHOLD

MOST_FALSE_ALARMS = 2.0
"""Per 1,000 clean lines: what a threshold is tuned for."""

_Result = TypeVar("_Result", Mended, Read, QuickFix)
_THRESHOLDS = tuple(range(4, 31))


@dataclass(frozen=True, kw_only=True)
class Report:
    """All of it. `precision` is that of doubts over the threshold: in buggy functions those at the bug, the
    clean ones counting as false alarms. `thresholds` is the trade-off: recall, precision and false alarms
    per 1,000 clean lines at each threshold. `tuned` is the same at the least threshold that keeps within
    `MOST_FALSE_ALARMS` on half the packages, as it was there (`tuned_on`) and on the other half
    (`scored_on`); None where none was to be tuned."""

    model: str
    seed: int
    threshold: float
    syntax: tuple[SyntaxRow, ...]
    tokens: tuple[TokenRow, ...]
    clean_functions: int
    clean_lines: int
    false_alarms_per_1000_lines: float
    precision: float
    recall: float
    thresholds: tuple[dict[str, float], ...]
    tuned: dict[str, dict[str, float]] | None
    quick_fixes: QuickFixes
    fills: FillRates | None

    def as_json(self) -> dict[str, object]:
        """The report as plain JSON values."""
        return asdict(self)


def evaluate_fixes(
    engine: Engine,
    directory: Path,
    *,
    per_kind: int,
    clean: int,
    fills: int,
    seed: int,
    tune: bool = False,
    records: Records | None = None,
    advance: Callable[[], None] = lambda: None,
) -> Report:
    """Put `per_kind` bugs of each kind into functions of a folder, and read `clean` others as they are.

    What `records` hold already is not computed again.

    Raises:
        BadRecords: the records cannot be written, or are those of another run.
        EngineError: the engine cannot serve a request.
        NoHoles: there is nothing to put bugs into.
    """
    kept = records or Records()
    info = engine.info()
    kept.begin({"model": info.model, "parameters": info.parameters, "seed": seed})
    everything = functions(directory, 10**9, seed)
    untouched, rest = everything[:clean], everything[clean:] or everything
    bugs = {kind: _bugs(kind, rest, per_kind, seed) for kind in (*SYNTAX, *TOKENS)}

    def known(what: str, bug: Bug, result: type[_Result], compute: Callable[[], _Result]) -> _Result:
        advance()
        return kept.value(f"{what} {_name(bug)}", result, compute)

    syntax = {
        kind: [known("syntax", b, Mended, partial(judge_syntax, engine, b)) for b in bugs[kind]]
        for kind in SYNTAX
    }
    judged = {
        kind: [(b, known("token", b, Read, partial(judge_tokens, engine, b))) for b in bugs[kind]]
        for kind in TOKENS
    }
    fixed = [
        known("quick", b, QuickFix, partial(quick_fix, engine, b))
        for kind in TOKENS
        for b in bugs[kind][: per_kind // 2]
    ]
    alarms = []
    for f in untouched:
        key = f"clean {f.path} {f.start} {f.end}"
        alarms.append((f, kept.value(key, Clean, partial(read_clean, engine, f))))
        advance()
    sample = Sample(
        buggy=tuple((bug.function.path, read) for row in judged.values() for bug, read in row),
        clean=tuple(alarms),
    )
    at_default = sample.at(THRESHOLD)
    everyone = [*((kind, [r for _, r in row]) for kind, row in judged.items())]
    everyone.append(("all", [read for _, read in sample.buggy]))
    return Report(
        model=engine.info().model,
        seed=seed,
        threshold=THRESHOLD,
        syntax=tuple(syntax_row(kind, row) for kind, row in syntax.items()),
        tokens=tuple(token_row(kind, row) for kind, row in everyone if row),
        clean_functions=len(untouched),
        clean_lines=sum(function.lines for function in untouched),
        false_alarms_per_1000_lines=at_default["false_alarms_per_1000_lines"],
        precision=at_default["precision"],
        recall=at_default["recall"],
        thresholds=tuple(sample.at(float(value)) for value in _THRESHOLDS),
        tuned=_tuned(sample, seed) if tune else None,
        quick_fixes=quick_fixes(fixed),
        fills=fill_rates(engine, directory, fills, seed, advance, kept) if fills else None,
    )


def _tuned(sample: Sample, seed: int) -> dict[str, dict[str, float]]:
    """The least threshold that keeps within the bound on one half, and what it does on the other."""
    ours, theirs = sample.part(0, seed), sample.part(1, seed)
    rows = [ours.at(float(value)) for value in _THRESHOLDS]
    quiet = [row for row in rows if row["false_alarms_per_1000_lines"] <= MOST_FALSE_ALARMS]
    chosen = quiet[0] if quiet else rows[-1]
    return {"tuned_on": chosen, "scored_on": theirs.at(chosen["threshold"])}


def _name(bug: Bug) -> str:
    return f"{bug.kind} {bug.function.path} {bug.edit.start} {bug.edit.end} {bug.edit.text!r}"


def _bugs(kind: str, pool: Sequence[Function], count: int, seed: int) -> list[Bug]:
    draw = random.Random(f"{seed}-{kind}")
    found: list[Bug] = []
    for function in pool:
        if len(found) == count:
            break
        if (bug := inject(kind, function, draw)) is not None:
            found.append(bug)
    return found
