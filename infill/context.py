"""What an engine is shown of the text around a hole: the prompt's prefix, suffix and typed characters.

Windows begin and end at structural boundaries and move in blocks, so that the prefix an engine has cached
stays a prefix while the user types. It knows an engine's budget in characters and nothing else of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from engine.request import EngineInfo, Prompt, Snippet
from engine.text.half_typed import typed_before
from infill.code.document import Document
from infill.code.indentation import indent_of, width
from infill.code.lines import line_start, next_line_start, with_line_feeds
from infill.hole import Hole
from infill.snippets import select

_CLOSERS = tuple(")]}")
_STRING_ENDS = ("string_end", "`")  # what ends a string of several lines
_CONTINUATIONS = ("elif ", "else", "except", "finally", "catch", "case ")


@dataclass(frozen=True, kw_only=True)
class Context:
    """A hole's surroundings: the prompt, and the code points of the text its two windows lie between.

    The prompt has bare line feeds whatever the text has. `typed_start` is where in the text begins what
    was typed of the token at the hole.
    """

    prompt: Prompt
    start: int
    end: int
    typed_start: int


def build_context(
    document: Document,
    hole: Hole,
    info: EngineInfo,
    snippets: Sequence[Snippet] = (),
    nearby: tuple[str, ...] = (),
) -> Context:
    """The prompt for a hole and the windows it was cut from, with what `snippets` add to those.

    The texts of `nearby` files go along as they are where the engine has a use for them.
    """
    text = document.text
    typed = typed_before(text, hole.start)
    prefix_end = hole.start - len(typed)
    start = prefix_start(document, prefix_end, info.prefix_chars)
    end = suffix_end(document, hole.end, info.suffix_chars)
    prompt = Prompt(
        prefix=with_line_feeds(text[start:prefix_end]),
        suffix=with_line_feeds(text[hole.end : end]),
        typed=with_line_feeds(typed),
        snippets=select(snippets, with_line_feeds(text[start:end]), info.snippet_chars),
        before=with_line_feeds(text[_far_start(start, info.far_chars) : start]),
        after=with_line_feeds(text[end : end + info.far_chars]),
        nearby=nearby if info.nearby_chars else (),
    )
    return Context(prompt=prompt, start=start, end=end, typed_start=prefix_end)


def prefix_start(document: Document, end: int, budget_chars: int) -> int:
    """Where the window before `end` begins: at most `budget_chars` and, in a long text, at least half.

    It depends on `end` in steps of a quarter of the budget.
    """
    if end <= budget_chars:
        return 0
    block = max(1, budget_chars // 4)
    earliest = -((budget_chars - end) // block) * block  # the first whole block within the budget
    if earliest >= end:
        return end
    return _boundary(document, earliest, min(end, earliest + block)) or earliest


def _far_start(end: int, budget_chars: int) -> int:
    """Where what lies before the prefix begins: in large steps, so that it mostly stays what it was."""
    step = max(1, budget_chars // 4)
    return max(0, -((budget_chars - end) // step) * step)


def suffix_end(document: Document, start: int, budget_chars: int) -> int:
    """Where the window after `start` ends: at most `budget_chars`; in a long text, at least 3/4 of them."""
    latest = start + budget_chars
    if latest >= len(document.text):
        return len(document.text)
    return _boundary(document, max(start + 1, latest - budget_chars // 4), latest) or latest


def _boundary(document: Document, earliest: int, latest: int) -> int | None:
    """The best line start to cut at: a definition's if there is one, else the least indented statement's.

    None if no line starts there.
    """
    text = document.text
    candidates = []
    start = earliest if line_start(text, earliest) == earliest else next_line_start(text, earliest)
    while start is not None and start <= latest:
        indent = indent_of(text, start)
        rest = text[start + len(indent) : start + len(indent) + 8]
        if rest and rest[0] not in "\r\n":
            continues = rest.startswith(_CLOSERS) or rest.startswith(_CONTINUATIONS)
            candidates.append((continues, width(indent), start, start + len(indent)))
        start = next_line_start(text, start)
    for continues, _, start, code in sorted(candidates):
        if continues or _begins_leaf(document, code):
            return start
    return min((start for _, _, start, _ in candidates), default=None)


def _begins_leaf(document: Document, offset: int) -> bool:
    """Whether code begins at `offset`, not the middle of a string or a comment; True without a tree."""
    leaf = next(document.leaves(offset, offset + 1), None)
    return leaf is None or (leaf.start == offset and leaf.kind not in _STRING_ENDS)
