"""`infill fill`: its arguments."""

from __future__ import annotations

import argparse
import math
from typing import TYPE_CHECKING

from engine.request import CANVAS_LENGTHS
from lsp.arguments.common import add_command, add_model, values, whole_number

if TYPE_CHECKING:
    from lsp.arguments.common import Subparsers


def add_parser(commands: Subparsers) -> None:
    """Add `infill fill`."""
    details = (
        "\n\nLINE and COL count from 1, COL in characters; the column after a line's last character is its"
        "\nend. Standard output is the result: the whole filled text, or what is around the hole where it"
        "\nis a terminal. The view of the canvas goes to standard error, and only to a terminal."
    )
    parser = add_command(commands, "fill", _run, "fill one hole of a file", details)
    parser.add_argument("target", metavar="FILE:LINE:COL", help="where the hole is; -:LINE:COL for stdin")
    parser.add_argument("--to", metavar="LINE:COL", help="replace the text up to here (exclusive)")
    parser.add_argument("--json", action="store_true", dest="as_json", help="print one JSON object")
    parser.add_argument("--write", action="store_true", help="write the filled text to the file")
    parser.add_argument("--language", metavar="ID", help="LSP language id; by the file's name by default")
    add_model(parser)
    parser.add_argument("--seed", type=whole_number(0), default=0, help="0 by default")
    parser.add_argument(
        "--canvas", type=int, choices=CANVAS_LENGTHS, dest="canvas_tokens", help="length in tokens"
    )
    parser.add_argument(
        "--steps", type=whole_number(1), metavar="N", dest="max_steps", help="at most N steps"
    )
    parser.add_argument(
        "--candidates",
        type=whole_number(1),
        metavar="N",
        help="choose among N; by default as many as suit the model",
    )
    parser.add_argument(
        "--min-confidence",
        type=_fraction,
        default=0.0,
        metavar="P",
        help="at least so sure, 0 to 1 (0 by default)",
    )
    parser.add_argument(
        "--deadline-ms", type=_milliseconds, metavar="MS", help="then take the best canvas so far"
    )
    parser.add_argument(
        "--frame-ms",
        type=_milliseconds,
        default=80.0,
        metavar="MS",
        help="show each step at least this long (80 by default); denoising does not wait for it",
    )


def _milliseconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value) or value < 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of milliseconds")
    return value


def _fraction(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 0 to 1")
    return value


def _run(arguments: argparse.Namespace) -> int:
    from lsp.commands import fill

    return fill.run(fill.FillOptions(**values(arguments)))
