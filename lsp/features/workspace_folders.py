"""`workspace/didChangeWorkspaceFolders`: the folders the user works in have changed."""

from __future__ import annotations

from lsprotocol import types

from lsp.session import InfillServer


def register(server: InfillServer) -> None:
    """Connect the method to a server."""

    @server.feature(types.WORKSPACE_DID_CHANGE_WORKSPACE_FOLDERS)
    def did_change_workspace_folders(params: types.DidChangeWorkspaceFoldersParams) -> None:
        for folder in params.event.removed:
            server.folders.remove(folder.uri)
        for folder in params.event.added:
            for problem in server.folders.add(folder.uri):
                server.tell_once(problem)
        server.indexing.rescan()
