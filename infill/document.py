"""A text with a parse tree that is kept up to date edit by edit.

Offsets are code points from 0; bytes and rows stay in here. It knows no cursor, no hole and no editor.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from tree_sitter import Node, Tree

from infill.syntax import grammar, leaves, parse
from infill.utf8 import Utf8Index, encode

_PARSE_BUDGET_S = 1.0  # beyond it the document is plain text, see `_Failure`
_FILLED_BUDGET_S = 0.15  # for a document that is only looked at once
_RETRY_EDITS = 50  # after how many edits a parse that took too long is tried again, the first time
_RETRY_SHARE = 0.75  # how much of the text may be left for it to be tried again at once
_REPLAYED_EDITS = 256  # how far a snapshot may lag behind and still hand its tree back


class _InputEdit(NamedTuple):
    """What `Tree.edit` takes."""

    start_byte: int
    old_end_byte: int
    new_end_byte: int
    start_point: tuple[int, int]
    old_end_point: tuple[int, int]
    new_end_point: tuple[int, int]


@dataclass(frozen=True, slots=True)
class Leaf:
    """A leaf of the tree, in code points; `kind` and `parent` are the grammar's names.

    `node` is for who needs the tree around it, whose offsets are bytes.
    """

    start: int
    end: int
    kind: str
    node: Node

    @property
    def parent(self) -> str:
        """Looked up only when asked for: it takes as long as the leaf lies deep."""
        parent = self.node.parent
        return parent.type if parent is not None else ""


@dataclass(frozen=True, slots=True)
class _Failure:
    """A parse of `chars` code points that took too long, at the document's `version`.

    An editor that sends edits only would never let the document recover, so the parse is tried again after
    `edits` edits, twice as many each time; or once the text is much shorter, as when a paste is undone.
    """

    version: int
    chars: int
    edits: int

    def is_over(self, version: int, chars: int) -> bool:
        return version >= self.version + self.edits or chars <= _RETRY_SHARE * self.chars


class Document:
    """A text in a language; one without a grammar simply has no tree.

    One thread edits it. A request on another thread works on a `snapshot`, which hands its tree back so
    that the next one parses only what changed.
    """

    def __init__(self, text: str, language: str) -> None:
        self._text = text
        self._language = language
        self._index = Utf8Index(text)
        self._source: bytes | None = None
        self._tree: Tree | None = None
        self._stale = True  # whether the tree, edited to fit, has yet to be parsed again
        self._failure: _Failure | None = None
        self._budget_s = _PARSE_BUDGET_S
        self._version = 0
        self._replaced_at = 0  # the version `set_text` last brought
        self._edits: deque[tuple[int, _InputEdit]] = deque(maxlen=_REPLAYED_EDITS)
        self._origin: Document | None = None
        self._lock = threading.Lock()

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
        """The parse tree of the text as it is now; None without a grammar or if parsing takes too long."""
        rules = grammar(self._language)
        if rules is None:
            return None
        with self._lock:
            if self._failure is not None and not self._failure.is_over(self._version, len(self._text)):
                return None
            if self._stale:
                if self._source is None:
                    self._source = encode(self._text)
                self._tree = parse(rules, self._source, self._tree, self._budget_s)
                self._stale = False
                self._failure = self._failed() if self._tree is None else None
                if self._origin is not None:
                    self._origin._adopt(self._tree, self._version, self._failure)
            return self._tree

    def edit(self, start: int, end: int, new: str) -> None:
        """Replace the code points `start` to `end` by `new`.

        Raises:
            ValueError: the range does not lie within the text.
        """
        if not 0 <= start <= end <= len(self._text):
            raise ValueError(f"edit of {start} to {end} in a text of {len(self._text)} characters")
        with self._lock:
            start_byte, old_end_byte = self._index.byte(start), self._index.byte(end)
            start_point, old_end_point = self._index.point(start), self._index.point(end)
            encoded = encode(new)
            if self._source is not None:
                self._source = self._source[:start_byte] + encoded + self._source[old_end_byte:]
            self._text = self._text[:start] + new + self._text[end:]
            self._index.replace(self._text, start)
            change = _InputEdit(
                start_byte,
                old_end_byte,
                start_byte + len(encoded),
                start_point,
                old_end_point,
                self._index.point(start + len(new)),
            )
            if self._tree is not None:
                self._tree.edit(*change)
            self._stale = True
            self._version += 1
            self._edits.append((self._version, change))

    def set_text(self, text: str) -> None:
        """Take a whole new text; what it has in common with the old one at both ends is not parsed again."""
        shorter = min(len(text), len(self._text))
        head = _common(shorter, lambda n: text[:n] == self._text[:n])
        tail = _common(shorter - head, lambda n: text[len(text) - n :] == self._text[len(self._text) - n :])
        if head < max(len(text), len(self._text)):
            self.edit(head, len(self._text) - tail, text[head : len(text) - tail])
        self._failure, self._replaced_at = None, self._version

    def snapshot(self) -> Document:
        """The document as it is now, for another thread; later edits of this one do not reach it."""
        with self._lock:
            twin = self._twin()
        twin._origin = self
        return twin

    def filled(self, start: int, end: int, new: str) -> Document:
        """A copy in which `start` to `end` is replaced by `new`; parsing it is given less time."""
        twin = self._twin()
        twin._budget_s = _FILLED_BUDGET_S
        twin.edit(start, end, new)
        return twin

    def leaves(self, start: int, end: int) -> Iterator[Leaf]:
        """The leaves that overlap `start` to `end`, in order; none without a tree."""
        tree = self.tree
        if tree is None:
            return
        for node in leaves(tree, self._index.byte(start), self._index.byte(end)):
            yield Leaf(
                self._index.offset(node.start_byte),
                self._index.offset(node.end_byte),
                node.type,
                node,
            )

    def _twin(self) -> Document:
        twin = Document(self._text, self._language)
        twin._index = self._index.copy()
        twin._source = self._source
        twin._tree = self._tree.copy() if self._tree is not None else None
        twin._stale, twin._failure, twin._version = self._stale, self._failure, self._version
        return twin

    def _failed(self) -> _Failure:
        edits = _RETRY_EDITS if self._failure is None else 2 * self._failure.edits
        return _Failure(self._version, len(self._text), edits)

    def _adopt(self, tree: Tree | None, version: int, failure: _Failure | None) -> None:
        """Take over the tree a snapshot of `version` parsed, brought up to date with the edits since.

        Or that there is none, unless the text is a wholly different one by now.
        """
        with self._lock:
            since = [change for number, change in self._edits if number > version]
            if not self._stale or version < self._replaced_at:
                return
            self._failure = failure
            if tree is None or len(since) != self._version - version:
                return
            self._tree = tree.copy()
            for change in since:
                self._tree.edit(*change)
            self._stale = bool(since)


def _common(limit: int, equal: Callable[[int], bool]) -> int:
    """The greatest n up to `limit` for which `equal(n)`; comparing slices is quicker than characters."""
    low, high = 0, limit
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if equal(middle) else (low, middle - 1)
    return low
