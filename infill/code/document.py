"""A text with a parse tree that is kept up to date edit by edit.

Offsets are code points from 0. A long text is parsed in sections (`infill.code.sections`), so that a
keystroke costs the same in a file of fifty thousand lines as in one of five hundred. It knows no cursor, no
hole and no editor.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator
from operator import sub

from tree_sitter import Tree

from infill.code.languages import LANGUAGES
from infill.code.section import Edit, Leaf, Section, Span
from infill.code.sections import SPLIT_CHARS, bounds_of, edited, parts

__all__ = ["Document", "Leaf", "Span"]

_FILLED_BUDGET_S = 0.15  # for a text that is only looked at once
_FILLS = 16  # that are kept: several questions are asked of each


class Document:
    """A text in a language; one without a grammar simply has no tree.

    One thread edits it. A request on another thread works on a `snapshot`; what either of them has parsed
    the other need not parse again.

    In a text of several sections a fault is one of its section's: an unclosed bracket does not reach the
    sections below, which are read as they were.
    """

    def __init__(self, text: str, language: str) -> None:
        self._text = text
        self._language = language
        self._whole: Tree | None = None
        self._fills: dict[Edit, Document] = {}
        self._take((Section(text=text, language=language),))

    @property
    def text(self) -> str:
        """The whole text."""
        return self._text

    @property
    def language(self) -> str:
        """The LSP language id."""
        return self._language

    @property
    def tree(self) -> Tree | None:
        """The parse tree of the whole text; None without a grammar or if parsing takes too long.

        A long text is parsed anew for it: who asks on a request's path wants the methods below.
        """
        if len(self._sections) == 1:
            return self._sections[0].tree
        if self._whole is None:
            self._whole = Section(text=self._text, language=self._language).tree
        return self._whole

    def is_read(self, start: int, end: int) -> bool:
        """Whether there is a tree from `start` to `end`."""
        return self._language in LANGUAGES and all(s.tree is not None for _, s in self._within(start, end))

    def edit(self, start: int, end: int, new: str) -> None:
        """Replace the code points `start` to `end` by `new`.

        Raises:
            ValueError: the range does not lie within the text.
        """
        self._edit(Edit(start, end, new), None)

    def set_text(self, text: str) -> None:
        """Take a whole new text; what it has in common with the old one at both ends is not parsed again."""
        shorter = min(len(text), len(self._text))
        head = _common(shorter, lambda n: text[:n] == self._text[:n])
        tail = _common(shorter - head, lambda n: text[len(text) - n :] == self._text[len(self._text) - n :])
        if head < max(len(text), len(self._text)):
            self.edit(head, len(self._text) - tail, text[head : len(text) - tail])
        self._take(tuple(section.forgiven() for section in self._sections))

    def snapshot(self) -> Document:
        """The document as it is now, for another thread; later edits of this one do not reach it."""
        self._settle()
        twin = Document.__new__(Document)
        twin._text, twin._language, twin._whole = self._text, self._language, self._whole
        twin._sections, twin._starts, twin._long = self._sections, self._starts, self._long
        twin._fills = {}
        return twin

    def filled(self, start: int, end: int, new: str) -> Document:
        """A copy in which `start` to `end` is replaced by `new`; parsing it is given less time.

        What has been parsed of the last few is not parsed again.
        """
        head = _common(min(end - start, len(new)), lambda n: self._text.startswith(new[:n], start))
        edit = Edit(start + head, end, new[head:])
        if edit not in self._fills:
            while len(self._fills) >= _FILLS:
                self._fills.pop(next(iter(self._fills)), None)
            twin = self.snapshot()
            twin._edit(edit, _FILLED_BUDGET_S)
            self._fills[edit] = twin
        return self._fills[edit].snapshot()

    def leaves(self, start: int, end: int) -> Iterator[Leaf]:
        """The leaves that overlap `start` to `end`, in order; none without a tree."""
        for base, section in self._within(start, end):
            for leaf in section.leaves(max(0, start - base), min(len(section.text), end - base)):
                yield Leaf(base + leaf.start, base + leaf.end, leaf.kind, leaf.node) if base else leaf

    def trees(self) -> Iterator[tuple[str, Tree]]:
        """The text and the tree of each section in order, parsed as they are asked for."""
        at = 0
        while True:
            _, section = self._within(at, at)[0]
            if (tree := section.tree) is not None:
                yield section.text, tree
            at += len(section.text)
            if at >= len(self._text):
                return

    def faults(self, start: int = 0, end: int | None = None) -> list[Span]:
        """What the parser could not read or made up, in order, outermost only; none without a tree.

        With a range, that of the sections it overlaps: elsewhere an edit within it changes nothing.
        """
        within = self._within(start, len(self._text) if end is None else end)
        return [_moved(fault, base) for base, section in within for fault in section.faults()]

    def enclosing(self, start: int, end: int) -> list[Span]:
        """The named nodes that contain `start` to `end`, the smallest first; none without a tree."""
        within = self._within(start, end)
        base, section = within[0]
        if len(self._sections) == 1:
            return section.enclosing(start, end)
        spans = section.enclosing(start - base, min(end - base, len(section.text)))
        inner = spans[:-1] if len(within) == 1 else []
        return [_moved(span, base) for span in inner] + [
            Span(0, len(self._text), span.kind) for span in spans[-1:]
        ]

    def _edit(self, edit: Edit, budget_s: float | None) -> None:
        start, end, length = edit.start, edit.end, len(self._text)
        if not 0 <= start <= end <= length:
            raise ValueError(f"edit of {start} to {end} in a text of {length} characters")
        self._settle()
        self._take(edited(self._sections, self._starts, edit, budget_s))
        self._text = "".join([section.text for section in self._sections])
        self._whole, self._fills = None, {}

    def _within(self, start: int, end: int) -> list[tuple[int, Section]]:
        """Where the sections begin that a range overlaps, at least the one it begins in, and these."""
        while True:
            first = max(0, bisect_right(self._starts, start) - 1)
            last = max(first + 1, bisect_left(self._starts, end))
            found = [(self._starts[at], self._sections[at]) for at in range(first, last)]
            for _, section in found:
                if len(section.text) > SPLIT_CHARS and section.tree is not None and len(parts(section)) > 1:
                    break
            else:
                return found
            self._settle()

    def _settle(self) -> None:
        """Cut what has become known to be better parsed in parts."""
        if self._long:
            self._take(tuple(part for section in self._sections for part in parts(section)))

    def _take(self, sections: tuple[Section, ...]) -> None:
        self._sections = sections
        bounds = bounds_of(sections)
        self._starts = bounds[:-1]
        self._long = max(map(sub, bounds[1:], bounds)) > SPLIT_CHARS


def _moved(span: Span, base: int) -> Span:
    return Span(base + span.start, base + span.end, span.kind, span.missing) if base else span


def _common(limit: int, equal: Callable[[int], bool]) -> int:
    """The greatest n up to `limit` for which `equal(n)`; comparing slices is quicker than characters."""
    low, high = 0, limit
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if equal(middle) else (low, middle - 1)
    return low
