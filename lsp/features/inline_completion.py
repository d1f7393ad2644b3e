"""`textDocument/inlineCompletion`: suggestions for the cursor, or an empty list and a reason.

The answer is always a list, never null, which some editors take for "keep what is shown". Whatever fails
in here fails as an empty list too.
"""

from __future__ import annotations

from lsprotocol import types

from infill.request import Suggestion
from lsp.answer import answering
from lsp.convert import inline_item
from lsp.offers import command_for
from lsp.session import InfillServer
from lsp.snapshot import Asked, Empty, in_cell, snapshot
from lsp.suggest import Work, suggest


def register(server: InfillServer) -> None:
    """Connect the method to a server."""

    @server.feature(types.TEXT_DOCUMENT_INLINE_COMPLETION, types.InlineCompletionOptions())
    async def inline_completion(params: types.InlineCompletionParams) -> types.InlineCompletionList:
        async def items(work: Work) -> list[types.InlineCompletionItem] | Empty:
            return await _items(server, params, work)

        found = await answering(server, "inline completion", params.text_document.uri, items)
        return types.InlineCompletionList(items=found)


async def _items(
    server: InfillServer, params: types.InlineCompletionParams, work: Work
) -> list[types.InlineCompletionItem] | Empty:
    """The path of a request: take a snapshot, find suggestions, convert them."""
    context = params.context
    asked = snapshot(
        server,
        params.text_document.uri,
        params.position,
        invoked=context.trigger_kind is types.InlineCompletionTriggerKind.Invoked,
        selected=context.selected_completion_info,
    )
    if isinstance(asked, Empty):
        return asked
    work.version = asked.version
    found = await suggest(server, asked, work)
    if isinstance(found, Empty):
        return found
    items = [_item(server, asked, suggestion) for suggestion in found]
    kept = [item for item in items if item is not None]
    return kept or Empty(reason="it would change more than the cursor's line", text=found[0].text)


def _item(server: InfillServer, asked: Asked, suggestion: Suggestion) -> types.InlineCompletionItem | None:
    own = in_cell(asked, suggestion)
    if own is None:
        return None
    item = inline_item(own, asked.opened.lines, server.documents.encoding, asked.selected)
    if item is not None:
        item.command = command_for(server.offers.add(asked, suggestion))
    return item
