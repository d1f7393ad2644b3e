"""`initialized`: says what was wrong with the settings, asks for more and begins to load the model."""

from __future__ import annotations

from lsprotocol import types

from lsp import configuration
from lsp.features import did_change_watched_files
from lsp.session import InfillServer


def register(server: InfillServer) -> None:
    """Connect the method to a server."""

    @server.feature(types.INITIALIZED)
    async def initialized(params: types.InitializedParams) -> None:
        for problem in server.setting_problems:
            server.tell_once(problem)
        # First, so that a model named there is the one that is loaded; not for long, since it is in the way.
        await configuration.pull(server, patience_s=1.0)
        server.load_model()
        server.background(configuration.watch(server))
        server.background(did_change_watched_files.watch(server))
        server.background(server.indexing.begin())
