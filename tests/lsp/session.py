"""A client and a server in one process, byte streams included, for tests of single messages."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from engine.request import Engine
from lsp.framing import Framer
from lsp.server import new_server
from lsp.session import InfillServer, ServerOptions
from lsp.transport import Connection
from tests.fakes.engine import ScriptedEngine

URI = "file:///project/app.py"

Json = dict[str, Any]


def frame(message: object) -> bytes:
    """A message as it goes over the wire."""
    body = message if isinstance(message, bytes) else json.dumps(message).encode()
    return b"Content-Length: %d\r\n\r\n" % len(body) + body


class Session:
    """Speaks to a server as an editor does; every answer is kept as plain JSON."""

    def __init__(
        self, server: InfillServer, capabilities: Json, options: Json | None, folders: Sequence[Path] = ()
    ) -> None:
        self.server = server
        self.received: list[Json] = []  # everything the server sent, in order
        self.connection = Connection(server.protocol)
        self._capabilities = capabilities
        self._options = options
        self._folders = [{"uri": folder.as_uri(), "name": folder.name} for folder in folders]
        self._framer = Framer()
        self._next_id = 0
        self.refuses = False  # to register what the server asks for
        self._arrived = asyncio.Event()
        server.protocol.set_writer(self)

    def write(self, data: bytes) -> None:
        """What pygls calls to send bytes."""
        for body in self._framer.feed(data):
            message = json.loads(body)
            self.received.append(message)
            if message.get("method") == "client/registerCapability" and self.refuses:
                self.send({"id": message["id"], "error": {"code": -32601, "message": "not here"}})
            elif message.get("method") in ("window/workDoneProgress/create", "client/registerCapability"):
                self.send({"id": message["id"], "result": None})
        self._arrived.set()

    def close(self) -> None:
        """What pygls calls when it is done."""

    def send(self, message: Json) -> None:
        """Send a message, the version of JSON-RPC added; it is handled as the loop gets to it."""
        data = frame({"jsonrpc": "2.0", **message})
        asyncio.get_running_loop().call_soon(self.connection.feed, data)

    def notify(self, method: str, params: object = None) -> None:
        """Send a notification."""
        self.send({"method": method, "params": params})

    def ask(self, method: str, params: object = None) -> int:
        """Send a request and return its id."""
        self._next_id += 1
        self.send({"id": self._next_id, "method": method, "params": params})
        return self._next_id

    async def request(self, method: str, params: object = None) -> Json:
        """Send a request and wait for its answer."""
        return await self.answer_to(self.ask(method, params))

    async def answer_to(self, message_id: int | str | None) -> Json:
        """Wait for the answer to a request; None for one that could not be told which it is to."""
        return await self.until(lambda m: "method" not in m and m.get("id", ...) == message_id)

    async def until(self, wanted: Callable[[Json], bool]) -> Json:
        """Wait for a message and return the first of its kind."""
        async with asyncio.timeout(10):
            while True:
                self._arrived.clear()
                if found := next(filter(wanted, self.received), None):
                    return found
                await self._arrived.wait()

    async def initialize(self) -> Json:
        """Shake hands and wait for the model."""
        answer = await self.request(
            "initialize",
            {
                "processId": None,
                "capabilities": self._capabilities,
                "initializationOptions": self._options,
                "workspaceFolders": self._folders,
            },
        )
        self.notify("initialized", {})
        async with asyncio.timeout(10):
            await self.server.loading.wait(10)
        return answer

    def open(self, text: str, language: str = "python", uri: str = URI) -> None:
        """Open a document, version 1."""
        document = {"uri": uri, "languageId": language, "version": 1, "text": text}
        self.notify("textDocument/didOpen", {"textDocument": document})

    def change(self, version: int, *changes: Json, uri: str = URI) -> None:
        """Change a document."""
        self.notify(
            "textDocument/didChange",
            {"textDocument": {"uri": uri, "version": version}, "contentChanges": list(changes)},
        )

    def ask_inline(self, line: int, column: int, *, uri: str = URI, trigger: int = 2, **context: Any) -> int:
        """Ask for a suggestion and return the request's id."""
        return self.ask(
            "textDocument/inlineCompletion",
            {
                "textDocument": {"uri": uri},
                "position": {"line": line, "character": column},
                "context": {"triggerKind": trigger, **context},
            },
        )

    async def inline(self, line: int, column: int, **others: Any) -> list[Json]:
        """Ask for a suggestion and return its items."""
        answer = await self.answer_to(self.ask_inline(line, column, **others))
        items: list[Json] = answer["result"]["items"]
        return items

    def texts(self, method: str) -> list[str]:
        """The messages of every notification of a method, in order."""
        return [m["params"]["message"] for m in self.received if m.get("method") == method]

    @property
    def log(self) -> list[str]:
        """The lines of `window/logMessage`."""
        return self.texts("window/logMessage")

    @property
    def shown(self) -> list[str]:
        """The messages shown to the user."""
        return self.texts("window/showMessage")


Loads = Callable[[str | None, Callable[[str], None]], Engine]


@asynccontextmanager
async def connect(
    engine: Engine | Loads | None = None,
    *,
    capabilities: Json | None = None,
    options: Json | None = None,
    folders: Sequence[Path] = (),
    initialize: bool = True,
) -> AsyncIterator[Session]:
    """A session with a server whose model is `engine`, or what a loader makes of it."""
    given = engine or ScriptedEngine(["pass"])

    def load(model: str | None, on_progress: Callable[[str], None]) -> Engine:
        return given(model, on_progress) if callable(given) else given

    session = Session(new_server(ServerOptions(), load), capabilities or {}, options, folders)
    try:
        if initialize:
            await session.initialize()
        yield session
    finally:
        session.server.worker.close()
        session.server.indexing.close()
        assert session.server.worker.join(5), "the engine's thread did not stop"
