"""The server with the model it ships with: nothing is replaced."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator

import pytest_asyncio
from lsprotocol import types
from pytest_lsp import ClientServerConfig, LanguageClient

from tests.e2e.test_stdio import initialize_params, inline_params, open_document

TIMEOUT_S = 120
CODE = '''def total_price(items):
    """The price of all items."""
    result = 0
    for item in items:
        result += item.pri
    return result
'''


@pytest_asyncio.fixture
async def client() -> AsyncIterator[LanguageClient]:
    """A client as VS Code is one, of the server as it is installed, with the model loaded."""
    config = ClientServerConfig(server_command=[sys.executable, "-m", "lsp", "lsp"])
    client = await config.start()
    assert isinstance(client, LanguageClient)
    loaded = client.wait_for_notification(types.WINDOW_LOG_MESSAGE)
    await asyncio.wait_for(client.initialize_session(initialize_params("vscode-1.139")), TIMEOUT_S)
    await asyncio.wait_for(loaded, TIMEOUT_S)
    yield client
    await asyncio.wait_for(client.shutdown_session(), TIMEOUT_S)
    await client.stop()


async def test_the_embedded_model_answers_within_its_deadline(client: LanguageClient) -> None:
    assert client.messages == []
    assert "loaded embedded" in client.log_messages[0].message
    uri = open_document(client, CODE)
    for _ in range(2):
        answer = await asyncio.wait_for(
            client.text_document_inline_completion_async(inline_params(uri, 4, 26)), TIMEOUT_S
        )
        assert isinstance(answer, types.InlineCompletionList)
        for item in answer.items:
            assert item.range is not None
            assert item.range.start.line == item.range.end.line == 4
            assert isinstance(item.insert_text, str)
            typed = CODE.splitlines()[4][item.range.start.character : item.range.end.character]
            assert item.insert_text.startswith(typed)
    line = client.log_messages[-1].message
    assert "inline completion" in line
    assert "prompt 0 characters" not in line
    assert " 0 steps" not in line
    assert client.messages == []


async def test_a_request_for_the_embedded_model_can_be_cancelled(client: LanguageClient) -> None:
    uri = open_document(client, CODE)
    requests = []
    for i in range(5):
        requests.append(
            client.protocol.send_request(
                types.TEXT_DOCUMENT_INLINE_COMPLETION, inline_params(uri, 4, 26), msg_id=f"r{i}"
            )
        )
        client.cancel_request(types.CancelParams(id=f"r{i}"))
    waiting = asyncio.gather(*map(asyncio.wrap_future, requests), return_exceptions=True)
    await asyncio.wait_for(waiting, TIMEOUT_S)
    answer = await asyncio.wait_for(
        client.text_document_inline_completion_async(inline_params(uri, 4, 26)), TIMEOUT_S
    )
    assert isinstance(answer, types.InlineCompletionList)
    assert client.messages == []
