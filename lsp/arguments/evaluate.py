"""`infill eval`: the arguments of its suites."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from engine.request import Decoding
from lsp.arguments.common import add_command, add_model, values, whole_number

if TYPE_CHECKING:
    from lsp.arguments.common import Subparsers


def add_parser(commands: Subparsers) -> None:
    """Add `infill eval` and its suites."""
    parser = commands.add_parser("eval", help="measure a model", description="Measure a model.")
    suites = parser.add_subparsers(title="suites", metavar="SUITE", required=True)
    holes = add_command(
        suites, "holes", _eval_holes, "cut holes from the Python files of a folder and fill them"
    )
    holes.add_argument("directory", metavar="DIR", type=Path)
    holes.add_argument(
        "--limit", type=whole_number(1), default=200, metavar="N", help="holes (200 by default)"
    )
    holes.add_argument(
        "--decoding",
        nargs="+",
        type=Decoding,
        default=[],
        dest="decodings",
        metavar="HOW",
        help="also with these: " + ", ".join(d.value for d in Decoding),
    )
    holes.add_argument(
        "--oracle-length", action="store_true", help="also fills that know how long the answer is"
    )
    holes.add_argument(
        "--alone", action="store_true", help="also fills for which the folder's other files are not looked at"
    )
    fixes = add_command(
        suites, "fixes", _eval_fixes, "put bugs into the Python functions of a folder and fix them"
    )
    fixes.add_argument("directory", metavar="DIR", type=Path)
    numbers = (("--bugs", "per_kind", 20, "of each kind"), ("--clean", "clean", 60, "functions left clean"))
    for flag, name, default, meaning in (*numbers, ("--fills", "fills", 0, "holes filled, for parse rates")):
        text = f"{meaning} ({default} by default)"
        fixes.add_argument(flag, type=whole_number(0), dest=name, default=default, metavar="N", help=text)
    fixes.add_argument(
        "--tune", action="store_true", help="choose a threshold on half the packages, score it on the others"
    )
    fixes.add_argument(
        "--records", type=Path, metavar="FILE", help="keep results there, and go on with what it holds"
    )
    warning = "\n\nThis RUNS CODE THE MODEL WROTE, in a restricted subprocess that is no security boundary."
    tasks = add_command(
        suites,
        "humaneval-infilling",
        _eval_humaneval,
        "HumanEval-Infilling: fill, then run the tests",
        warning,
    )
    source = tasks.add_mutually_exclusive_group(required=True)
    source.add_argument("--file", metavar="PATH.jsonl.gz", type=Path, help="the task file")
    source.add_argument("--split", choices=["single-line", "random-span-light"], help="its file in --data")
    tasks.add_argument(
        "--data", metavar="DIR", type=Path, default=Path(".data/eval"), help=".data/eval by default"
    )
    how = "one of " + ", ".join(d.value for d in Decoding)
    tasks.add_argument("--decoding", type=Decoding, metavar="HOW", help=how)
    tasks.add_argument("--limit", type=whole_number(1), metavar="N", help="only the first N tasks")
    tasks.add_argument(
        "--check-golds", action="store_true", help="only run the reference solutions; all should pass"
    )
    for suite in (holes, fixes, tasks):
        suite.add_argument("--seed", type=whole_number(0), default=0, help="0 by default")
        suite.add_argument("--json", action="store_true", dest="as_json", help="print only the JSON line")
        add_model(suite)


def _eval_holes(arguments: argparse.Namespace) -> int:
    from lsp.commands import evaluate

    return evaluate.run_holes(**values(arguments))


def _eval_fixes(arguments: argparse.Namespace) -> int:
    from lsp.commands import evaluate_fixes

    return evaluate_fixes.run(**values(arguments))


def _eval_humaneval(arguments: argparse.Namespace) -> int:
    from lsp.commands import evaluate

    given = values(arguments)
    split, data = given.pop("split"), given.pop("data")
    if split is not None:
        given["file"] = data / evaluate.SPLITS[split]
    return evaluate.run_humaneval(**given)
