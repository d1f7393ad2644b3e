"""`infill model`: what it can do comes from two modules, joined here."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lsp.arguments.common import add_command, whole_number
from lsp.commands import model_info, models

if TYPE_CHECKING:
    from lsp.arguments.common import Subparsers


def add_parser(commands: Subparsers) -> None:
    """Add `infill model`."""
    model_info.add_info_parser(models.add_parser(commands), add_command, whole_number(1))
