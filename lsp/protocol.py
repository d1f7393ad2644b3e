"""JSON-RPC on top of pygls: what it leaves unanswered is answered, and it keeps no texts of its own.

Every request gets exactly one answer, whatever is wrong with it: a body that is not JSON, a message that
is none, parameters that do not fit, a request before `initialize` or after `shutdown`. pygls drops or
logs those. This module knows nothing of what the features do.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Generator, Sequence
from typing import TYPE_CHECKING, Any

from cattrs import Converter
from lsprotocol import types
from pygls.exceptions import (
    JsonRpcException,
    JsonRpcInvalidRequest,
    JsonRpcMethodNotFound,
    JsonRpcParseError,
    JsonRpcServerNotInitialized,
)
from pygls.protocol import LanguageServerProtocol, lsp_method

if TYPE_CHECKING:
    from pygls.lsp.server import LanguageServer

logger = logging.getLogger(__name__)

POSITION_ENCODINGS = (
    types.PositionEncodingKind.Utf16,
    types.PositionEncodingKind.Utf32,
    types.PositionEncodingKind.Utf8,
)
"""What we speak, best first. This server always runs beside another one, and most of those count UTF-16;
editors cope badly with servers of different encodings on one buffer. It costs us nothing: lines without
astral characters need no conversion. UTF-32 is our own unit; UTF-8 needs one for any line with an accent."""

_NOT_OURS = (
    types.TEXT_DOCUMENT_DID_OPEN,
    types.TEXT_DOCUMENT_DID_CHANGE,
    types.TEXT_DOCUMENT_DID_CLOSE,
    types.NOTEBOOK_DOCUMENT_DID_OPEN,
    types.NOTEBOOK_DOCUMENT_DID_CHANGE,
    types.NOTEBOOK_DOCUMENT_DID_SAVE,
    types.NOTEBOOK_DOCUMENT_DID_CLOSE,
    types.WORKSPACE_DID_CHANGE_WORKSPACE_FOLDERS,
    types.WORKSPACE_EXECUTE_COMMAND,
)
"""Built-in handlers of pygls that go: its copy of each text costs O(n) a keystroke and splits lines where
the protocol does not; commands are answered by a feature of ours."""

_READ_CAPABILITIES = (
    ("general", "positionEncodings"),
    ("window", "workDoneProgress"),
    ("workspace", "configuration"),
    ("workspace", "didChangeConfiguration"),
    ("workspace", "workspaceEdit"),
    ("textDocument", "inlineCompletion"),
    ("workspace", "didChangeWatchedFiles"),
    ("notebookDocument", "synchronization"),
)
"""The client capabilities that matter to us; the others may be from the future."""

_READ_PARAMS = (
    "processId",
    "clientInfo",
    "initializationOptions",
    "rootPath",
    "rootUri",
    "workspaceFolders",
)


class Protocol(LanguageServerProtocol):
    """The protocol of one connection; `on_exit` is called with the exit code when the client says so."""

    def __init__(self, server: LanguageServer, converter: Converter) -> None:
        super().__init__(server, converter)
        self.on_exit: Callable[[int], None] = lambda code: None
        self.answered: int | str | None = None
        """The id of an `initialize` that has its answer already (see `lsp.early`)."""
        self._initialized = False

    @property
    def exit_code(self) -> int:
        """The exit code if the connection ended now: 0 only after `shutdown`."""
        return 0 if self._shutdown else 1

    def receive(self, body: bytes) -> None:
        """Handle one message."""
        try:
            data = json.loads(body)
        except (ValueError, RecursionError):
            # Without the error's text: it quotes the body, which may be the user's code.
            logger.warning("received %d bytes that are not JSON", len(body))
            self._refuse(None, JsonRpcParseError("the message is not JSON"))
            return
        if not isinstance(data, dict) or data.get("jsonrpc") != self.VERSION:
            logger.warning("received JSON that is not a JSON-RPC 2.0 message")
            self._refuse(_id_of(data), JsonRpcInvalidRequest("not a JSON-RPC 2.0 message"))
            return
        try:
            if self._may_pass(data):
                self.handle_message(self._structure(data))
        except JsonRpcException as error:
            self._refuse_message(data, error)

    def _may_pass(self, data: dict[str, Any]) -> bool:
        """Whether a message is for us and fits the state we are in; a request that does not is an error.

        Raises:
            JsonRpcMethodNotFound: it is a request we do not know.
            JsonRpcServerNotInitialized: it is a request before `initialize`.
            JsonRpcInvalidRequest: it is one after `shutdown`, or a second `initialize`.
        """
        method = data.get("method")
        if method is None:
            return "id" in data
        if not isinstance(method, str):
            raise JsonRpcInvalidRequest("the method is not a string")
        if "id" in data and _id_of(data) is None:
            raise JsonRpcInvalidRequest("the id is neither a number nor a string")
        if method == types.EXIT:
            return True
        if self._shutdown:
            raise JsonRpcInvalidRequest(f"{method} after shutdown")
        if self._initialized and method == types.INITIALIZE:
            raise JsonRpcInvalidRequest("initialize was already sent")
        if not self._initialized and method != types.INITIALIZE:
            raise JsonRpcServerNotInitialized(f"{method} before initialize")
        known = method in self.fm.builtin_features or method in self.fm.features
        if not known and method != types.CANCEL_REQUEST:
            if "id" in data:
                raise JsonRpcMethodNotFound.of(method)
            logger.debug("ignored %s", method)
            return False
        # What may be left out in JSON-RPC may not in what pygls makes of it.
        data.setdefault("params", None)
        return True

    def _structure(self, data: dict[str, Any]) -> Any:
        try:
            return self.structure_message(data)
        except JsonRpcException:
            if data.get("method") != types.INITIALIZE:
                raise
        logger.warning("the client's capabilities have values unknown to us; most are ignored")
        try:
            return self.structure_message(_essential(data, _READ_CAPABILITIES))
        except JsonRpcException:
            if self.answered is None:
                raise
        # It has been told that all is well, and by these it counts its columns.
        return self.structure_message(_essential(data, _READ_CAPABILITIES[:1]))

    def _send_data(self, data: Any) -> None:
        if self.answered is not None:
            sent = data.get("id") if isinstance(data, dict) else getattr(data, "id", None)
            if sent == self.answered:
                self.answered = None
                return
        super()._send_data(data)

    def _refuse_message(self, data: dict[str, Any], error: JsonRpcException) -> None:
        method = data.get("method")
        logger.warning("refused %s: %s", method if isinstance(method, str) else "a message", error)
        if "method" in data and "id" in data:
            self._refuse(_id_of(data), error)

    def _refuse(self, message_id: int | str | None, error: JsonRpcException) -> None:
        # Not through ResponseErrorMessage, which leaves out an id of null.
        body = {"code": error.code, "message": error.message}
        self._send_data({"jsonrpc": self.VERSION, "id": message_id, "error": body})

    def _register_builtin_features(self) -> None:
        super()._register_builtin_features()  # type: ignore[no-untyped-call]
        for method in _NOT_OURS:
            self.fm.builtin_features.pop(method, None)

    @lsp_method(types.INITIALIZE)
    def lsp_initialize(self, params: types.InitializeParams) -> Generator[Any, Any, types.InitializeResult]:
        """Choose the position encoding ourselves (pygls takes the client's first) and advertise no more
        than there is.
        """
        self._initialized = True
        general = params.capabilities.general
        if general is not None and general.position_encodings is not None:
            offered = general.position_encodings
            general.position_encodings = [kind for kind in POSITION_ENCODINGS if kind in offered] or None
        result: types.InitializeResult = yield from super().lsp_initialize(params)
        options = self.fm.feature_options.get(types.WORKSPACE_EXECUTE_COMMAND)
        result.capabilities.execute_command_provider = options
        result.capabilities.workspace = types.WorkspaceOptions(
            workspace_folders=types.WorkspaceFoldersServerCapabilities(
                supported=True, change_notifications=True
            )
        )
        return result

    @lsp_method(types.EXIT)
    def lsp_exit(self, *args: Any) -> None:  # type: ignore[override]
        """End the connection; pygls would close the output and raise SystemExit from in here."""
        self.on_exit(self.exit_code)


def _id_of(data: object) -> int | str | None:
    found = data.get("id") if isinstance(data, dict) else None
    return found if isinstance(found, int | str) and not isinstance(found, bool) else None


def _essential(initialize: dict[str, Any], read: Sequence[tuple[str, str]]) -> dict[str, Any]:
    """An `initialize` request without the capabilities that are not `read`."""
    params = initialize.get("params")
    if not isinstance(params, dict):
        return initialize
    given = params.get("capabilities")
    capabilities: dict[str, dict[str, Any]] = {}
    for group, name in read:
        section = given.get(group) if isinstance(given, dict) else None
        if isinstance(section, dict) and name in section:
            capabilities.setdefault(group, {})[name] = section[name]
    kept = {key: params[key] for key in _READ_PARAMS if key in params}
    return {**initialize, "params": {"processId": None, **kept, "capabilities": capabilities}}
