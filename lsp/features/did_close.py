"""`textDocument/didClose`: forgets a document, and ends work on it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lsprotocol import types

if TYPE_CHECKING:
    from lsp.server import InfillServer


def register(server: InfillServer) -> None:
    """Connect the method to a server."""

    @server.feature(types.TEXT_DOCUMENT_DID_CLOSE)
    def did_close(params: types.DidCloseTextDocumentParams) -> None:
        server.worker.supersede(params.text_document.uri)
        server.documents.close(params.text_document.uri)
        server.indexing.closed(params.text_document.uri)
