"""The server with the model it ships with: nothing is replaced but, in one test, when its sampler ends."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import sys
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import IO

import pytest
import pytest_asyncio
from lsprotocol import types
from pytest_lsp import ClientServerConfig, LanguageClient

from engine.checkpoints.hub import EMBEDDED
from tests.e2e.test_stdio import initialize_params, open_document
from tests.e2e.test_stdio_process import Peer, inline, start
from tests.e2e.test_stdio_process import open_document as open_bare
from tests.lsp.session import Json

TIMEOUT_S = 120
EXAMPLE = Path(__file__).parents[2] / "examples" / "stack.py"
HOLE_BEHIND = "self.items.append("
MANY = 1_000_000
"""More steps than any test has time for."""


@pytest_asyncio.fixture
async def client() -> AsyncIterator[LanguageClient]:
    """A client as VS Code is one, of the server as it is installed, with the model loaded."""
    config = ClientServerConfig(server_command=[sys.executable, "-m", "lsp", "lsp"])
    client = await config.start()
    assert isinstance(client, LanguageClient)
    loaded = asyncio.ensure_future(client.wait_for_notification(types.WINDOW_LOG_MESSAGE))
    failed = asyncio.ensure_future(client.wait_for_notification(types.WINDOW_SHOW_MESSAGE))
    await asyncio.wait_for(client.initialize_session(initialize_params("vscode-1.139")), TIMEOUT_S)
    await asyncio.wait((loaded, failed), timeout=TIMEOUT_S, return_when=asyncio.FIRST_COMPLETED)
    for waiting in (loaded, failed):
        waiting.cancel()
    yield client
    await asyncio.wait_for(client.shutdown_session(), TIMEOUT_S)
    await client.stop()


async def test_a_hole_in_an_example_gets_suggestions_or_a_reason(client: LanguageClient) -> None:
    assert client.messages == []
    assert "loaded embedded" in client.log_messages[0].message
    text = EXAMPLE.read_text(encoding="utf-8")
    before, _, _ = text.partition(HOLE_BEHIND)
    line, column = before.count("\n"), len(before.rpartition("\n")[2]) + len(HOLE_BEHIND)
    uri = open_document(client, text, EXAMPLE.as_uri())
    answer = await asyncio.wait_for(
        client.text_document_inline_completion_async(
            types.InlineCompletionParams(
                text_document=types.TextDocumentIdentifier(uri=uri),
                position=types.Position(line=line, character=column),
                context=types.InlineCompletionContext(trigger_kind=types.InlineCompletionTriggerKind.Invoked),
            )
        ),
        TIMEOUT_S,
    )
    assert isinstance(answer, types.InlineCompletionList)
    assert client.messages == []
    said = client.log_messages[-1].message
    assert re.search(r"stack\.py version 1, prompt [1-9]\d* characters, [1-9]\d* steps", said)
    if not answer.items:
        assert re.search(r": nothing: \w", said)
        return
    assert re.search(r": [1-9] items?$", said)
    item = answer.items[0]
    assert item.range is not None
    assert item.range.start.line == item.range.end.line == line
    assert item.range.start.character <= column <= item.range.end.character
    replaced = text.split("\n")[line][item.range.start.character : item.range.end.character]
    assert isinstance(item.insert_text, str)
    assert item.insert_text.startswith(replaced)
    assert len(item.insert_text) > len(replaced)


class StepLog:
    """Reads a server's log from its standard error and notes the denoising steps in it."""

    def __init__(self, stderr: IO[bytes]) -> None:
        self.numbers: list[int] = []
        self.begun = threading.Event()
        self._thread = threading.Thread(target=self._read, args=(stderr,))
        self._thread.start()

    def _read(self, stderr: IO[bytes]) -> None:
        for line in stderr:
            # The last canvas is handed out once more when it is cancelled, which is no further step.
            if found := re.search(rb" DEBUG lsp\.\S+: step (\d+) (?!.*CANCELLED)", line):
                self.numbers.append(int(found[1]))
                self.begun.set()


@pytest.fixture
def endless(tmp_path: Path) -> Path:
    """The embedded model, denoising all it writes, with a sampler that never finds its canvas good enough."""
    folder = tmp_path / "endless"
    shutil.copytree(EMBEDDED, folder)
    changes: dict[str, Json] = {
        "generation_config.json": {"max_denoising_steps": MANY, "stability_threshold": MANY},
        "infill.json": {"verified_tokens": 0},  # written left to right a line is there in milliseconds
    }
    for name, other in changes.items():
        known = json.loads((folder / name).read_text(encoding="utf-8"))
        (folder / name).write_text(json.dumps({**known, **other}), encoding="utf-8")
    return folder


def logged(peer: Peer, end: str) -> str:
    """The line in the user's log about a request, by how it ended."""
    message = peer.until(lambda m: re.search(end, m.get("params", {}).get("message", "")) is not None)
    line: str = message["params"]["message"]
    return line


def steps_in(line: str) -> int:
    """How many steps a request's line in the log says were made."""
    found = re.search(r" (\d+) steps", line)
    assert found is not None
    return int(found[1])


def test_cancelling_stops_the_embedded_model_and_the_next_request_is_served(endless: Path) -> None:
    # One who asks with a key waits four times as long: enough for the cancellation to come first.
    options: Json = {"model": str(endless), "deadline_ms": 2500}
    with start([sys.executable, "-m", "lsp", "lsp", "--log-level", "debug"]) as peer:
        assert peer.process.stderr is not None
        steps = StepLog(peer.process.stderr)
        peer.initialize(options=options)
        logged(peer, "^loaded ")
        open_bare(peer)
        inline(peer, 2, trigger=1)
        assert steps.begun.wait(TIMEOUT_S)
        peer.send("$/cancelRequest", {"id": 2})
        assert peer.answer(2)["error"]["code"] == -32800
        cancelled = steps_in(logged(peer, "cancelled by the client"))
        first = list(steps.numbers)
        inline(peer, 3, trigger=2)
        assert isinstance(peer.answer(3)["result"]["items"], list)
        served = steps_in(logged(peer, "inline completion 3: "))
        assert peer.leave() == 0
    assert 1 <= cancelled < MANY / 1000
    assert served >= 1
    # Not one more than the one in progress when it was cancelled.
    assert max(first) <= cancelled + 1
