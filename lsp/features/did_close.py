"""`textDocument/didClose`: forgets a document, and ends work on it."""

from __future__ import annotations

from lsprotocol import types

from lsp.session import InfillServer


def register(server: InfillServer) -> None:
    """Connect the method to a server."""

    @server.feature(types.TEXT_DOCUMENT_DID_CLOSE)
    def did_close(params: types.DidCloseTextDocumentParams) -> None:
        uri = params.text_document.uri
        server.end_work_on(uri)
        server.prefetch.stop(uri)
        server.documents.close(uri)
        server.status.forget(uri)
        server.pace.forget(uri)
        server.indexing.closed(uri)
