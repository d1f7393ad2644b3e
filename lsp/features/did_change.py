"""`textDocument/didChange`: keeps a document's text up to date, and ends work on what it was."""

from __future__ import annotations

import logging

from lsprotocol import types

from lsp.convert import changes_of
from lsp.session import InfillServer

logger = logging.getLogger(__name__)


def register(server: InfillServer) -> None:
    """Connect the method to a server."""

    @server.feature(types.TEXT_DOCUMENT_DID_CHANGE)
    def did_change(params: types.DidChangeTextDocumentParams) -> None:
        changed = params.text_document
        server.end_work_on(changed.uri)
        known = server.documents.change(changed.uri, changed.version, changes_of(params.content_changes))
        if not known and not server.folders.is_secret(changed.uri):
            logger.warning("a document was changed that is not open")
        if known:
            server.indexing.touched(changed.uri)
