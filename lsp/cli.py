"""The command line: parses arguments, runs a subcommand, turns its outcome into an exit code.

Importing this imports neither torch nor rich nor pygls: each subcommand imports what it needs.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
import traceback
from collections.abc import Sequence
from typing import TYPE_CHECKING

from engine.errors import BrokenCheckpoint, EngineError, ModelNotFound, UnsupportedModel
from infill.errors import InfillError
from lsp.commands.errors import EXIT_CODES_HELP, CommandError, Exit, say
from lsp.version import __version__

if TYPE_CHECKING:
    from lsp.arguments.common import Subparsers as Subparsers

_COMMANDS = {
    "fill": "lsp.arguments.fill",
    "check": "lsp.commands.check",
    "fix": "lsp.commands.fix",
    "doctor": "lsp.arguments.doctor",
    "lsp": "lsp.arguments.server",
    "model": "lsp.arguments.model",
    "engine": "lsp.commands.engine",
    "settings": "lsp.commands.settings",
    "logs": "lsp.commands.logs",
    "bench": "lsp.commands.bench",
    "eval": "lsp.arguments.evaluate",
}
"""The subcommands in the order of the help, and whose `add_parser` says what each takes."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run `infill` with these arguments (`sys.argv` by default) and return its exit code."""
    given = sys.argv[1:] if argv is None else argv
    chosen = given[0] if given and given[0] in _COMMANDS else None
    arguments = build_parser(chosen).parse_args([_named(argument) for argument in given])
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


def _named(argument: str) -> str:
    """argparse would take -:3:1, the place in standard input, for an unknown option."""
    if not argument.startswith("-:"):
        return argument
    from lsp.commands.source import STDIN

    return STDIN + argument[1:]


def _fail(message: str, code: Exit) -> int:
    say(message)
    return code


def build_parser(chosen: str | None = None) -> argparse.ArgumentParser:
    """The parser of every subcommand, or of the one `chosen`; `arguments.run` is the function that runs it.

    What is not chosen is not imported, so that a server or a hook starts sooner.
    """
    parser = argparse.ArgumentParser(
        prog="infill",
        description=(
            "Fills holes in code with a diffusion model, on this machine.\n\n"
            "  infill fill app.py:12:9      what is missing at line 12, column 9\n\n"
            "`infill COMMAND --help` says what a command takes."
        ),
        epilog=EXIT_CODES_HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"infill {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for name, module in _COMMANDS.items():
        if chosen in (None, name):
            importlib.import_module(module).add_parser(commands)
    return parser
