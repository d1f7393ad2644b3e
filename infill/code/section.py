"""A part of a text with a parse tree of its own: whole statements of the top level, or the whole text.

A section never changes: an edit makes another one, which takes over the tree as soon as either has been
parsed, so a request on another thread may parse one while the user types in the next. Offsets are code
points from the section's start; bytes and rows stay in here. How a text is cut into sections is
`infill.code.sections`' business.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from tree_sitter import Node, Tree

from infill.code.syntax import around, faults, grammar, leaves, parse
from infill.code.utf8 import Utf8Index, encode

PARSE_BUDGET_S = 1.0  # beyond it a section is plain text, see `_Failure`
_RETRY_EDITS = 50  # after how many edits a parse that took too long is tried again, the first time
_RETRY_SHARE = 0.75  # how much of the text may be left for it to be tried again at once
_REPLAYED_EDITS = 256  # how many edits an older section's tree may lag behind and still be of use


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
class Span:
    """A node of the tree, in code points; of one the parser made up (`missing`) the ends are the same."""

    start: int
    end: int
    kind: str
    missing: bool = False


@dataclass(frozen=True, slots=True)
class Edit:
    """The code points `start` to `end` become `new`."""

    start: int
    end: int
    new: str


class _InputEdit(NamedTuple):
    """What `Tree.edit` takes."""

    start_byte: int
    old_end_byte: int
    new_end_byte: int
    start_point: tuple[int, int]
    old_end_point: tuple[int, int]
    new_end_point: tuple[int, int]


@dataclass(frozen=True, slots=True)
class _Failure:
    """A parse of `chars` code points that took too long, after `version` edits.

    An editor that sends edits only would never let the text recover, so the parse is tried again after
    `edits` edits, twice as many each time; or once the text is much shorter, as when a paste is undone.
    """

    version: int
    chars: int
    edits: int

    def is_over(self, version: int, chars: int) -> bool:
        return version >= self.version + self.edits or chars <= _RETRY_SHARE * self.chars


@dataclass(slots=True)
class Parsed:
    """What has become known of a section's text; `parts` is what it was cut into."""

    done: bool = False
    tree: Tree | None = None
    failure: _Failure | None = None
    faults: list[Span] | None = None
    parts: tuple[Section, ...] | None = None


@dataclass(frozen=True, slots=True)
class Step:
    """An edit that led on from an older section, of which `parsed` is known by now."""

    parsed: Parsed
    edit: Edit
    change: _InputEdit


@dataclass(kw_only=True, slots=True, eq=False)
class Section:
    """A text and its tree; one without a grammar simply has none.

    `head` and `tail` are how many code points its first and its last statement take, with what lies
    beyond: an edit there may concern the neighbours. `sound` tells that it is known to have no faults.
    `budget_s` is the processor time a parse may take, `steps` are the edits since a section was parsed.
    """

    text: str
    language: str
    head: int = 0
    tail: int = 0
    sound: bool = False
    budget_s: float = field(default_factory=lambda: PARSE_BUDGET_S)
    steps: tuple[Step, ...] = ()
    parsed: Parsed = field(default_factory=Parsed)
    _index: Utf8Index | None = None
    _version: int = 0
    _failure: _Failure | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def tree(self) -> Tree | None:
        """The tree; None without a grammar or if parsing takes too long."""
        rules = grammar(self.language)
        if rules is None:
            return None
        with self._lock:
            parsed = self.parsed
            if not parsed.done:
                failure = self._last_failure()
                if failure is None or failure.is_over(self._version, len(self.text)):
                    parsed.tree = parse(rules, encode(self.text), self._older_tree(), self.budget_s)
                    failure = self._failed(failure) if parsed.tree is None else None
                parsed.failure, parsed.done = failure, True
            return parsed.tree

    @property
    def index(self) -> Utf8Index:
        """Where its code points lie in its bytes."""
        if self._index is None:
            self._index = Utf8Index(self.text)
        return self._index

    def edited(self, edit: Edit, budget_s: float | None = None) -> Section:
        """The section with an edit made; its parse is given `budget_s`, as much as this one's without."""
        index, encoded = self.index, encode(edit.new)
        text = self.text[: edit.start] + edit.new + self.text[edit.end :]
        start_byte, start_point = index.byte(edit.start), index.point(edit.start)
        old_end_byte, old_end_point = index.byte(edit.end), index.point(edit.end)
        index = index.copy()
        index.replace(text, edit.start)
        change = _InputEdit(
            start_byte,
            old_end_byte,
            start_byte + len(encoded),
            start_point,
            old_end_point,
            index.point(edit.start + len(edit.new)),
        )
        step, known = Step(self.parsed, edit, change), self.parsed.tree is not None
        return Section(
            text=text,
            language=self.language,
            head=self.head,
            tail=self.tail,
            budget_s=self.budget_s if budget_s is None else budget_s,
            steps=(step,) if known else (*self.steps, step)[-_REPLAYED_EDITS:],
            _index=index,
            _version=self._version + 1,
            _failure=self._failure,
        )

    def forgiven(self) -> Section:
        """The section without the memory of parses that took too long; older trees are still of use."""
        if self.parsed.tree is not None:
            return self
        steps = tuple(Step(Parsed(tree=step.parsed.tree), step.edit, step.change) for step in self.steps)
        return Section(
            text=self.text,
            language=self.language,
            head=self.head,
            tail=self.tail,
            budget_s=self.budget_s,
            steps=steps,
            _index=self._index,
        )

    def leaves(self, start: int, end: int) -> Iterator[Leaf]:
        """The leaves that overlap `start` to `end`, in order; none without a tree."""
        tree, index = self.tree, self.index
        if tree is None:
            return
        for node in leaves(tree, index.byte(start), index.byte(end)):
            yield Leaf(index.offset(node.start_byte), index.offset(node.end_byte), node.type, node)

    def faults(self) -> list[Span]:
        """What the parser could not read or made up, in order, outermost only; none without a tree."""
        if self.sound or (tree := self.tree) is None:
            return []
        if self.parsed.faults is None:
            self.parsed.faults = [self._span(node) for node in faults(tree)]
        return self.parsed.faults

    def enclosing(self, start: int, end: int) -> list[Span]:
        """The named nodes that contain `start` to `end`, the smallest first; none without a tree."""
        tree, index = self.tree, self.index
        if tree is None:
            return []
        return [self._span(node) for node in around(tree, index.byte(start), index.byte(end))]

    def _span(self, node: Node) -> Span:
        start, end = self.index.offset(node.start_byte), self.index.offset(node.end_byte)
        return Span(start, end, node.type, node.is_missing)

    def _older_tree(self) -> Tree | None:
        """The tree of the last section that was parsed, moved by the edits since."""
        for at in range(len(self.steps) - 1, -1, -1):
            if (older := self.steps[at].parsed.tree) is not None:
                tree = older.copy()
                for step in self.steps[at:]:
                    tree.edit(*step.change)
                return tree
        return None

    def _last_failure(self) -> _Failure | None:
        for step in reversed(self.steps):
            if step.parsed.done:
                return step.parsed.failure
        return self._failure

    def _failed(self, before: _Failure | None) -> _Failure:
        edits = _RETRY_EDITS if before is None else 2 * before.edits
        return _Failure(self._version, len(self.text), edits)
