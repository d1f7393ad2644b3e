"""The methods of the protocol we answer, one file each; `register` connects them all."""

from __future__ import annotations

from lsp.features import (
    code_action,
    code_action_resolve,
    diagnostic,
    did_change,
    did_change_configuration,
    did_change_watched_files,
    did_close,
    did_open,
    did_partially_accept_completion,
    did_show_completion,
    execute_command,
    fill_holes,
    initialize,
    initialized,
    inline_completion,
    notebook,
    workspace_folders,
)
from lsp.session import InfillServer

FEATURES = (
    initialize,
    initialized,
    did_open,
    did_change,
    did_change_configuration,
    did_close,
    inline_completion,
    did_show_completion,
    did_partially_accept_completion,
    execute_command,
    fill_holes,
    code_action,
    code_action_resolve,
    did_change_watched_files,
    workspace_folders,
    notebook,
    diagnostic,
)
"""Every method that is answered; the order does not matter."""


def register(server: InfillServer) -> None:
    """Connect every feature to a server."""
    for feature in FEATURES:
        feature.register(server)
