"""Which snippets a prompt is given: as many as there is room for, and none that it shows already.

It does not gather them (`infill.workspace.gather`) and trusts their order.
"""

from __future__ import annotations

from collections.abc import Iterable

from engine.request import Snippet
from infill.code.lines import with_line_feeds

_SHOWN_SHARE = 0.8  # of its lines, for a snippet to be one the prompt shows already
_LEAST_LINE_CHARS = 3  # what is shorter, a bracket say, is shown everywhere


def select(snippets: Iterable[Snippet], shown: str, budget_chars: int) -> tuple[Snippet, ...]:
    """The snippets that add something to the text `shown`, in order, within `budget_chars`.

    One that is too long for what is left is passed over for a shorter one.
    """
    seen = {line.strip() for line in shown.split("\n")}
    kept: list[Snippet] = []
    for snippet in snippets if budget_chars > 0 else ():
        text = with_line_feeds(snippet.text).strip("\n")
        lines = {line.strip() for line in text.split("\n") if len(line.strip()) >= _LEAST_LINE_CHARS}
        cost = size(Snippet(path=snippet.path, text=text))
        if cost > budget_chars or not lines or len(lines & seen) >= _SHOWN_SHARE * len(lines):
            continue
        budget_chars -= cost
        seen |= lines
        kept.append(Snippet(path=snippet.path, text=text))
    return tuple(kept)


def size(snippet: Snippet) -> int:
    """The characters a snippet takes of a budget: its text, the name of its file, and a line end for each."""
    return len(snippet.text) + len(snippet.path) + 2
