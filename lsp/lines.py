"""Where each line of a text begins, kept up to date edit by edit, and columns in the protocol's units.

Lines end with \\n, \\r\\n or \\r and nothing else (`str.splitlines` knows more). Lines and columns count
from 0; offsets are code points from 0. Positions never fail: what lies outside is clamped.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from enum import Enum

_LINE_END = re.compile(r"\r\n?|\n")
_ASTRAL = re.compile("[\U00010000-\U0010ffff]")
_BLOCK = 256  # lines


class Encoding(Enum):
    """The unit columns are counted in; the values are the protocol's names."""

    UTF8 = "utf-8"
    UTF16 = "utf-16"
    UTF32 = "utf-32"


class Lines:
    """The line starts of one text.

    They are kept in blocks, relative to where each block begins, so that an edit anywhere costs one block
    and a number for each of the others: far less than a number for every line behind it.
    """

    def __init__(self, text: str) -> None:
        self._text = text
        starts = [0, *(match.end() for match in _LINE_END.finditer(text))]
        self._count = len(starts)
        self._blocks: list[list[int]] = []  # line starts, less the block's base
        self._bases: list[int] = []  # offsets of the blocks' first lines
        self._firsts: list[int] = []  # and the numbers of these lines
        self._put(0, 0, starts, 0)

    @property
    def count(self) -> int:
        """How many lines there are; at least one, and the last has no line ending."""
        return self._count

    def replace(self, text: str, start: int, end: int, new_length: int) -> None:
        """Take `text`, which has `new_length` characters where the old text had `start` to `end`.

        Only a start within the edit can come or go, both ends included: whether one is at `start`
        depends on the characters on both sides of it, which is how a \\r\\n is split or joined.
        """
        first, behind = self._before(start), self._before(end + 1)
        new_end, shift = start + new_length, new_length - (end - start)
        # The window reaches one character beyond the edit on both sides, for the sake of \\r\\n.
        ends = (match.end() for match in _LINE_END.finditer(text, max(start - 1, 0), new_end + 1))
        fresh = [s for s in ends if start <= s <= new_end]
        if start == 0:
            fresh.insert(0, 0)
        low, high = self._block(first), self._block(max(first, behind - 1))
        above = self._absolute(low)[: first - self._firsts[low]]
        below = [s + shift for s in self._absolute(high)[behind - self._firsts[high] :]]
        begin, more = self._firsts[low], len(fresh) - (behind - first)
        for at in range(high + 1, len(self._blocks)):
            self._bases[at] += shift
            self._firsts[at] += more
        self._text = text
        self._count += more
        self._put(low, high + 1, [*above, *fresh, *below], begin)

    def offset(self, line: int, column: int, encoding: Encoding) -> int:
        """The offset of a position.

        A column past the line's end is its end (before the line ending), a line past the last is the end
        of the text, and a column within a character is the character's start.
        """
        if line >= self._count:
            return len(self._text)
        if line < 0:
            return 0
        start, end = self._span(line)
        return start + code_points(self._text[start:end], max(column, 0), encoding)

    def position(self, offset: int, encoding: Encoding) -> tuple[int, int]:
        """The line and column of an offset; one past the text is its end, one within a \\r\\n before it."""
        offset = min(max(offset, 0), len(self._text))
        line = self._before(offset + 1) - 1
        start, end = self._span(line)
        return line, units(self._text[start : min(offset, end)], encoding)

    def _span(self, line: int) -> tuple[int, int]:
        """Where a line's characters begin and end, its line ending excluded."""
        start = self._start(line)
        if line + 1 == self._count:
            return start, len(self._text)
        end = self._start(line + 1)
        return start, end - (2 if self._text.endswith("\r\n", start, end) else 1)

    def _start(self, line: int) -> int:
        at = self._block(line)
        return self._bases[at] + self._blocks[at][line - self._firsts[at]]

    def _before(self, offset: int) -> int:
        """How many lines begin before an offset."""
        at = bisect_left(self._bases, offset) - 1
        if at < 0:
            return 0
        return self._firsts[at] + bisect_left(self._blocks[at], offset - self._bases[at])

    def _block(self, line: int) -> int:
        """Which block a line is in; the last one for a line past the last."""
        return bisect_right(self._firsts, line) - 1

    def _absolute(self, at: int) -> list[int]:
        base = self._bases[at]
        return [base + s for s in self._blocks[at]]

    def _put(self, low: int, high: int, starts: list[int], line: int) -> None:
        """Put `starts`, of which the first is that of `line`, in the place of the blocks `low` to `high`."""
        size = _BLOCK if len(starts) > 2 * _BLOCK else max(1, len(starts))
        cuts = range(0, len(starts), size)
        self._bases[low:high] = [starts[cut] for cut in cuts]
        self._firsts[low:high] = [line + cut for cut in cuts]
        self._blocks[low:high] = [[s - starts[cut] for s in starts[cut : cut + size]] for cut in cuts]


def units(text: str, encoding: Encoding) -> int:
    """How many units `text` takes; a lone surrogate counts as one unit of UTF-16, three of UTF-8."""
    if encoding is Encoding.UTF32 or text.isascii():
        return len(text)
    if encoding is Encoding.UTF16:
        return len(text) + len(_ASTRAL.findall(text))
    return len(text.encode("utf-8", "surrogatepass"))


def code_points(line: str, count: int, encoding: Encoding) -> int:
    """How many whole characters of `line` lie within its first `count` units; at most all of them."""
    count = min(count, 4 * len(line))
    if encoding is Encoding.UTF32 or line.isascii():
        return min(count, len(line))
    if encoding is Encoding.UTF16:
        return _code_points_utf16(line, count)
    # No character is shorter than one unit, so what lies beyond `count` characters does not matter.
    encoded = line[:count].encode("utf-8", "surrogatepass")
    count = min(count, len(encoded))
    while count < len(encoded) and encoded[count] & 0xC0 == 0x80:
        count -= 1
    return len(encoded[:count].decode("utf-8", "surrogatepass"))


def _code_points_utf16(line: str, count: int) -> int:
    pairs = 0  # also one that is cut in two, which takes the count back to its start
    for match in _ASTRAL.finditer(line, 0, count):
        if match.start() + pairs >= count:
            break
        pairs += 1
    return min(count - pairs, len(line))
