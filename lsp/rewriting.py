"""The code actions that write: a selection anew, the hole at the cursor, all holes of the file."""

from __future__ import annotations

import threading

from lsprotocol import types

from lsp.actions import Place, disabled, tag_generated
from lsp.convert import offset_of
from lsp.documents import OpenDocument
from lsp.holes import Edit, fill_markers, rewrite
from lsp.session import InfillServer
from lsp.snapshot import Empty

_TITLES = {
    "rewrite": "Rewrite the selection with Infill",
    "fill": "Fill this hole with Infill",
    "all": "Fill all holes of this file with Infill",
}


class Rewriting:
    """Offers `refactor.rewrite` where there is a selection or a marker; see `lsp.actions.Provider`."""

    name = "rewriting"
    kinds = (types.CodeActionKind.RefactorRewrite.value,)

    def offer(
        self, server: InfillServer, document: OpenDocument, params: types.CodeActionParams
    ) -> list[types.CodeAction]:
        """The actions for a range, without edits."""
        encoding = server.documents.encoding
        start = offset_of(document.lines, params.range.start, encoding)
        end = offset_of(document.lines, params.range.end, encoding)
        actions = []
        if document.document.text[start:end].strip():
            actions.append(self._action(server, document, "rewrite", start, end))
        if markers := document.markers(start, end):
            actions.append(self._action(server, document, "fill", markers[0].start, markers[0].end))
            if len(document.markers()) > 1:
                actions.append(self._action(server, document, "all", 0, len(document.document.text)))
        return actions

    async def resolve(
        self, server: InfillServer, action: types.CodeAction, place: Place, cancelled: threading.Event
    ) -> types.CodeAction:
        """The action with its edit, or why there is none."""
        document = server.documents.get(place.uri)
        if document is None:
            return disabled(action, "the document is not open")
        found = await self._find(server, document, place)
        if isinstance(found, Empty):
            return disabled(action, found.reason)
        action.edit = found.edit
        return action

    async def _find(self, server: InfillServer, document: OpenDocument, place: Place) -> Edit | Empty:
        mode = (place.more or {}).get("mode")
        if mode == "rewrite":
            return await rewrite(server, document, place.start, place.end)
        return await fill_markers(server, document, document.markers(place.start, place.end))

    def _action(
        self, server: InfillServer, document: OpenDocument, mode: str, start: int, end: int
    ) -> types.CodeAction:
        place = Place(
            provider=self.name,
            uri=document.uri,
            version=document.version,
            start=start,
            end=end,
            more={"mode": mode},
        )
        action = types.CodeAction(
            title=_TITLES[mode], kind=types.CodeActionKind.RefactorRewrite, data=place.data()
        )
        return tag_generated(action, server)
