"""The command line: parses arguments, runs a subcommand, turns its outcome into an exit code.

Importing this imports neither torch nor rich nor pygls: each subcommand imports what it needs.
"""

from __future__ import annotations

import argparse
import math
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.errors import BrokenCheckpoint, EngineError, ModelNotFound, UnsupportedModel
from engine.request import CANVAS_LENGTHS, Decoding
from infill.errors import InfillError
from lsp.commands import bench, check, engine, fix, logs, model_info, models, settings
from lsp.commands.errors import EXIT_CODES_HELP, CommandError, Exit
from lsp.commands.source import STDIN
from lsp.version import __version__

if TYPE_CHECKING:
    from lsp.checker import Checker

    # argparse has no public name for it, and it is generic only to type checkers.
    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]


def main(argv: Sequence[str] | None = None) -> int:
    """Run `infill` with these arguments (`sys.argv` by default) and return its exit code."""
    given = sys.argv[1:] if argv is None else argv
    # argparse would take -:3:1, the place in standard input, for an unknown option.
    arguments = build_parser().parse_args([STDIN + a[1:] if a.startswith("-:") else a for a in given])
    try:
        return _run(arguments)
    except KeyboardInterrupt:
        return Exit.INTERRUPTED
    except Exception as error:
        # Ours to mend. Python's own exit code for it is 1, which means that there is no suggestion.
        if arguments.debug:
            traceback.print_exception(error)
        return _fail(f"internal error: {type(error).__name__}: {error}", Exit.INTERNAL_ERROR)


def _run(arguments: argparse.Namespace) -> int:
    try:
        code: int = arguments.run(arguments)
        return code
    except (ModelNotFound, UnsupportedModel, BrokenCheckpoint) as error:
        return _fail(str(error), Exit.NO_MODEL)
    except (CommandError, EngineError, InfillError) as error:
        return _fail(str(error), Exit.BAD_INPUT)
    except BrokenPipeError:
        # Whoever read our output left; without this Python would complain once more while exiting.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return Exit.BAD_INPUT


def _fail(message: str, code: Exit) -> int:
    # One line, and nothing in a file's name may steer the terminal.
    shown = "".join(c if c.isprintable() else "\ufffd" for c in " ".join(message.splitlines()))
    print(f"infill: {shown}", file=sys.stderr)
    return code


def build_parser() -> argparse.ArgumentParser:
    """The parser of every subcommand; `arguments.run` is the function that runs the one chosen."""
    parser = argparse.ArgumentParser(
        prog="infill",
        description="Fills holes in code with a diffusion model, on this machine.",
        epilog=EXIT_CODES_HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"infill {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    _add_fill(commands)
    _add_lsp(commands)
    _add_doctor(commands)
    bench.add_parser(commands)
    _add_eval(commands)
    engine.add_parser(commands)
    model_info.add_info_parser(models.add_parser(commands), _add_command, _whole_number(1))
    fix.add_parser(commands)
    check.add_parser(commands)
    settings.add_parser(commands)
    logs.add_parser(commands)
    return parser


def _add_command(
    commands: Subparsers, name: str, run: Callable[[argparse.Namespace], int], summary: str, details: str = ""
) -> argparse.ArgumentParser:
    parser = commands.add_parser(
        name,
        help=summary,
        description=f"{summary[0].upper()}{summary[1:]}.{details}",
        epilog=EXIT_CODES_HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--debug", action="store_true", help="show where an internal error happened")
    parser.set_defaults(run=run)
    return parser


def _add_model(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", metavar="DIR|HUB_ID", help="a checkpoint; the embedded model by default")


def _add_fill(commands: Subparsers) -> None:
    details = (
        "\n\nLINE and COL count from 1, COL in characters; the column after a line's last character is its"
        "\nend. Standard output is the result: the whole filled text, or what is around the hole where it"
        "\nis a terminal. The view of the canvas goes to standard error, and only to a terminal."
    )
    parser = _add_command(commands, "fill", _fill, "fill one hole of a file", details)
    parser.add_argument("target", metavar="FILE:LINE:COL", help="where the hole is; -:LINE:COL for stdin")
    parser.add_argument("--to", metavar="LINE:COL", help="replace the text up to here (exclusive)")
    parser.add_argument("--json", action="store_true", dest="as_json", help="print one JSON object")
    parser.add_argument("--write", action="store_true", help="write the filled text to the file")
    parser.add_argument("--language", metavar="ID", help="LSP language id; by the file's name by default")
    _add_model(parser)
    parser.add_argument("--seed", type=_whole_number(0), default=0, help="0 by default")
    parser.add_argument(
        "--canvas", type=int, choices=CANVAS_LENGTHS, dest="canvas_tokens", help="length in tokens"
    )
    parser.add_argument(
        "--steps", type=_whole_number(1), metavar="N", dest="max_steps", help="at most N steps"
    )
    parser.add_argument(
        "--candidates",
        type=_whole_number(1),
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


def _add_lsp(commands: Subparsers) -> None:
    parser = _add_command(commands, "lsp", _lsp, "run the language server, over stdio by default")
    parser.add_argument(
        "--tcp", type=_address, metavar="HOST:PORT", help="listen here instead (for debugging)"
    )
    _add_model(parser)
    parser.add_argument(
        "--engine",
        type=_engine,
        default="resident",
        metavar="WHERE",
        help="where the model runs: resident (by default: one process for all editors), in-process, or the "
        "URL of an OpenAI-compatible server, to which code is sent then",
    )
    parser.add_argument(
        "--checker",
        type=_checker,
        metavar="COMMAND",
        help="offer only quick fixes that this checker agrees with; see docs/fix-ups.md. It is run, in the "
        "folder of the file",
    )
    parser.add_argument("--log-file", type=Path, metavar="FILE", help="log to this file instead of stderr")
    parser.add_argument(
        "--log-level",
        choices=("debug", "info", "warning", "error"),
        default="warning",
        help="warning by default",
    )


def _add_doctor(commands: Subparsers) -> None:
    parser = _add_command(commands, "doctor", _doctor, "say what is in use and what is wrong")
    parser.add_argument("--json", action="store_true", dest="as_json", help="print one JSON object")
    _add_model(parser)


def _add_eval(commands: Subparsers) -> None:
    parser = commands.add_parser("eval", help="measure a model", description="Measure a model.")
    suites = parser.add_subparsers(title="suites", metavar="SUITE", required=True)
    holes = _add_command(
        suites, "holes", _eval_holes, "cut holes from the Python files of a folder and fill them"
    )
    holes.add_argument("directory", metavar="DIR", type=Path)
    holes.add_argument(
        "--limit", type=_whole_number(1), default=200, metavar="N", help="holes (200 by default)"
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
    fixes = _add_command(
        suites, "fixes", _eval_fixes, "put bugs into the Python functions of a folder and fix them"
    )
    fixes.add_argument("directory", metavar="DIR", type=Path)
    numbers = (("--bugs", "per_kind", 20, "of each kind"), ("--clean", "clean", 60, "functions left clean"))
    for flag, name, default, meaning in (*numbers, ("--fills", "fills", 0, "holes filled, for parse rates")):
        text = f"{meaning} ({default} by default)"
        fixes.add_argument(flag, type=_whole_number(0), dest=name, default=default, metavar="N", help=text)
    fixes.add_argument(
        "--tune", action="store_true", help="choose a threshold on half the packages, score it on the others"
    )
    fixes.add_argument(
        "--records", type=Path, metavar="FILE", help="keep results there, and go on with what it holds"
    )
    warning = "\n\nThis RUNS CODE THE MODEL WROTE, in a restricted subprocess that is no security boundary."
    tasks = _add_command(
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
    tasks.add_argument("--limit", type=_whole_number(1), metavar="N", help="only the first N tasks")
    tasks.add_argument(
        "--check-golds", action="store_true", help="only run the reference solutions; all should pass"
    )
    for suite in (holes, fixes, tasks):
        suite.add_argument("--seed", type=_whole_number(0), default=0, help="0 by default")
        suite.add_argument("--json", action="store_true", dest="as_json", help="print only the JSON line")
        _add_model(suite)


def _checker(command: str) -> Checker:
    from lsp.checker import Checker, CheckerError

    try:
        return Checker.parse(command)
    except CheckerError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _whole_number(minimum: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        if not text.isascii() or not text.isdigit() or len(text) > 18 or int(text) < minimum:
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least {minimum}")
        return int(text)

    return parse


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


def _address(text: str) -> tuple[str, int]:
    host, separator, port = text.rpartition(":")
    if not separator or not host or not port.isdigit() or int(port) > 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is not HOST:PORT (such as 127.0.0.1:2087)")
    return host.removeprefix("[").removesuffix("]"), int(port)


def _engine(text: str) -> str:
    if text not in ("resident", "in-process") and not text.startswith(("http://", "https://")):
        raise argparse.ArgumentTypeError(f"{text!r} is neither resident, in-process nor a URL")
    return text


def _fill(arguments: argparse.Namespace) -> int:
    from lsp.commands import fill

    return fill.run(fill.FillOptions(**_values(arguments)))


def _lsp(arguments: argparse.Namespace) -> int:
    import logging

    from lsp.server import ServerOptions, serve_stdio, serve_tcp

    options = ServerOptions(
        model=arguments.model,
        engine=arguments.engine,
        log_file=arguments.log_file,
        log_level=logging.getLevelNamesMapping()[arguments.log_level.upper()],
        checker=arguments.checker,
    )
    try:
        return serve_tcp(options, *arguments.tcp) if arguments.tcp else serve_stdio(options)
    except OSError as error:
        raise CommandError(f"the server cannot run: {error}") from error


def _doctor(arguments: argparse.Namespace) -> int:
    from lsp.commands import doctor

    return doctor.run(arguments.model, as_json=arguments.as_json)


def _eval_holes(arguments: argparse.Namespace) -> int:
    from lsp.commands import evaluate

    return evaluate.run_holes(**_values(arguments))


def _eval_fixes(arguments: argparse.Namespace) -> int:
    from lsp.commands import evaluate_fixes

    return evaluate_fixes.run(**_values(arguments))


def _eval_humaneval(arguments: argparse.Namespace) -> int:
    from lsp.commands import evaluate

    values = _values(arguments)
    split, data = values.pop("split"), values.pop("data")
    if split is not None:
        values["file"] = data / evaluate.SPLITS[split]
    return evaluate.run_humaneval(**values)


def _values(arguments: argparse.Namespace) -> dict[str, Any]:
    """A command's own arguments by name, without those that `main` is for."""
    return {name: value for name, value in vars(arguments).items() if name not in ("run", "debug")}
