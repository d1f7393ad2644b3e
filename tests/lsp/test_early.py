"""`initialize` is answered early with what the server itself would have said."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lsp import early, protocol
from lsp.editor_commands import COMMANDS
from lsp.server import new_server
from lsp.session import ServerOptions
from tests.e2e.test_stdio_process import start
from tests.lsp.session import Session, connect

Json = dict[str, Any]
RECORDED = sorted((Path(__file__).parents[1] / "e2e" / "capabilities").glob("*.json"))
HEAVY = (
    "pygls",
    "lsprotocol",
    "cattrs",
    "attrs",
    "asyncio",
    "tree_sitter",
    "rich",
    "httpx",
    "uvicorn",
    "torch",
)


def capabilities() -> Iterator[Any]:
    for path in RECORDED:
        yield pytest.param(json.loads(path.read_text())["capabilities"], id=path.stem)
    yield {}
    yield {"general": {"positionEncodings": ["utf-8", "utf-32"]}}
    yield {"general": {"positionEncodings": ["utf-8"]}, "textDocument": {"inlineCompletion": {}}}
    yield {"general": {"positionEncodings": ["utf-7"]}}
    yield {"textDocument": {"synchronization": {"willSave": True, "willSaveWaitUntil": False}}}
    yield {"notebookDocument": {"synchronization": {"dynamicRegistration": True}}, "workspace": {}}
    yield {"textDocument": {"codeAction": {"dataSupport": "from the future", "valueSet": [7]}}, "future": {}}


def initialize(given: object, **more: object) -> Json:
    params = {"processId": None, "rootUri": None, "capabilities": given, **more}
    return {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": params}


@pytest.mark.parametrize("options", [None, {"popup": "always"}, {"popup": "never"}, {"popup": 7}, 7])
@pytest.mark.parametrize("given", list(capabilities()))
async def test_it_says_what_the_server_would(given: Json, options: Any) -> None:
    message = initialize(given, initializationOptions=options)
    said = early.initialize_result(json.loads(json.dumps(message)))
    async with connect(capabilities=given, options=options, initialize=False) as session:
        session.send({key: value for key, value in message.items() if key != "jsonrpc"})
        assert said == (await session.answer_to(1))["result"]


def test_what_is_said_twice_is_the_same() -> None:
    assert tuple(COMMANDS) == early.COMMANDS
    assert tuple(kind.value for kind in protocol.POSITION_ENCODINGS) == early.ENCODINGS


@pytest.mark.parametrize(
    "message",
    [
        {},
        {**initialize({}), "method": "shutdown"},
        {**initialize({}), "id": None},
        {**initialize({}), "id": True},
        {**initialize({}), "jsonrpc": "1.0"},
        {**initialize({}), "params": [1]},
        initialize([]),
        initialize({"general": []}),
        initialize({"general": {"positionEncodings": "utf-8"}}),
        initialize({"textDocument": {"inlineCompletion": 1}}),
        initialize({}, processId="1"),
        initialize({}, workspaceFolders=[{"uri": 1}]),
        initialize({}, rootUri=3),
    ],
)
def test_what_is_out_of_the_ordinary_is_left_to_the_server(message: Json) -> None:
    assert early.initialize_result(message) is None


async def test_the_server_does_not_answer_again_but_takes_the_settings() -> None:
    server = new_server(ServerOptions())
    server.protocol.answered = 1
    session = Session(server, {}, None, ())
    # So odd that only the position encodings are kept of it.
    odd = {
        "general": {"positionEncodings": ["utf-8"]},
        "workspace": {"workspaceEdit": {"resourceOperations": 1}},
    }
    session.send(initialize(odd, initializationOptions={"debounce_ms": 7}))
    session.send({"id": 2, "method": "workspace/executeCommand", "params": {"command": "infill.status"}})
    assert (await session.answer_to(2))["result"]["state"]
    assert not [message for message in session.received if message.get("id") == 1]
    assert server.settings.debounce_ms == 7
    assert server.documents.encoding.value == "utf-8"
    server.worker.close()
    server.indexing.close()


def test_the_answer_needs_nothing_that_is_slow_to_import() -> None:
    refuse = (
        "import sys\n"
        "class Refuse:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        f"        if name.split('.')[0] in {HEAVY}: raise ImportError(f'{{name}} is refused')\n"
        "sys.meta_path.insert(0, Refuse())\n"
        "from lsp.cli import main\n"
        "sys.exit(main(['lsp']))\n"
    )
    with start([sys.executable, "-c", refuse]) as peer:
        peer.send("initialize", {"processId": None, "capabilities": {}}, 1)
        assert "inlineCompletionProvider" in peer.answer(1)["result"]["capabilities"]
        assert peer.process.wait(30) == 70  # the server itself cannot do without
