"""`infill eval`: runs an evaluation, shows its progress and its table, and ends with one JSON line."""

from __future__ import annotations

import json
import platform
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from engine.request import Decoding
from infill.evaluate.holes import cut_holes, with_nearby
from infill.evaluate.humaneval import SPLITS as SPLITS
from infill.evaluate.humaneval import PassRate, evaluate_tasks, failing_golds, read_tasks
from infill.evaluate.humaneval import Report as TaskReport
from infill.evaluate.oracle import fill_knowing_length
from infill.evaluate.score import Method, evaluate_holes, fill_hole
from infill.evaluate.score import Report as HoleReport
from lsp.commands.errors import CommandError, Exit
from lsp.commands.model import open_engine
from lsp.version import __version__

_FILE_COLUMNS = 140


def run_holes(
    *,
    directory: Path,
    limit: int,
    seed: int,
    model: str | None,
    as_json: bool,
    decodings: Sequence[Decoding] = (),
    oracle_length: bool = False,
    alone: bool = False,
) -> Exit:
    """Evaluate on holes cut from a folder, as a user has it and with each of `decodings`.

    `oracle_length` adds a row of fills that know how many tokens the answer has, `alone` one of fills for
    which nothing is known of the folder's other files.

    Raises:
        EngineError: the model cannot be loaded.
        InfillError: there is nothing to cut holes from.
    """
    holes = cut_holes(directory, limit, seed)
    engine = open_engine(model)
    if chars := engine.info().nearby_chars:
        holes = with_nearby(holes, directory, chars)
    others: dict[str, Method] = {f"model, {d.value}": partial(fill_hole, decoding=d) for d in decodings}
    if alone:
        others["model, file alone"] = partial(fill_hole, alone=True)
    if oracle_length:
        others["model, denoise, oracle length"] = fill_knowing_length
    with progress("filling holes", len(holes) * (1 + len(others))) as advance:
        report = evaluate_holes(engine, holes, seed=seed, others=others, on_fill=lambda _: advance())
    if not as_json:
        table_console().print(_hole_table(report))
    print_json("holes", {"holes": len(holes), **report.as_json()})
    return Exit.OK


def run_humaneval(
    *,
    file: Path,
    limit: int | None,
    seed: int,
    model: str | None,
    as_json: bool,
    check_golds: bool,
    decoding: Decoding | None = None,
) -> Exit:
    """Evaluate on HumanEval-Infilling, or only check that its own answers pass.

    Raises:
        CommandError: some of the reference solutions fail.
        EngineError: the model cannot be loaded.
        InfillError: the task file cannot be read.
    """
    tasks = read_tasks(file, limit)
    if check_golds:
        failing = [f"{task.task_id}: {execution.error}" for task, execution in failing_golds(tasks)]
        print_json("humaneval-infilling golds", {"tasks": len(tasks), "failing": failing})
        if failing:
            raise CommandError(f"{len(failing)} of {len(tasks)} reference solutions do not pass")
        return Exit.OK
    engine = open_engine(model)
    with progress("running tasks", len(tasks)) as advance:
        report = evaluate_tasks(engine, tasks, seed=seed, decoding=decoding, on_result=lambda _: advance())
    if not as_json:
        table_console().print(_task_table(report))
    print_json(
        "humaneval-infilling",
        {"file": file.name, "seed": seed, "decoding": decoding and decoding.value, **report.as_json()},
    )
    return Exit.OK


@contextmanager
def progress(name: str, total: int) -> Iterator[Callable[[], None]]:
    """A bar on a terminal; each call advances it by one."""
    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not sys.stderr.isatty()) as progress:
        task = progress.add_task(name, total=total)
        yield lambda: progress.advance(task)


def print_json(benchmark: str, values: dict[str, object]) -> None:
    """One line: what was measured, and where."""
    where = {"infill": __version__, "python": platform.python_version(), "platform": platform.platform()}
    sys.stdout.write(json.dumps({"benchmark": benchmark, **values, **where}) + "\n")
    sys.stdout.flush()


def table_console() -> Console:
    """Where tables go."""
    # A table in a file should not be folded to the width of a terminal there is none of.
    return Console() if sys.stdout.isatty() else Console(width=_FILE_COLUMNS)


def _hole_table(report: HoleReport) -> Table:
    table = Table(title=f"{report.model}, seed {report.seed}", caption="exact and similarity over all holes")
    names = ("method", "kind", "holes", "exact", "similarity", "parses", "length error", "rejected", "steps")
    for name in (*names, "p50 ms", "p95 ms"):
        table.add_column(name, justify="left" if name in ("method", "kind") else "right")
    for row in report.rows:
        table.add_row(
            row.method,
            row.kind,
            str(row.holes),
            f"{row.exact_match:.1%}",
            f"{row.edit_similarity:.3f}",
            f"{row.parse_rate:.1%}",
            f"{row.length_error_chars:.1f}",
            f"{row.rejected_rate:.1%}",
            f"{row.steps_mean:.1f}",
            f"{row.ms_p50:.0f}",
            f"{row.ms_p95:.0f}",
            end_section=row.kind == "all",
        )
    return table


def _task_table(report: TaskReport) -> Table:
    table = Table(title=f"{report.model}, one suggestion a task")
    for name in ("tasks", "count", "problems", "pass@1", "95% interval"):
        table.add_column(name, justify="left" if name == "tasks" else "right")
    for name, rate in (("all", report.all), ("without trivial golds", report.without_trivial)):
        table.add_row(name, *_rate_cells(rate))
    return table


def _rate_cells(rate: PassRate) -> tuple[str, ...]:
    interval = f"{rate.low:.1%} to {rate.high:.1%}"
    return str(rate.tasks), str(rate.problems), f"{rate.pass_at_1:.1%}", interval
