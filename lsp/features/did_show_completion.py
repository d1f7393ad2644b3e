"""`textDocument/didShowCompletion`: an inline completion was shown. Others' servers know it too."""

from __future__ import annotations

from typing import Any

from lsp.offers import offer_id
from lsp.plain import plain
from lsp.session import InfillServer

METHOD = "textDocument/didShowCompletion"


def register(server: InfillServer) -> None:
    """Connect the method to a server."""

    @server.feature(METHOD)
    def did_show_completion(params: Any) -> None:
        given = plain(params)
        if isinstance(given, dict) and (name := offer_id(given.get("item"))) is not None:
            server.offers.shown(name)
