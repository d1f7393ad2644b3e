"""Loads the model a command asks for, telling the user what is being waited for."""

from __future__ import annotations

import sys

from engine.request import Engine

EMBEDDED = "embedded"
"""What the model that ships with infill is called on a command line."""


def wanted_model(model: str | None) -> str | None:
    """What `infill model use` chose where nothing is asked for; None is the embedded model."""
    from engine.checkpoints.store import chosen_model

    return None if model == EMBEDDED else model or chosen_model()


def open_engine(model: str | None) -> Engine:
    """Load a model from a directory or the hub into this process; for None the one that the user has chosen.

    Raises:
        EngineError: it cannot be loaded.
    """
    model = wanted_model(model)
    # Imported here: this is where torch comes in, and bad input should be reported without waiting.
    from engine.inprocess import load_engine

    if not sys.stderr.isatty():
        return load_engine(model)
    from rich.console import Console  # the command line's parser imports this module, and needs none of it
    from rich.markup import escape

    with Console(stderr=True).status("loading the model …") as status:
        return load_engine(model, on_progress=lambda message: status.update(escape(message)))
