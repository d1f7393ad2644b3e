"""Chooses holes in a document: where each ends, and up to four places where it may begin.

The mix is that of `MIX`. Holes with one end are nested, so that one encoded prefix serves them all: the
first is drawn from the mix, the others begin where a person might have stopped typing, short ones first.

It does not know about tokens, nor how large a window the model sees.
"""

from __future__ import annotations

import random
import re
from bisect import bisect_left
from collections.abc import Iterator

from tree_sitter import Node, Tree

from engine.training.pack import MAX_HOLES, Cut, Kind

CHARS_PER_CUT = 450
LONGEST_MIDDLE = 400
"""In characters; some 120 tokens of code."""
MIX = {
    Kind.REST_OF_LINE: 0.20,
    Kind.LINE: 0.15,
    Kind.NODE: 0.25,
    Kind.LINES: 0.15,
    Kind.RANDOM: 0.15,
    Kind.EMPTY_SUFFIX: 0.10,
}
PROSE_SHARE = 0.3
"""The share of places in comments and docstrings that is used: people want code filled in, mostly."""
WHOLE_LINE_SHARE = 0.6
"""How often a hole that ends with its line is joined by the hole of the whole line."""
_LINES = [2, 3, 4, 5, 6, 7, 8]
_LINES_WEIGHTS = [30, 22, 16, 12, 8, 7, 5]
_IMPORTS = ("import_statement", "import_from_statement", "future_import_statement")
_WORD = re.compile(r"\w+|[^\w\s]")
_BRACKETS = {"(": ")", "[": "]", "{": "}"}


def cut(text: str, tree: Tree, *, rng: random.Random, chars_per_cut: float = CHARS_PER_CUT) -> list[Cut]:
    """Sample cuts spread evenly over `text`, about one per `chars_per_cut` characters.

    `tree` is the parse of `text` in UTF-8. A cut's first start is the one drawn from the mix.
    """
    document = _Document(text, tree)
    count = int(len(text) / chars_per_cut + rng.random())
    cuts: dict[int, Cut] = {}
    for number in range(count):
        anchor = min(int((number + rng.random()) * len(text) / count), len(text) - 1)
        if document.is_prose(anchor) and rng.random() >= PROSE_SHARE:
            continue
        kind = rng.choices(list(MIX), list(MIX.values()))[0]
        span = document.span(kind, anchor, rng)
        if span is not None and _is_hole(text, *span):
            cuts.setdefault(span[1], document.with_more_starts(kind, *span, rng))
    return [cuts[end] for end in sorted(cuts)]


def without_imports(text: str, tree: Tree) -> str:
    """Drop the import statements above the first definition, as if they were too far away to be seen."""
    source = text.encode()
    kept, begin = [], 0
    for node in tree.root_node.children:
        if node.type in _IMPORTS:
            kept.append(source[begin : node.start_byte])
            begin = node.end_byte
            begin += source[begin : begin + 1] == b"\n"
        elif node.type != "comment" and not (node.children and node.children[0].type == "string"):
            break
    return b"".join([*kept, source[begin:]]).decode()


def _is_hole(text: str, start: int, end: int) -> bool:
    middle = text[start:end]
    return bool(middle.strip()) and len(middle) <= LONGEST_MIDDLE


class _Document:
    """A text with its tree and lines; every offset that leaves it is in code points."""

    def __init__(self, text: str, tree: Tree) -> None:
        self.text = text
        self.tree = tree
        self.lines = [0, *(m.end() for m in re.finditer("\n", text))]
        self.bytes_at: list[int] | None = None
        if not text.isascii():
            self.bytes_at = [0]
            for character in text:
                self.bytes_at.append(self.bytes_at[-1] + len(character.encode()))

    def is_prose(self, offset: int) -> bool:
        """Whether an offset lies in a comment, or in a string that spans lines."""
        at = self._to_byte(offset)
        node = self.tree.root_node.named_descendant_for_byte_range(at, at)
        while node is not None and node.type.startswith(("string_", "escape_")):
            node = node.parent
        if node is None or node.type == "comment":
            return node is not None
        return node.type == "string" and node.start_point.row < node.end_point.row

    def span(self, kind: Kind, anchor: int, rng: random.Random) -> tuple[int, int] | None:
        """A hole of one kind near `anchor`, as (start, end)."""
        if kind is Kind.NODE:
            return self._node(anchor, rng)
        if kind is Kind.RANDOM:
            return anchor, min(anchor + rng.randint(5, 80), len(self.text))
        row = next((r for r in range(self._row(anchor), len(self.lines)) if self._has_text(r)), 0)
        if kind is Kind.LINES or (kind is Kind.EMPTY_SUFFIX and rng.random() < 0.3):
            return self._whole_lines(row, rng)
        start, end = self._line(row)
        if kind is Kind.LINE or (kind is Kind.EMPTY_SUFFIX and rng.random() < 0.3):
            return start, end
        return rng.choice(self._words(start, end)[1:] or [start]), end

    def with_more_starts(self, kind: Kind, start: int, end: int, rng: random.Random) -> Cut:
        """The cut for a hole, with other places where a hole with that end may begin."""
        starts = {start: kind}
        others = self._other_starts(end)
        whole_line = next((at for at, found in others.items() if found is Kind.LINE), None)
        if whole_line is not None and rng.random() < WHOLE_LINE_SHARE:
            starts.setdefault(whole_line, others.pop(whole_line))
        while others and len(starts) < MAX_HOLES:
            weights = [1 / (end - at + 8) for at in others]
            chosen = rng.choices(list(others), weights)[0]
            starts.setdefault(chosen, others.pop(chosen))
        empty = kind is Kind.EMPTY_SUFFIX
        kinds = [kind] * len(starts) if empty else starts.values()
        return Cut(end=end, starts=tuple(starts), kinds=tuple(kinds), suffix_is_empty=empty)

    def _other_starts(self, end: int) -> dict[int, Kind]:
        row = self._row(end)
        first, line_end = self._line(row)
        kind = Kind.REST_OF_LINE if end >= line_end else Kind.RANDOM
        starts = dict.fromkeys(self._words(self.lines[row], end), kind)
        if end >= line_end:
            starts[first] = Kind.LINE
            for above in range(max(0, row - 3), row):
                if self._has_text(above):
                    starts[self._line(above)[0]] = Kind.LINES
        for begin, _ in self._nodes(max(end - 1, 0)):
            starts.setdefault(begin, Kind.NODE)
        return {at: k for at, k in starts.items() if at < end and _is_hole(self.text, at, end)}

    def _node(self, anchor: int, rng: random.Random) -> tuple[int, int] | None:
        nodes = [(start, end) for start, end in self._nodes(anchor) if end - start > 1]
        return rng.choice(nodes) if nodes else None

    def _nodes(self, offset: int) -> Iterator[tuple[int, int]]:
        """The syntax nodes around `offset` that fit a hole, innermost first, and what their brackets hold."""
        at = self._to_byte(offset)
        node = self.tree.root_node.named_descendant_for_byte_range(at, at)
        while node is not None and node.parent is not None:
            start, end = self._to_offset(node.start_byte), self._to_offset(node.end_byte)
            if end - start > LONGEST_MIDDLE:
                return
            yield start, end
            if _is_bracketed(node) and end - start > 2:
                yield start + 1, end - 1
            node = node.parent

    def _row(self, offset: int) -> int:
        return bisect_left(self.lines, offset + 1) - 1

    def _line(self, row: int) -> tuple[int, int]:
        """Where a line's text begins and ends, blanks and the newline excluded; equal in a blank line."""
        begin = self.lines[row]
        until = self.lines[row + 1] if row + 1 < len(self.lines) else len(self.text)
        line = self.text[begin:until].rstrip()
        return begin + len(line) - len(line.lstrip()), begin + len(line)

    def _whole_lines(self, row: int, rng: random.Random) -> tuple[int, int]:
        last = row + rng.choices(_LINES, _LINES_WEIGHTS)[0] - 1
        last = min(last, len(self.lines) - 1)
        start, end = self._line(row)[0], self._line(last)[1]
        while last > row and (end - start > LONGEST_MIDDLE or not self._has_text(last)):
            last -= 1
            end = self._line(last)[1]
        return start, end

    def _has_text(self, row: int) -> bool:
        start, end = self._line(row)
        return end > start

    def _words(self, begin: int, end: int) -> list[int]:
        """Where words begin or end between two offsets."""
        edges = {edge for m in _WORD.finditer(self.text, begin, end) for edge in m.span()}
        return sorted(edge for edge in edges if edge < end)

    def _to_byte(self, offset: int) -> int:
        return offset if self.bytes_at is None else self.bytes_at[offset]

    def _to_offset(self, byte: int) -> int:
        return byte if self.bytes_at is None else bisect_left(self.bytes_at, byte)


def _is_bracketed(node: Node) -> bool:
    """Whether a node is enclosed in brackets or quotes of one byte each."""
    if node.child_count < 2:
        return False
    first, last = node.children[0], node.children[-1]
    if first.type in _BRACKETS:
        return last.type == _BRACKETS[first.type]
    return first.type == "string_start" and first.end_byte - first.start_byte == 1
