"""The methods of the protocol we answer, one file each; `register` connects them all."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lsp.features import (
    did_change,
    did_change_watched_files,
    did_close,
    did_open,
    initialize,
    initialized,
    inline_completion,
    notebook,
    workspace_folders,
)

if TYPE_CHECKING:
    from lsp.server import InfillServer

_FEATURES = (
    initialize,
    initialized,
    did_open,
    did_change,
    did_close,
    inline_completion,
    did_change_watched_files,
    workspace_folders,
    notebook,
)


def register(server: InfillServer) -> None:
    """Connect every feature to a server."""
    for feature in _FEATURES:
        feature.register(server)
