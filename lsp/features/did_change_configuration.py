"""`workspace/didChangeConfiguration`: takes new settings, from the notification or by asking for them."""

from __future__ import annotations

from lsprotocol import types

from lsp.configuration import pull, take
from lsp.plain import plain
from lsp.session import InfillServer


def register(server: InfillServer) -> None:
    """Connect the method to a server."""

    @server.feature(types.WORKSPACE_DID_CHANGE_CONFIGURATION)
    async def did_change_configuration(params: types.DidChangeConfigurationParams) -> None:
        if await pull(server):
            return
        given = plain(params.settings)
        section = given.get("infill") if isinstance(given, dict) else None
        if section is not None:
            take(server, section)
