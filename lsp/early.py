"""Answers `initialize` before the server is imported, which takes several times as long as all the rest.

What the answer says depends on the client's capabilities and on one setting, so that plain JSON will do. A
message that is out of the ordinary is left to the server, which then answers it; one that was answered here
is handled there all the same, but for the answer. This imports nothing beyond the standard library and
`lsp.settings`. **Invariant:** it says what the server would. *Test:* `tests/lsp/test_early.py`.
"""

from __future__ import annotations

import json
import os
import sys
from dataclasses import dataclass
from typing import Any, BinaryIO

from lsp.framing import Framer
from lsp.settings import read_settings
from lsp.version import __version__

Json = dict[str, Any]

CHUNK_BYTES = 64 * 1024
ENCODINGS = ("utf-16", "utf-32", "utf-8")
"""As in `lsp.protocol.POSITION_ENCODINGS`, best first."""
TRIGGERS = (".", "(", "=", ",")
"""The characters after which an editor asks for its popup."""
COMMANDS = (
    "infill.accepted",
    "infill.rejected",
    "infill.fillHole",
    "infill.fillAllHoles",
    "infill.rewriteSelection",
    "infill.explainNoSuggestion",
    "infill.status",
    "infill.restartEngine",
)


@dataclass(frozen=True, kw_only=True)
class Met:
    """A client on standard input and output: what it has sent so far, and whether it was answered.

    `answered` is the id of the `initialize` that was, None if none was; `process_id` is then the client's
    process, if it was alive at the time.
    """

    pipe: BinaryIO
    received: bytes
    answered: int | str | None = None
    process_id: int | None = None


def meet() -> Met:
    """Wait for the client's first message, on standard input, and answer it if it is an ordinary one."""
    pipe = claim_stdout()
    framer, received = Framer(), b""
    bodies: list[bytes] = []
    while not bodies:
        try:
            chunk = os.read(sys.stdin.fileno(), CHUNK_BYTES)
        except OSError:
            chunk = b""
        received += chunk
        if not chunk:
            return Met(pipe=pipe, received=received)
        bodies = framer.feed(chunk)
    message = _parsed(bodies[0])
    result = initialize_result(message)
    if result is None:
        return Met(pipe=pipe, received=received)
    process = message["params"].get("processId")  # which may be gone as soon as it has its answer
    alive = process if process is not None and is_alive(process) else None
    body = json.dumps({"jsonrpc": "2.0", "id": message["id"], "result": result}).encode()
    try:
        pipe.write(b"Content-Length: %d\r\n\r\n" % len(body) + body)
        pipe.flush()
    except OSError:
        pass  # the client is gone, which the server will notice
    return Met(pipe=pipe, received=received, answered=message["id"], process_id=alive)


def initialize_result(message: Json) -> Json | None:
    """The result of an `initialize` that is in order; None for any other message."""
    params = message.get("params")
    if (
        message.get("jsonrpc") != "2.0"
        or message.get("method") != "initialize"
        or not isinstance(params, dict)
    ):
        return None
    given = params.get("capabilities")
    if not isinstance(given, dict) or not _is_id(message.get("id")) or not _is_ordinary(params):
        return None
    if not all(isinstance(group, dict | None) for group in given.values()):
        return None
    document = given.get("textDocument") or {}
    offered = (given.get("general") or {}).get("positionEncodings")
    if not isinstance(offered, list | None) or not _are_groups(document):
        return None
    save = document.get("synchronization") or {}
    sync: Json = {"openClose": True, "change": 2}
    sync |= {name: False for name in ("willSave", "willSaveWaitUntil") if save.get(name) is not None}
    capabilities: Json = {
        "positionEncoding": next((kind for kind in ENCODINGS if kind in (offered or ())), ENCODINGS[0]),
        "textDocumentSync": {**sync, "save": False},
        "codeActionProvider": {"codeActionKinds": ["quickfix", "refactor.rewrite"], "resolveProvider": True},
        "executeCommandProvider": {"commands": list(COMMANDS), "workDoneProgress": True},
        "diagnosticProvider": {
            "interFileDependencies": False,
            "workspaceDiagnostics": False,
            "identifier": "infill",
        },
        "inlineCompletionProvider": {},
        "workspace": {"workspaceFolders": {"supported": True, "changeNotifications": True}},
    }
    if (given.get("notebookDocument") or {}).get("synchronization") is not None:
        everything = {"notebook": "*", "cells": [{"language": "*"}]}
        capabilities["notebookDocumentSync"] = {"notebookSelector": [everything], "save": False}
    popup = read_settings(params.get("initializationOptions"))[0].popup
    if popup == "always" or (popup == "auto" and document.get("inlineCompletion") is None):
        capabilities["completionProvider"] = {
            "triggerCharacters": list(TRIGGERS),
            "resolveProvider": True,
            "completionItem": {"labelDetailsSupport": True},
        }
    return {"capabilities": capabilities, "serverInfo": {"name": "infill", "version": __version__}}


def claim_stdout() -> BinaryIO:
    """Keep standard output for the protocol; what else is printed goes to standard error from now on.

    Libraries print, and compiled ones do not ask `sys.stdout`, so it is the descriptor that is replaced.
    """
    sys.stdout.flush()
    pipe = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    sys.stdout = sys.stderr
    return pipe


def _parsed(body: bytes) -> Json:
    try:
        message = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return message if isinstance(message, dict) else {}


def _is_id(value: object) -> bool:
    return isinstance(value, int | str) and not isinstance(value, bool)


def _are_groups(document: Json) -> bool:
    """Whether what is read of a client's `textDocument` is of the kind it should be."""
    return all(
        isinstance(document.get(name), dict | None) for name in ("synchronization", "inlineCompletion")
    )


def _is_ordinary(params: Json) -> bool:
    """Whether the server could have nothing against the parameters other than the capabilities."""
    process, folders, client = (
        params.get("processId"),
        params.get("workspaceFolders"),
        params.get("clientInfo"),
    )
    return (
        (process is None or (isinstance(process, int) and not isinstance(process, bool)))
        and all(isinstance(params.get(name), str | None) for name in ("rootUri", "rootPath"))
        and params.get("trace") in (None, "off", "messages", "verbose")
        and (client is None or (isinstance(client, dict) and isinstance(client.get("name"), str)))
        and isinstance(folders, list | None)
        and all(
            isinstance(folder, dict) and all(isinstance(folder.get(key), str) for key in ("uri", "name"))
            for folder in folders or ()
        )
    )


if sys.platform == "win32":

    def is_alive(process_id: int) -> bool:
        """Whether a process exists."""
        import ctypes

        synchronize, timeout = 0x00100000, 0x00000102
        handle = ctypes.windll.kernel32.OpenProcess(synchronize, False, process_id)
        if not handle:
            return False
        try:
            return bool(ctypes.windll.kernel32.WaitForSingleObject(handle, 0) == timeout)
        finally:
            ctypes.windll.kernel32.CloseHandle(handle)

else:

    def is_alive(process_id: int) -> bool:
        """Whether a process exists; one whose parent has yet to collect it still does."""
        if process_id <= 0:
            return False
        try:
            os.kill(process_id, 0)
        except ProcessLookupError:
            return False
        except (OSError, OverflowError):
            return True  # it is there, only not ours
        return True
