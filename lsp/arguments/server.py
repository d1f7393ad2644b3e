"""`infill lsp`: its arguments, and how it begins."""

from __future__ import annotations

import argparse
import logging
from pathlib import Path
from typing import TYPE_CHECKING

from lsp.arguments.common import add_command, add_model
from lsp.commands.errors import CommandError
from lsp.early import meet

if TYPE_CHECKING:
    from lsp.arguments.common import Subparsers
    from lsp.checker import Checker


def add_parser(commands: Subparsers) -> None:
    """Add `infill lsp`."""
    parser = add_command(commands, "lsp", _run, "run the language server, over stdio by default")
    parser.add_argument(
        "--tcp", type=_address, metavar="HOST:PORT", help="listen here instead (for debugging)"
    )
    add_model(parser)
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


def _checker(command: str) -> Checker:
    from lsp.checker import Checker, CheckerError

    try:
        return Checker.parse(command)
    except CheckerError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _address(text: str) -> tuple[str, int]:
    host, separator, port = text.rpartition(":")
    if not separator or not host or not port.isdigit() or int(port) > 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is not HOST:PORT (such as 127.0.0.1:2087)")
    return host.removeprefix("[").removesuffix("]"), int(port)


def _engine(text: str) -> str:
    if text not in ("resident", "in-process") and not text.startswith(("http://", "https://")):
        raise argparse.ArgumentTypeError(f"{text!r} is neither resident, in-process nor a URL")
    return text


def _run(arguments: argparse.Namespace) -> int:
    from lsp.logs import set_up_logging

    level = logging.getLevelNamesMapping()[arguments.log_level.upper()]
    try:
        set_up_logging(arguments.log_file, level)  # before the client is told that all is well
        met = None if arguments.tcp else meet()
        # Only now, since it takes its time.
        from lsp.server import serve_stdio, serve_tcp
        from lsp.session import ServerOptions

        options = ServerOptions(
            model=arguments.model,
            engine=arguments.engine,
            log_file=arguments.log_file,
            log_level=level,
            checker=arguments.checker,
        )
        return serve_tcp(options, *arguments.tcp) if arguments.tcp else serve_stdio(options, met=met)
    except OSError as error:
        raise CommandError(f"the server cannot run: {error}") from error
