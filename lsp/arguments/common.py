"""What the subcommands' parsers share. Importing it imports nothing that is heavy."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from lsp.commands.errors import EXIT_CODES_HELP

if TYPE_CHECKING:
    # argparse has no public name for it, and it is generic only to type checkers.
    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]


def add_command(
    commands: Subparsers, name: str, run: Callable[[argparse.Namespace], int], summary: str, details: str = ""
) -> argparse.ArgumentParser:
    """A subcommand; `summary` is its line in the overview, and `details` go below it in its own help."""
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


def add_model(parser: argparse.ArgumentParser) -> None:
    """The option that names a model."""
    parser.add_argument("--model", metavar="DIR|HUB_ID", help="a checkpoint; the embedded model by default")


def whole_number(minimum: int) -> Callable[[str], int]:
    """What reads a whole number of at least `minimum`."""

    def parse(text: str) -> int:
        if not text.isascii() or not text.isdigit() or len(text) > 18 or int(text) < minimum:
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least {minimum}")
        return int(text)

    return parse


def port(text: str) -> int:
    """Reads the number of a port; 0 is any."""
    if not text.isascii() or not text.isdigit() or len(text) > 5 or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port (0 to 65535)")
    return int(text)


def values(arguments: argparse.Namespace) -> dict[str, Any]:
    """A command's own arguments by name, without those that `main` is for."""
    return {name: value for name, value in vars(arguments).items() if name not in ("run", "debug")}
