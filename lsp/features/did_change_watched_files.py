"""`workspace/didChangeWatchedFiles`: files of the workspace were made, changed or deleted.

The client is asked to watch where it offers to; where it does not, the index looks for itself now and then.
"""

from __future__ import annotations

import logging

from lsprotocol import types
from pygls.exceptions import JsonRpcException

from infill.code.languages import LANGUAGES
from infill.ignore import IGNORE_FILES
from infill.project_config import FILE_NAME
from lsp.session import InfillServer
from lsp.workspace import path_of

logger = logging.getLogger(__name__)

_REGISTRATION = "infill-watched-files"


def register(server: InfillServer) -> None:
    """Connect the method to a server."""

    @server.feature(types.WORKSPACE_DID_CHANGE_WATCHED_FILES)
    def did_change_watched_files(params: types.DidChangeWatchedFilesParams) -> None:
        paths = [path for change in params.changes if (path := path_of(change.uri)) is not None]
        for problem in server.folders.reread([path for path in paths if path.name == FILE_NAME]):
            server.tell_once(problem)
        server.indexing.changed(paths)


async def watch(server: InfillServer) -> None:
    """Ask the client to watch source files, ignore files and `infill.toml`, if it offers to."""
    workspace = server.client_capabilities.workspace
    offered = workspace.did_change_watched_files if workspace is not None else None
    if offered is None or not offered.dynamic_registration:
        return
    extensions = sorted({e.lstrip(".") for language in LANGUAGES.values() for e in language.extensions})
    globs = [f"**/*.{{{','.join(extensions)}}}", f"**/{{{','.join((*IGNORE_FILES, FILE_NAME))}}}"]
    options = types.DidChangeWatchedFilesRegistrationOptions(
        watchers=[types.FileSystemWatcher(glob_pattern=glob) for glob in globs]
    )
    registration = types.Registration(
        id=_REGISTRATION, method=types.WORKSPACE_DID_CHANGE_WATCHED_FILES, register_options=options
    )
    try:
        await server.client_register_capability_async(types.RegistrationParams(registrations=[registration]))
    except JsonRpcException as error:  # it offered, and refuses
        logger.info("the client does not watch files for us: %s", error)
        return
    server.indexing.watched = True
