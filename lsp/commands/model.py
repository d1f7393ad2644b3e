"""Loads the model a command asks for, telling the user what is being waited for."""

from __future__ import annotations

import sys

from rich.console import Console
from rich.markup import escape

from engine.request import Engine


def open_engine(model: str | None) -> Engine:
    """Load a model from a directory or the hub, or the embedded one for None.

    Raises:
        EngineError: it cannot be loaded.
    """
    # Imported here: this is where torch comes in, and bad input should be reported without waiting.
    from engine.inprocess import load_engine

    if not sys.stderr.isatty():
        return load_engine(model)
    with Console(stderr=True).status("loading the model …") as status:
        return load_engine(model, on_progress=lambda message: status.update(escape(message)))
