"""Measures fix-ups on injected bugs, on clean functions and on fills, beside baselines of the same run.

Syntax: exact repair and parse rate, by kind, of our top fix, of tree-sitter's own insertion of what it finds
missing, and of the causal direction's choice among single insertions alone. One-token bugs: how often the
most doubtful place of the function is the bug's, against the most surprising token left to right and, for
names, against a spell-checker over the names in scope. Knows nothing of terminals.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from engine.request import Engine
from infill.evaluate.fixes_bugs import SYNTAX, TOKENS, Bug, inject
from infill.evaluate.fixes_fills import FillRates, fill_rates
from infill.evaluate.fixes_functions import Function, functions
from infill.evaluate.fixes_syntax import SyntaxRow, judge_syntax, syntax_row
from infill.evaluate.fixes_tokens import TokenRow, at_threshold, judge_tokens, read_clean, token_row
from infill.fixes.suspicious import THRESHOLD


@dataclass(frozen=True, kw_only=True)
class Report:
    """All of it. `precision` is that of doubts over the threshold: in buggy functions those at the bug, the
    clean ones counting as false alarms. `thresholds` is the trade-off: recall and false alarms per 1,000
    clean lines at each threshold."""

    model: str
    seed: int
    threshold: float
    syntax: tuple[SyntaxRow, ...]
    tokens: tuple[TokenRow, ...]
    clean_functions: int
    clean_lines: int
    false_alarms_per_1000_lines: float
    precision: float
    thresholds: tuple[dict[str, float], ...]
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
    advance: Callable[[], None] = lambda: None,
) -> Report:
    """Put `per_kind` bugs of each kind into functions of a folder, and read `clean` others as they are.

    Raises:
        EngineError: the engine cannot serve a request.
        NoHoles: there is nothing to put bugs into.
    """
    everything = functions(directory, 10**9, seed)
    untouched, rest = everything[:clean], everything[clean:] or everything
    syntax = tuple(
        syntax_row(kind, [judge_syntax(engine, b, advance) for b in _bugs(kind, rest, per_kind, seed)])
        for kind in SYNTAX
    )
    judged = {
        kind: [judge_tokens(engine, b, advance) for b in _bugs(kind, rest, per_kind, seed)] for kind in TOKENS
    }
    alarms = [read_clean(engine, function, advance) for function in untouched]
    lines = sum(function.lines for function in untouched)
    flat = [result for row in judged.values() for result in row]
    everyone = [*judged.items(), ("all", flat)]
    at_default = at_threshold(THRESHOLD, flat, alarms, lines)
    return Report(
        model=engine.info().model,
        seed=seed,
        threshold=THRESHOLD,
        syntax=(*syntax,),
        tokens=tuple(token_row(kind, row) for kind, row in everyone if row),
        clean_functions=len(untouched),
        clean_lines=lines,
        false_alarms_per_1000_lines=at_default["false_alarms_per_1000_lines"],
        precision=at_default["precision"],
        thresholds=tuple(at_threshold(float(value), flat, alarms, lines) for value in range(4, 25, 2)),
        fills=fill_rates(engine, directory, fills, seed, advance) if fills else None,
    )


def _bugs(kind: str, pool: Sequence[Function], count: int, seed: int) -> list[Bug]:
    draw = random.Random(f"{seed}-{kind}")
    found: list[Bug] = []
    for function in pool:
        if len(found) == count:
            break
        if (bug := inject(kind, function, draw)) is not None:
            found.append(bug)
    return found
