"""`infill logs`: where the language server's log is, or the end of one.

The server logs to standard error, which editors keep in files of their own, or to `--log-file`.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections import deque
from pathlib import Path
from typing import IO, TYPE_CHECKING

from lsp.commands.errors import CommandError

if TYPE_CHECKING:
    from lsp.cli import Subparsers

_LOOK_S = 0.25


def add_parser(commands: Subparsers) -> None:
    """Add `infill logs`."""
    summary = "show where the server's log is, or the end of it"
    parser = commands.add_parser("logs", help=summary, description=f"{summary.capitalize()}.")
    parser.add_argument(
        "file", metavar="FILE", type=Path, nargs="?", help="what --log-file of `lsp` was given"
    )
    parser.add_argument("--lines", type=int, default=40, metavar="N", help="how many (40 by default)")
    parser.add_argument("--follow", action="store_true", help="go on as the file grows, until Ctrl+C")
    parser.add_argument("--debug", action="store_true", help="show where an internal error happened")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Show a log, or say where logs are; returns the exit code.

    Raises:
        CommandError: the file cannot be read.
    """
    if arguments.file is None:
        print(places(os.environ, Path.home()), end="")
        return 0
    try:
        with arguments.file.open(encoding="utf-8", errors="replace") as log:
            sys.stdout.writelines(deque(log, maxlen=max(0, arguments.lines)))
            if arguments.follow:
                _follow(log)
    except OSError as error:
        raise CommandError(f"the log cannot be read: {error}") from error
    return 0


def places(environment: os._Environ[str] | dict[str, str], home: Path) -> str:
    """Where editors keep what the server writes to standard error."""
    state = Path(environment.get("XDG_STATE_HOME") or home / ".local/state")
    cache = Path(environment.get("XDG_CACHE_HOME") or home / ".cache")
    rows = (
        ("VS Code", "the output panel, channel Infill"),
        ("Neovim", str(state / "nvim" / "lsp.log")),
        ("Helix", str(cache / "helix" / "helix.log")),
        ("Emacs", "the buffer *EGLOT (…) stderr* or *infill::stderr*"),
        ("else", "start the server with --log-file FILE, then: infill logs FILE"),
    )
    return "".join(f"{editor + ':':<10}{place}\n" for editor, place in rows)


def _follow(log: IO[str]) -> None:
    while True:
        line = log.readline()
        if line:
            print(line, end="", flush=True)
        else:
            time.sleep(_LOOK_S)
