"""`initialize`: takes the client's settings and the position encoding that was agreed on."""

from __future__ import annotations

from lsprotocol import types

from lsp.documents import Documents
from lsp.features import completion
from lsp.lines import Encoding
from lsp.plain import plain
from lsp.popup import is_wanted
from lsp.session import InfillServer
from lsp.settings import read_settings
from lsp.workspace import Folders, folders_of, read_options


def register(server: InfillServer) -> None:
    """Connect the method to a server."""

    @server.feature(types.INITIALIZE)
    def initialize(params: types.InitializeParams) -> None:
        options = plain(params.initialization_options)
        of_folders, others, problems = read_options(options)
        server.settings, server.setting_problems = read_settings(others)
        server.initial_options = options if isinstance(options, dict) else {}
        server.folders = Folders(folders_of(params), of_folders)
        server.setting_problems += problems
        server.setting_problems += [p for folder in server.folders for p in folder.problems]
        if is_wanted(server):
            completion.register(server)  # only now, since pygls advertises whatever is registered
        server.documents = Documents(Encoding(server.workspace.position_encoding))
        server.protocol.trace = params.trace or types.TraceValue.Off
        server.watch_client(params.process_id)
