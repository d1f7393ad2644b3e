"""Alternatives, a popup's entry, typing against a suggestion, prefetching: a process of its own, over stdio.

Under the capabilities of the editors that ask for suggestions at the cursor.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from lsprotocol import types
from pytest_lsp import ClientServerConfig, LanguageClient

from tests.e2e.test_stdio import TIMEOUT_S, ask, engine_state, initialize_params, inline_params, open_document
from tests.e2e.test_stdio_features import command

WITH_GHOST_TEXT = ("vscode-1.139", "neovim-0.12")
INVOKED = types.InlineCompletionTriggerKind.Invoked


@pytest.fixture(params=WITH_GHOST_TEXT)
def editor(request: pytest.FixtureRequest) -> str:
    """An editor's name."""
    return str(request.param)


@asynccontextmanager
async def server(editor: str, *middles: str) -> AsyncIterator[LanguageClient]:
    """A client whose server has a model that suggests these, one after the other."""
    scripted = [sys.executable, "-m", "tests.fakes.server", "--middles", json.dumps(middles)]
    client = await ClientServerConfig(server_command=scripted).start()
    assert isinstance(client, LanguageClient)
    loaded = client.wait_for_notification(types.WINDOW_LOG_MESSAGE)
    await asyncio.wait_for(client.initialize_session(initialize_params(editor)), TIMEOUT_S)
    await asyncio.wait_for(loaded, TIMEOUT_S)
    try:
        yield client
    finally:
        await asyncio.wait_for(client.shutdown_session(), TIMEOUT_S)
        await client.stop()


async def invoke(
    client: LanguageClient,
    uri: str,
    line: int,
    column: int,
    selected: types.SelectedCompletionInfo | None = None,
) -> list[types.InlineCompletionItem]:
    """Ask as somebody does with a key, with an entry of the popup selected if there is one."""
    params = inline_params(uri, line, column)
    params.context = types.InlineCompletionContext(trigger_kind=INVOKED, selected_completion_info=selected)
    answer = await asyncio.wait_for(client.text_document_inline_completion_async(params), TIMEOUT_S)
    assert isinstance(answer, types.InlineCompletionList)
    return list(answer.items)


def insert(client: LanguageClient, uri: str, version: int, column: int, text: str) -> None:
    """Type into the first line."""
    at = types.Position(line=0, character=column)
    change = types.TextDocumentContentChangePartial(range=types.Range(start=at, end=at), text=text)
    document = types.VersionedTextDocumentIdentifier(uri=uri, version=version)
    client.text_document_did_change(
        types.DidChangeTextDocumentParams(text_document=document, content_changes=[change])
    )


def texts(items: list[types.InlineCompletionItem]) -> list[Any]:
    """What the items would insert."""
    return [item.insert_text for item in items]


async def requests(client: LanguageClient) -> list[Any]:
    """What the engine was asked."""
    found: list[Any] = (await engine_state(client))["requests"]
    return found


async def test_a_key_brings_alternatives_of_one_batch_and_typing_the_best(editor: str) -> None:
    async with server(editor, "a", "b", "c", "d") as client:
        uri = open_document(client, "x = \n")
        assert texts(await invoke(client, uri, 0, 4)) == [" a", " b", " c"]
        assert texts(await invoke(client, uri, 0, 4)) == [" a", " b", " c"]  # from memory
        assert texts(await ask(client, uri, 0, 4)) == [" a"]
        [asked] = await requests(client)
    assert asked.candidates == 3


async def test_other_lengths_of_canvas_bring_what_a_batch_lacks(editor: str) -> None:
    async with server(editor, "a", "a", "a", "b", "a", "c") as client:
        uri = open_document(client, "def f():\n    \n")
        assert texts(await invoke(client, uri, 1, 4)) == ["a", "b", "c"]
        assert [asked.canvas_tokens for asked in await requests(client)] == [64, 128]


async def test_the_selected_entry_of_the_popup_counts_as_typed(editor: str) -> None:
    word = types.Range(start=types.Position(line=1, character=0), end=types.Position(line=1, character=3))
    async with server(editor, "print(value)") as client:
        uri = open_document(client, "x = 1\npri\n")
        selected = types.SelectedCompletionInfo(range=word, text="print")
        [item] = await invoke(client, uri, 1, 3, selected)
        assert (item.insert_text, item.range) == ("print(value)", word)
        assert (await requests(client))[0].prompt.typed == "print"


async def test_typing_against_a_suggestion_pins_what_is_typed_and_renoises_the_rest(editor: str) -> None:
    async with server(editor, "foo(a, b)", "r", "(a, c)") as client:
        uri = open_document(client, "x = \n")
        assert texts(await ask(client, uri, 0, 4)) == [" foo(a, b)"]
        insert(client, uri, 2, 4, "ba")
        assert texts(await ask(client, uri, 0, 6)) == [" bar(a, c)"]
        _, second = await requests(client)
        status = await command(client, "infill.status")
    [[pinned, free, rest]] = second.layouts
    assert (pinned.text, free.text, free.free_tokens, rest.text) == (" ba", "", 2, "(a, b)")
    assert 0 < rest.noise < 1
    assert status["renoised"] == 1


async def test_after_an_accept_the_next_places_are_there_before_they_are_asked_for(editor: str) -> None:
    async with server(editor, "value", "[0]", "y = 1") as client:
        uri = open_document(client, "x = \n")
        [item] = await ask(client, uri, 0, 4)
        assert item.command is not None
        insert(client, uri, 2, 4, "value")
        await command(client, item.command.command, *(item.command.arguments or []))
        async with asyncio.timeout(TIMEOUT_S):
            while (await command(client, "infill.status"))["prefetched"] < 2:
                pass
        before = len(await requests(client))
        [here] = await ask(client, uri, 0, 9)
        assert str(here.insert_text).endswith("value[0]")
        insert(client, uri, 3, 9, "\n")
        assert texts(await ask(client, uri, 1, 0)) == ["y = 1"]
        assert len(await requests(client)) == before == 3
