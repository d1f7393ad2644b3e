"""`infill eval fixes`: runs the benchmark of fix-ups, shows its tables, and ends with one JSON line."""

from __future__ import annotations

from pathlib import Path

from rich.table import Table

from infill.evaluate.fixes import Report, evaluate_fixes
from infill.evaluate.fixes_bugs import SYNTAX, TOKENS
from infill.evaluate.records import Records
from lsp.commands.errors import Exit
from lsp.commands.evaluate import print_json, progress, table_console
from lsp.commands.model import open_engine


def run(
    *,
    directory: Path,
    per_kind: int,
    clean: int,
    fills: int,
    seed: int,
    model: str | None,
    as_json: bool,
    tune: bool = False,
    records: Path | None = None,
) -> Exit:
    """Evaluate on bugs put into the functions of a folder; what `records` hold is not computed again.

    Raises:
        EngineError: the model cannot be loaded.
        InfillError: there is nothing to put bugs into, or the records are something else.
    """
    known = Records(records)
    engine = open_engine(model)
    total = per_kind * len((*SYNTAX, *TOKENS)) + per_kind // 2 * len(TOKENS) + clean + fills
    with progress("fixing bugs", total) as advance:
        report = evaluate_fixes(
            engine,
            directory,
            per_kind=per_kind,
            clean=clean,
            fills=fills,
            seed=seed,
            tune=tune,
            records=known,
            advance=advance,
        )
    if not as_json:
        for table in tables(report):
            table_console().print(table)
    print_json("fixes", report.as_json())
    return Exit.OK


def tables(report: Report) -> list[Table]:
    """What a person reads of a report."""
    syntax = _table("syntax errors", "kind", "bugs", "exact", "parses", "among 3", "missing: exact", "parses")
    for s in report.syntax:
        rates = (s.exact, s.parses, s.offered, s.baseline_missing_exact, s.baseline_missing_parses)
        syntax.add_row(s.kind, str(s.bugs), *(f"{rate:.0%}" for rate in rates))
    names = (
        "kind",
        "bugs",
        "located",
        "exact",
        "found",
        "found exactly",
        "causal: located",
        "spelling: exact",
    )
    tokens = _table("one-token bugs", *names)
    for t in report.tokens:
        rates = (t.located, t.exact, t.found, t.found_exact, t.baseline_causal_located)
        cells = (f"{rate:.0%}" for rate in (*rates, t.baseline_spelling_exact))
        tokens.add_row(t.kind, str(t.bugs), *cells)
    trade = _table(
        f"doubts; {report.clean_lines} clean lines; the default threshold is {report.threshold:g}",
        "threshold",
        "recall",
        "precision",
        "false alarms per 1,000 lines",
    )
    for row in report.thresholds:
        alarms = f"{row['false_alarms_per_1000_lines']:.2f}"
        trade.add_row(f"{row['threshold']:g}", f"{row['recall']:.0%}", f"{row['precision']:.0%}", alarms)
    for name, row in (report.tuned or {}).items():
        alarms = f"{row['false_alarms_per_1000_lines']:.2f}"
        label = f"{row['threshold']:g} ({name.replace('_', ' ')})"
        trade.add_row(label, f"{row['recall']:.0%}", f"{row['precision']:.0%}", alarms)
    return [syntax, tokens, trade, *_rest(report)]


def _rest(report: Report) -> list[Table]:
    quick = _table("quick fixes", "requests", "offered", "exact", "among 3", "p50 ms", "p95 ms")
    q = report.quick_fixes
    shares = (f"{rate:.0%}" for rate in (q.offered, q.exact, q.among))
    quick.add_row(str(q.requests), *shares, f"{q.ms_p50:.0f}", f"{q.ms_p95:.0f}")
    if (f := report.fills) is None:
        return [quick]
    title = f"fills of {f.holes} holes; {f.refused} refused; repair took {f.ms_p50:.0f} ms at the median"
    fills = _table(title, "kind", "shown", "parses", "parses for Python")
    fills.add_row("before", *(f"{rate:.1%}" for rate in (f.shown_before, f.before, f.python_before)))
    fills.add_row("after repair", *(f"{rate:.1%}" for rate in (f.shown_after, f.after, f.python_after)))
    return [quick, fills]


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title)
    for name in columns:
        table.add_column(name, justify="left" if name == "kind" else "right")
    return table
