"""`initialized`: says what was wrong with the settings and begins to load the model."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lsprotocol import types

from lsp.features.did_change_watched_files import watch

if TYPE_CHECKING:
    from lsp.server import InfillServer


def register(server: InfillServer) -> None:
    """Connect the method to a server."""

    @server.feature(types.INITIALIZED)
    def initialized(params: types.InitializedParams) -> None:
        for problem in server.setting_problems:
            server.tell_once(problem)
        server.load_model()
        server.background(watch(server))
        server.background(server.indexing.begin())
