"""Brackets and quotes as a language sees them: those inside strings and comments do not count.

With a tree they are its leaves; without one a lexical guess takes their place. Pure functions on `Mark`s
do the counting.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property

from infill.code.document import Document

_PAIRS = {")": "(", "]": "[", "}": "{", "string_end": "string_start"}
_OPENERS = frozenset(_PAIRS.values())
_GUESS = re.compile(
    r"""(?P<skip>"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*')|(?P<bracket>[()\[\]{}])""",
)
_MAYBE = re.compile(r"""[()\[\]{}"'`]|/\*""")  # what a mark begins with
_LOOK_AROUND = 4000  # code points on either side of a hole that a bracket may find its partner in


@dataclass(frozen=True, slots=True)
class Mark:
    """A bracket or a quote: `kind` is a bracket, a quote, `string_start`, `string_end` or `comment`.

    A comment is no bracket, but where it reaches over a line's end, that end is none of the code's.
    """

    start: int
    end: int
    kind: str


def marks(document: Document, start: int, end: int) -> list[Mark]:
    """The marks between two offsets, in order."""
    if not document.is_read(start, end):
        return list(_guess(document.text, start, end))
    found = []
    for leaf in document.leaves(start, end):
        kind = _kind(leaf.kind, document.language)
        if kind and (leaf.start >= start or kind == "comment"):
            found.append(Mark(leaf.start, leaf.end, kind))
    return found


def inserted_marks(document: Document, start: int, end: int, new: str) -> list[Mark]:
    """The marks of `new` in the place of `start` to `end`, in offsets of `new`."""
    if not _MAYBE.search(new):
        return []
    found = marks(document.filled(start, end, new), start, start + len(new))
    return [Mark(max(0, mark.start - start), mark.end - start, mark.kind) for mark in found]


def mismatches(of: Iterable[Mark]) -> int:
    """How many marks have no partner."""
    pending: list[str] = []
    alone = 0
    for mark in of:
        alone += _step(pending, mark.kind)
    return alone + len(pending)


def unmatched_closers(of: Iterable[Mark]) -> Iterator[Mark]:
    """The closing brackets whose opening one lies before the first mark. Quotes do not count."""
    pending: list[str] = []
    for mark in of:
        if mark.kind in "()[]{}" and _step(pending, mark.kind):
            yield mark


def is_open(of: Iterable[Mark], offset: int) -> bool:
    """Whether a bracket, a string or a comment among the marks is still open at `offset`."""
    pending: list[str] = []
    for mark in of:
        if mark.end > offset:
            return bool(pending) or mark.start < offset
        _step(pending, mark.kind)
    return bool(pending)


class Balance:
    """How many marks more (or, below 0, fewer) lack a partner once `start` to `end` is replaced by a text.

    Text that is balanced in itself changes nothing, whatever an unfinished surrounding looks like. Each text
    is looked at once.
    """

    def __init__(self, document: Document, start: int, end: int) -> None:
        self._document, self._start, self._end = document, start, end
        self._left = max(0, start - _LOOK_AROUND)
        self._right = len(document.text) - min(len(document.text), end + _LOOK_AROUND)
        self._known: dict[str, int] = {}

    def __call__(self, new: str) -> int:
        """The number for `new`."""
        if new not in self._known:
            self._known[new] = self._of(new)
        return self._known[new]

    def _of(self, new: str) -> int:
        start, end = self._start, self._end
        if start == end and not _MAYBE.search(new):
            return 0
        filled = self._document.filled(start, end, new)
        if start == end and mismatches(marks(filled, start, start + len(new))) == 0:
            return 0
        return self._around(filled) - self._before

    @cached_property
    def _before(self) -> int:
        return self._around(self._document)

    def _around(self, document: Document) -> int:
        return mismatches(marks(document, self._left, len(document.text) - self._right))


def _step(pending: list[str], kind: str) -> int:
    """Take one mark onto the stack of those still open; 1 if it closes nothing, else 0."""
    if kind == "comment":
        return 0
    if kind in _PAIRS:
        if pending and pending[-1] == _PAIRS[kind]:
            pending.pop()
            return 0
        return 1
    if kind not in _OPENERS and pending and pending[-1] == kind:
        pending.pop()
    else:
        pending.append(kind)
    return 0


def _kind(leaf: str, language: str) -> str:
    """The mark a leaf is, "" if none."""
    if leaf in _PAIRS or leaf in _OPENERS:
        return leaf
    if leaf == "${":
        return "{"
    if "comment" in leaf:
        return "comment"
    if leaf.endswith(('"', "`")) and len(leaf) <= 4:  # `L"`, `u8"`, `R"` open what `"` closes
        return leaf[-1]
    if leaf.endswith("'") and len(leaf) <= 3 and language != "rust":  # there it begins a lifetime
        return "'"
    return ""


def _guess(text: str, start: int, end: int) -> Iterator[Mark]:
    for match in _GUESS.finditer(text, start, end):
        if match.lastgroup == "bracket":
            yield Mark(match.start(), match.end(), match.group())
