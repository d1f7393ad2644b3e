"""The server as a process of its own, over stdio, driven under the capabilities that editors declare."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from lsprotocol import types
from lsprotocol.converters import get_converter
from pygls.exceptions import JsonRpcException
from pytest_lsp import ClientServerConfig, LanguageClient

CAPABILITIES = Path(__file__).parent / "capabilities"
EDITORS = (
    "vscode-1.139",
    "neovim-0.11",
    "neovim-0.12",
    "helix-25.07",
    "emacs-30-eglot",
    "emacs-30-lsp-mode",
)
TIMEOUT_S = 20


def initialize_params(editor: str) -> types.InitializeParams:
    """What an editor sends, with no settings."""
    recorded = json.loads((CAPABILITIES / f"{editor}.json").read_text(encoding="utf-8"))
    params: types.InitializeParams = get_converter().structure(
        {**recorded, "processId": None}, types.InitializeParams
    )
    return params


@pytest_asyncio.fixture(params=EDITORS)
async def client(request: pytest.FixtureRequest) -> AsyncIterator[LanguageClient]:
    """A client that has shaken hands and whose server has its model."""
    config = ClientServerConfig(server_command=[sys.executable, "-m", "tests.fakes.server"])
    client = await config.start()
    assert isinstance(client, LanguageClient)
    loaded = client.wait_for_notification(types.WINDOW_LOG_MESSAGE)
    await asyncio.wait_for(client.initialize_session(initialize_params(request.param)), TIMEOUT_S)
    await asyncio.wait_for(loaded, TIMEOUT_S)
    yield client
    await asyncio.wait_for(client.shutdown_session(), TIMEOUT_S)
    await client.stop()


def open_document(client: LanguageClient, text: str, uri: str = "file:///project/app.py") -> str:
    """Open a document."""
    document = types.TextDocumentItem(uri=uri, language_id="python", version=1, text=text)
    client.text_document_did_open(types.DidOpenTextDocumentParams(text_document=document))
    return uri


def inline_params(uri: str, line: int, column: int) -> types.InlineCompletionParams:
    """An automatic request."""
    return types.InlineCompletionParams(
        text_document=types.TextDocumentIdentifier(uri=uri),
        position=types.Position(line=line, character=column),
        context=types.InlineCompletionContext(trigger_kind=types.InlineCompletionTriggerKind.Automatic),
    )


async def ask(client: LanguageClient, uri: str, line: int, column: int) -> list[types.InlineCompletionItem]:
    """Ask for a suggestion; the answer must be a list, not null."""
    answer = await asyncio.wait_for(
        client.text_document_inline_completion_async(inline_params(uri, line, column)), TIMEOUT_S
    )
    assert isinstance(answer, types.InlineCompletionList)
    return list(answer.items)


async def engine_state(client: LanguageClient) -> dict[str, Any]:
    """What the scripted engine saw of the requests that wait."""
    answer = await asyncio.wait_for(client.protocol.send_request_async("test/engine", {}), TIMEOUT_S)
    state: dict[str, Any] = answer._asdict()
    return state


async def until(client: LanguageClient, key: str, value: object) -> None:
    """Ask the engine until it says so; each turn is a round trip through the server."""
    async with asyncio.timeout(TIMEOUT_S):
        while (await engine_state(client))[key] != value:
            pass


async def test_what_is_typed_is_completed_edit_by_edit(client: LanguageClient) -> None:
    uri = open_document(client, "# 👩\r\nx = ")
    for version, (column, text) in enumerate([(4, "a"), (5, "b")], 2):
        at = types.Position(line=1, character=column)
        client.text_document_did_change(
            types.DidChangeTextDocumentParams(
                text_document=types.VersionedTextDocumentIdentifier(uri=uri, version=version),
                content_changes=[
                    types.TextDocumentContentChangePartial(range=types.Range(start=at, end=at), text=text)
                ],
            )
        )
    [item] = await ask(client, uri, 1, 6)
    assert isinstance(item.insert_text, str)
    assert item.range is not None
    assert item.range.end == types.Position(line=1, character=6)
    assert item.range.start.line == 1
    # The engine's "1" follows whatever of " ab" was taken back.
    assert item.insert_text == "= ab"[item.range.start.character - 2 :] + "1"
    assert client.messages == []


async def test_cancelling_stops_the_denoiser_and_the_next_request_works(client: LanguageClient) -> None:
    waiting = open_document(client, "# WAIT\nx = ", "file:///project/waiting.py")
    quick = open_document(client, "x = ")
    request = client.protocol.send_request(
        types.TEXT_DOCUMENT_INLINE_COMPLETION, inline_params(waiting, 1, 4), msg_id="slow"
    )
    await until(client, "started", True)
    client.cancel_request(types.CancelParams(id="slow"))
    with pytest.raises(JsonRpcException) as caught:
        await asyncio.wait_for(asyncio.wrap_future(request), TIMEOUT_S)
    assert caught.value.code == -32800
    await until(client, "stops", ["cancelled"])
    assert len(await ask(client, quick, 0, 4)) == 1
    line = next(m.message for m in client.log_messages if "cancelled by the client" in m.message)
    assert ", 1 steps" in line  # it ended before a second step was made


async def test_the_second_of_two_rapid_requests_supersedes_the_first(client: LanguageClient) -> None:
    uri = open_document(client, "# WAIT\nx = \n")
    first = asyncio.ensure_future(ask(client, uri, 1, 4))
    await until(client, "waiting", 1)
    second = client.protocol.send_request(
        types.TEXT_DOCUMENT_INLINE_COMPLETION, inline_params(uri, 1, 4), msg_id="second"
    )
    assert await first == []
    client.cancel_request(types.CancelParams(id="second"))
    with pytest.raises(JsonRpcException):
        await asyncio.wait_for(asyncio.wrap_future(second), TIMEOUT_S)


async def test_a_storm_of_requests_and_cancellations(client: LanguageClient) -> None:
    uri = open_document(client, "# WAIT\nx = \n")
    quick = open_document(client, "x = ", "file:///project/quick.py")
    requests = []
    for i in range(60):
        requests.append(
            client.protocol.send_request(
                types.TEXT_DOCUMENT_INLINE_COMPLETION, inline_params(uri, 1, 4), msg_id=f"storm-{i}"
            )
        )
        client.cancel_request(types.CancelParams(id=f"storm-{i}"))
    outcomes = await asyncio.wait_for(
        asyncio.gather(*map(asyncio.wrap_future, requests), return_exceptions=True), TIMEOUT_S
    )
    assert all(isinstance(o, types.InlineCompletionList | JsonRpcException) for o in outcomes)
    assert len(await ask(client, quick, 0, 4)) == 1


async def test_an_edit_during_a_denoise_drops_the_answer(client: LanguageClient) -> None:
    uri = open_document(client, "# WAIT\nx = \n")
    asked = asyncio.ensure_future(ask(client, uri, 1, 4))
    await until(client, "started", True)
    client.text_document_did_change(
        types.DidChangeTextDocumentParams(
            text_document=types.VersionedTextDocumentIdentifier(uri=uri, version=2),
            content_changes=[types.TextDocumentContentChangeWholeDocument(text="x = ")],
        )
    )
    assert await asked == []
    assert len(await ask(client, uri, 0, 4)) == 1


async def test_every_editor_sees_progress(client: LanguageClient) -> None:
    [reports] = client.progress_reports.values()
    async with asyncio.timeout(TIMEOUT_S):
        while not (reports and isinstance(reports[-1], types.WorkDoneProgressEnd)):
            await engine_state(client)
    assert isinstance(reports[0], types.WorkDoneProgressBegin)
