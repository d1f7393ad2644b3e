"""What an editor can ask for beyond one suggestion, from a server that is a process of its own."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from lsprotocol import types
from pytest_lsp import LanguageClient

from tests.e2e.test_stdio import TIMEOUT_S, ask, client, inline_params, open_document

__all__ = ["client"]  # the fixture, one server for each editor


async def command(client: LanguageClient, name: str, *arguments: Any) -> Any:
    """Run a command and return its result."""
    params = types.ExecuteCommandParams(command=name, arguments=list(arguments))
    return await asyncio.wait_for(client.workspace_execute_command_async(params), TIMEOUT_S)


async def test_typing_along_accepting_and_the_counts(client: LanguageClient) -> None:
    uri = open_document(client, "x = \n")
    [item] = await ask(client, uri, 0, 4)
    assert item.command is not None
    assert item.command.command == "infill.accepted"
    [again] = await ask(client, uri, 0, 4)
    assert again.insert_text == item.insert_text
    client.protocol.notify("textDocument/didShowCompletion", {"item": item})
    await command(client, item.command.command, *(item.command.arguments or []))
    status = await command(client, "infill.status")
    assert (status["state"], status["model"]) == ("ready", "scripted")
    assert (status["shown"], status["accepted"], status["reused"]) == (1, 1, 1)


async def test_who_asks_with_a_key_gets_an_answer_where_an_automatic_request_gets_a_reason(
    client: LanguageClient,
) -> None:
    uri = open_document(client, "value\n")
    assert await ask(client, uri, 0, 2) == []
    assert (await command(client, "infill.explainNoSuggestion", {"uri": uri}))["reason"] == (
        "the cursor is inside a word"
    )
    params = inline_params(uri, 0, 5)
    params.context.trigger_kind = types.InlineCompletionTriggerKind.Invoked
    answer = await asyncio.wait_for(client.text_document_inline_completion_async(params), TIMEOUT_S)
    assert isinstance(answer, types.InlineCompletionList)
    assert answer.items


async def test_all_holes_are_filled_by_an_edit_the_editor_applies(client: LanguageClient) -> None:
    uri = open_document(client, "x = ___\ny = ___\n")
    applied: list[types.ApplyWorkspaceEditParams] = []

    @client.feature(types.WORKSPACE_APPLY_EDIT)
    def apply(params: types.ApplyWorkspaceEditParams) -> types.ApplyWorkspaceEditResult:
        applied.append(params)
        return types.ApplyWorkspaceEditResult(applied=True)

    result = await command(client, "infill.fillAllHoles", {"uri": uri})
    assert (result["applied"], result["filled"]) == (True, 2)
    [edit] = [params.edit for params in applied]
    workspace = client.capabilities.workspace
    assert workspace is not None
    assert workspace.workspace_edit is not None
    if workspace.workspace_edit.document_changes:
        [change] = edit.document_changes or []
        assert isinstance(change, types.TextDocumentEdit)
        assert change.text_document.version == 1
        assert [e.new_text for e in change.edits if isinstance(e, types.TextEdit)] == ["1", "1"]
    else:
        assert [e.new_text for e in (edit.changes or {})[uri]] == ["1", "1"]


async def test_a_code_action_is_offered_and_resolved(client: LanguageClient) -> None:
    uri = open_document(client, "x = ___\n")
    at = types.Position(line=0, character=5)
    params = types.CodeActionParams(
        text_document=types.TextDocumentIdentifier(uri=uri),
        range=types.Range(start=at, end=at),
        context=types.CodeActionContext(diagnostics=[]),
    )
    found = await asyncio.wait_for(client.text_document_code_action_async(params), TIMEOUT_S)
    [action] = found or []
    assert isinstance(action, types.CodeAction)
    assert action.edit is None
    resolved = await asyncio.wait_for(client.code_action_resolve_async(action), TIMEOUT_S)
    assert resolved.edit is not None


async def test_the_popup_has_it_where_there_is_no_ghost_text(client: LanguageClient) -> None:
    document = client.capabilities.text_document
    assert document is not None
    uri = open_document(client, "x = \n")
    params = types.CompletionParams(
        text_document=types.TextDocumentIdentifier(uri=uri), position=types.Position(line=0, character=4)
    )
    if document.inline_completion is not None:
        with pytest.raises(Exception, match="Method Not Found"):
            await asyncio.wait_for(client.text_document_completion_async(params), TIMEOUT_S)
        return
    answer = await asyncio.wait_for(client.text_document_completion_async(params), TIMEOUT_S)
    assert isinstance(answer, types.CompletionList)
    [item] = answer.items
    assert isinstance(item.text_edit, types.TextEdit)
    assert item.text_edit.new_text.endswith("1")
    resolved = await asyncio.wait_for(client.completion_item_resolve_async(item), TIMEOUT_S)
    documentation = resolved.documentation
    assert documentation is not None
    shown = documentation if isinstance(documentation, str) else documentation.value
    assert "+x = 1" in shown
    assert isinstance(documentation, str) or ("```" in shown) == (documentation.kind == "markdown")
