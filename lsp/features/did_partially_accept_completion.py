"""`textDocument/didPartiallyAcceptCompletion`: some of an inline completion was accepted."""

from __future__ import annotations

from typing import Any

from lsp.offers import offer_id
from lsp.plain import plain
from lsp.session import InfillServer

METHOD = "textDocument/didPartiallyAcceptCompletion"


def register(server: InfillServer) -> None:
    """Connect the method to a server."""

    @server.feature(METHOD)
    def did_partially_accept_completion(params: Any) -> None:
        given = plain(params)
        if isinstance(given, dict) and (name := offer_id(given.get("item"))) is not None:
            length = given.get("acceptedLength")
            server.offers.partly_accepted(name, length if isinstance(length, int) else 0)
