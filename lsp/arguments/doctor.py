"""`infill doctor`: its arguments."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from lsp.arguments.common import add_command, add_model

if TYPE_CHECKING:
    from lsp.arguments.common import Subparsers


def add_parser(commands: Subparsers) -> None:
    """Add `infill doctor`."""
    parser = add_command(commands, "doctor", _run, "say what is in use and what is wrong")
    parser.add_argument("--json", action="store_true", dest="as_json", help="print one JSON object")
    add_model(parser)


def _run(arguments: argparse.Namespace) -> int:
    from lsp.commands import doctor

    return doctor.run(arguments.model, as_json=arguments.as_json)
