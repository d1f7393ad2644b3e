"""`textDocument/didOpen`: takes the text of a document."""

from __future__ import annotations

from lsprotocol import types

from lsp.session import InfillServer


def register(server: InfillServer) -> None:
    """Connect the method to a server."""

    @server.feature(types.TEXT_DOCUMENT_DID_OPEN)
    def did_open(params: types.DidOpenTextDocumentParams) -> None:
        opened = params.text_document
        server.end_work_on(opened.uri)
        if server.folders.is_secret(opened.uri):
            return  # what is not kept cannot be shown or sent
        server.documents.open(opened.uri, opened.language_id, opened.version, opened.text)
        server.indexing.touched(opened.uri)
