"""`textDocument/completion` and `completionItem/resolve`: the suggestion as an entry of the popup.

Only for editors without ghost text, or where a setting says so.
"""

from __future__ import annotations

from lsprotocol import types

from lsp.answer import answering
from lsp.early import TRIGGERS
from lsp.popup import fenced, popup_item, preview
from lsp.session import InfillServer
from lsp.snapshot import Empty, snapshot
from lsp.suggest import Work, suggest


def register(server: InfillServer) -> None:
    """Connect both methods to a server; whether they are advertised is seen when the client says hello."""
    options = types.CompletionOptions(
        trigger_characters=list(TRIGGERS),
        resolve_provider=True,
        completion_item=types.ServerCompletionItemOptions(label_details_support=True),
    )

    @server.feature(types.TEXT_DOCUMENT_COMPLETION, options)
    async def completion(params: types.CompletionParams) -> types.CompletionList:
        async def items(work: Work) -> list[types.CompletionItem] | Empty:
            return await _items(server, params, work)

        found = await answering(server, "completion", params.text_document.uri, items)
        # Complete, and the editor would not ask again while the word goes on.
        return types.CompletionList(is_incomplete=True, items=found)

    @server.feature(types.COMPLETION_ITEM_RESOLVE)
    def resolve(item: types.CompletionItem) -> types.CompletionItem:
        name = item.data.get("id") if isinstance(item.data, dict) else None
        offer = server.offers.get(str(name))
        if offer is not None:
            item.documentation = _documentation(server, preview(offer.asked, offer.suggestion))
        return item


def _documentation(server: InfillServer, diff: str) -> types.MarkupContent | str:
    """The preview in a format the client reads: one that names none is given plain text."""
    completion = getattr(server.client_capabilities.text_document, "completion", None)
    item = completion.completion_item if completion is not None else None
    formats = (item.documentation_format if item is not None else None) or ()
    if types.MarkupKind.Markdown in formats:
        return types.MarkupContent(kind=types.MarkupKind.Markdown, value=fenced(diff))
    if types.MarkupKind.PlainText in formats:
        return types.MarkupContent(kind=types.MarkupKind.PlainText, value=diff)
    return diff


async def _items(
    server: InfillServer, params: types.CompletionParams, work: Work
) -> list[types.CompletionItem] | Empty:
    asked = snapshot(server, params.text_document.uri, params.position, invoked=False)
    if isinstance(asked, Empty):
        return asked
    work.version = asked.version
    found = await suggest(server, asked, work, deadline_ms=server.settings.popup_deadline_ms)
    if isinstance(found, Empty):
        return found
    item = popup_item(server, asked, found[0])
    return [item] if item is not None else Empty(reason="it would replace more than one line")
