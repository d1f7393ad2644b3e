"""Between the protocol's types and ours: positions, changes, items.

It computes nothing about code: what to insert is decided before, here only where and in which units.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from lsprotocol import types

from infill.code.lines import with_line_feeds
from infill.request import Suggestion
from lsp.documents import Change, OpenDocument
from lsp.lines import Encoding, Lines


def changes_of(events: Iterable[types.TextDocumentContentChangeEvent]) -> list[Change]:
    """The changes of a `textDocument/didChange`."""
    return [
        Change(text=event.text, start=_pair(event.range.start), end=_pair(event.range.end))
        if isinstance(event, types.TextDocumentContentChangePartial)
        else Change(text=event.text)
        for event in events
    ]


def _pair(position: types.Position) -> tuple[int, int]:
    return position.line, position.character


def offset_of(lines: Lines, position: types.Position, encoding: Encoding) -> int:
    """The offset of a position, clamped to the text."""
    return lines.offset(position.line, position.character, encoding)


def range_of(lines: Lines, start: int, end: int, encoding: Encoding) -> types.Range:
    """The range between two offsets."""
    first, last = lines.position(start, encoding), lines.position(end, encoding)
    return types.Range(start=types.Position(*first), end=types.Position(*last))


@dataclass(frozen=True, kw_only=True)
class Selected:
    """The entry selected in the editor's popup, taken as if it had been accepted already.

    It replaces `start` to `end` (offsets in the real text) by `text`.
    """

    start: int
    end: int
    text: str


@dataclass(frozen=True, kw_only=True)
class Replacement:
    """The code points `start` to `end` become `text`."""

    start: int
    end: int
    text: str


def workspace_edit(
    opened: OpenDocument, replacements: Iterable[Replacement], encoding: Encoding, *, versioned: bool = True
) -> types.WorkspaceEdit:
    """One edit of one open document, tied to the version it was made for.

    Not `versioned` for a client that knows no `documentChanges`. The replacements are in offsets of the
    document as it is now and do not overlap.
    """
    edits = [
        types.TextEdit(range=range_of(opened.lines, r.start, r.end, encoding), new_text=r.text)
        for r in replacements
    ]
    if not versioned:
        return types.WorkspaceEdit(changes={opened.uri: edits})
    document = types.OptionalVersionedTextDocumentIdentifier(uri=opened.uri, version=opened.version)
    return types.WorkspaceEdit(
        document_changes=[types.TextDocumentEdit(text_document=document, edits=list(edits))]
    )


def inline_item(
    suggestion: Suggestion, lines: Lines, encoding: Encoding, selected: Selected | None = None
) -> types.InlineCompletionItem | None:
    """The item for a suggestion; None if it would replace more than one line, which the protocol forbids.

    `lines` are those of the real text. With `selected` the suggestion is about the text in which that is
    accepted; the item brings it along, since the editor has not inserted it.
    """
    start, end, text = suggestion.start, suggestion.end, suggestion.text
    if selected is not None:
        accepted_end = selected.start + len(selected.text)
        if end < accepted_end:
            return None
        end += selected.end - accepted_end
        if start > selected.start:
            text = selected.text[: start - selected.start] + text
            start = selected.start
    where = range_of(lines, start, end, encoding)
    if where.start.line != where.end.line:
        return None
    # Editors put in their buffer's own line endings; some show a stray \r.
    return types.InlineCompletionItem(insert_text=with_line_feeds(text), range=where)
