"""A request and the text it is about, as they were when it came; later edits do not reach them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from lsprotocol import types

from infill.code.document import Document
from infill.request import Suggestion
from lsp.convert import Selected, offset_of
from lsp.documents import OpenDocument
from lsp.notebooks import in_notebook

if TYPE_CHECKING:
    from lsp.session import InfillServer


@dataclass(frozen=True, kw_only=True)
class Empty:
    """There is nothing to suggest, and why; `text` is what was turned down, if anything was."""

    reason: str
    text: str = ""


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What is asked for, in a text that no longer changes; with `selected` taken as accepted.

    `invoked` tells that somebody asked with a key, `deleted` that the last edit only took something away.
    `document` and `offset` are those of a whole notebook where the text is one of its cells, which begins at
    `base`.
    """

    opened: OpenDocument
    revision: int
    version: int
    document: Document
    offset: int
    selected: Selected | None = None
    invoked: bool = False
    deleted: bool = False
    base: int = 0

    def is_current(self, server: InfillServer) -> bool:
        """Whether the text is still the one that was asked about."""
        return server.documents.is_current(self.opened, self.revision)


STALE = Empty(reason="the text changed meanwhile")
SUPERSEDED = Empty(reason="a newer request replaced this one")
CANCELLED = Empty(reason="cancelled by the client")
OVERTAKEN = (STALE, SUPERSEDED, CANCELLED)
"""What happens all the time while somebody types: for the log, and no reason for anybody who looks up."""


def snapshot(
    server: InfillServer,
    uri: str,
    position: types.Position,
    *,
    invoked: bool,
    selected: types.SelectedCompletionInfo | None = None,
) -> Asked | Empty:
    """Everything a request depends on, before anything is awaited."""
    if (why := server.why_not(uri)) is not None:
        return Empty(reason=why)
    opened = server.documents.get(uri)
    if opened is None:
        return Empty(reason="the document is not open")
    offset = offset_of(opened.lines, position, server.documents.encoding)
    asked = Asked(
        opened=opened,
        revision=opened.revision,
        version=opened.version,
        document=opened.document.snapshot(),
        offset=offset,
        invoked=invoked,
        deleted=opened.deleted,
    )
    if selected is not None:
        with_selected = _with_selected(server, asked, selected)
        if isinstance(with_selected, Empty):
            return with_selected
        asked = with_selected
    return _in_notebook(server, asked)


def in_cell(asked: Asked, suggestion: Suggestion) -> Suggestion | None:
    """A suggestion in the offsets of the text that was asked about; None if it begins in the cell above."""
    if suggestion.start < asked.base:
        return None
    return replace(suggestion, start=suggestion.start - asked.base, end=suggestion.end - asked.base)


def _in_notebook(server: InfillServer, asked: Asked) -> Asked:
    """The request in the text of all cells, if it is about one of a notebook's."""
    around = server.notebooks.around(asked.opened.uri, asked.document.language, server.documents)
    base = len(around[0])
    return replace(asked, document=in_notebook(asked.document, around), offset=base + asked.offset, base=base)


def _with_selected(server: InfillServer, asked: Asked, info: types.SelectedCompletionInfo) -> Asked | Empty:
    """The request as if the popup's selected entry had been accepted."""
    encoding, lines = server.documents.encoding, asked.opened.lines
    selected = Selected(
        start=offset_of(lines, info.range.start, encoding),
        end=offset_of(lines, info.range.end, encoding),
        text=info.text,
    )
    if not selected.start <= asked.offset <= selected.end:
        return Empty(reason="the entry selected in the popup is not at the cursor")
    return Asked(
        opened=asked.opened,
        revision=asked.revision,
        version=asked.version,
        document=asked.document.filled(selected.start, selected.end, selected.text),
        offset=selected.start + len(selected.text),
        selected=selected,
        invoked=asked.invoked,
        deleted=asked.deleted,
    )
