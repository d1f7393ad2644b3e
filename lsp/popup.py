"""The popup's entry for a suggestion, for editors that show no ghost text.

One entry at most, behind those of every other server, and never one that waits: what is not there in time is
there for the next keystroke.
"""

from __future__ import annotations

from lsprotocol import types

from infill.code.lines import line_end, line_start, with_line_feeds
from infill.request import Suggestion
from lsp.convert import inline_item
from lsp.offers import command_for
from lsp.session import InfillServer
from lsp.snapshot import Asked, in_cell

_LONGEST_LABEL = 60
_LAST = "\uffff"
"""Sorts behind what other servers put in; a popup that sorts by likeness to what is typed may still not."""


def is_wanted(server: InfillServer) -> bool:
    """Whether suggestions go into the popup: by the setting, or because there is no ghost text."""
    popup = server.settings.popup
    document = server.client_capabilities.text_document
    return popup == "always" or (popup == "auto" and (document is None or document.inline_completion is None))


def popup_item(server: InfillServer, asked: Asked, suggestion: Suggestion) -> types.CompletionItem | None:
    """The entry for a suggestion, without its documentation; None if it would replace several lines."""
    own = in_cell(asked, suggestion)
    inline = inline_item(own, asked.opened.lines, server.documents.encoding) if own is not None else None
    if inline is None or inline.range is None:
        return None
    text = with_line_feeds(suggestion.text)
    first, more, _ = text.partition("\n")
    label = first.strip()[:_LONGEST_LABEL] or text.strip().partition("\n")[0][:_LONGEST_LABEL]
    name = server.offers.add(asked, suggestion)
    return types.CompletionItem(
        label=label + (" …" if more else ""),
        label_details=types.CompletionItemLabelDetails(description="Infill"),
        kind=types.CompletionItemKind.Text,
        detail=f"Infill, {suggestion.confidence:.0%} sure",
        sort_text=_LAST,
        # What the editor compares with what stands in the range, while more of it is typed.
        filter_text=first,
        insert_text_format=types.InsertTextFormat.PlainText,
        insert_text_mode=_as_is(server),
        text_edit=types.TextEdit(range=inline.range, new_text=text),
        command=command_for(name),
        data={"uri": asked.opened.uri, "id": name},
    )


def _as_is(server: InfillServer) -> types.InsertTextMode | None:
    """What has an editor leave further lines as they are, indented already; None if it knows no such mode."""
    completion = getattr(server.client_capabilities.text_document, "completion", None)
    item = completion.completion_item if completion is not None else None
    support = item.insert_text_mode_support if item is not None else None
    known = support is not None and types.InsertTextMode.AsIs in support.value_set
    return types.InsertTextMode.AsIs if known else None


def preview(asked: Asked, suggestion: Suggestion) -> str:
    """The lines a suggestion touches, before and after, as a diff."""
    text = asked.document.text
    begin, end = line_start(text, suggestion.start), line_end(text, suggestion.end)
    before = with_line_feeds(text[begin:end])
    after = with_line_feeds(text[begin : suggestion.start] + suggestion.text + text[suggestion.end : end])
    removed = [f"-{line}" for line in before.split("\n") if line.strip()]
    added = [f"+{line}" for line in after.split("\n")]
    return "\n".join([*removed, *added])


def fenced(diff: str) -> str:
    """A diff as Markdown."""
    fence = "`" * max(3, _longest_run(diff) + 1)
    return f"{fence}diff\n{diff}\n{fence}"


def _longest_run(text: str) -> int:
    """The longest run of backticks."""
    longest = run = 0
    for char in text:
        run = run + 1 if char == "`" else 0
        longest = max(longest, run)
    return longest
