"""`initialized`: says what was wrong with the settings, asks for more and begins to load the model."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lsprotocol import types

from lsp.configuration import pull, watch

if TYPE_CHECKING:
    from lsp.server import InfillServer


def register(server: InfillServer) -> None:
    """Connect the method to a server."""

    @server.feature(types.INITIALIZED)
    async def initialized(params: types.InitializedParams) -> None:
        for problem in server.setting_problems:
            server.tell_once(problem)
        # First, so that a model named there is the one that is loaded; not for long, since it is in the way.
        await pull(server, patience_s=1.0)
        server.load_model()
        server.background(watch(server))
