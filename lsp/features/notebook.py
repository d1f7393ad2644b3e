"""`notebookDocument/didOpen`, `didChange` and `didClose`: which cells there are, and their texts."""

from __future__ import annotations

from collections.abc import Iterable

from lsprotocol import types

from lsp.convert import changes_of
from lsp.session import InfillServer


def register(server: InfillServer) -> None:
    """Connect the methods to a server."""

    @server.feature(types.NOTEBOOK_DOCUMENT_DID_OPEN)
    def did_open(params: types.DidOpenNotebookDocumentParams) -> None:
        notebook = params.notebook_document
        if not server.folders.is_secret(notebook.uri):
            _open_cells(server, params.cell_text_documents)
            server.notebooks.open(notebook.uri, [cell.document for cell in notebook.cells])

    @server.feature(types.NOTEBOOK_DOCUMENT_DID_CHANGE)
    def did_change(params: types.DidChangeNotebookDocumentParams) -> None:
        cells = params.change.cells
        if cells is None or server.folders.is_secret(params.notebook_document.uri):
            return
        if cells.structure is not None:
            array = cells.structure.array
            new = [cell.document for cell in array.cells or ()]
            _open_cells(server, cells.structure.did_open or ())
            server.notebooks.splice(params.notebook_document.uri, array.start, array.delete_count, new)
            _close_cells(server, [cell.uri for cell in cells.structure.did_close or ()])
        for changed in cells.text_content or ():
            server.end_work_on(changed.document.uri)
            server.documents.change(
                changed.document.uri, changed.document.version, changes_of(changed.changes)
            )

    @server.feature(types.NOTEBOOK_DOCUMENT_DID_CLOSE)
    def did_close(params: types.DidCloseNotebookDocumentParams) -> None:
        server.notebooks.close(params.notebook_document.uri)
        _close_cells(server, [cell.uri for cell in params.cell_text_documents])


def _open_cells(server: InfillServer, cells: Iterable[types.TextDocumentItem]) -> None:
    for cell in cells:
        server.documents.open(cell.uri, cell.language_id, cell.version, cell.text)


def _close_cells(server: InfillServer, uris: Iterable[str]) -> None:
    for uri in uris:
        server.end_work_on(uri)
        server.documents.close(uri)
