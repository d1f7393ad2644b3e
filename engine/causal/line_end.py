"""Where a middle that is the rest of a line ends: with its line, unless a bracket of its own is open.

Speaks token ids and bytes; which holes end with their line is the caller's to say.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine.text.tokenizer import Tokenizer, brackets_in


class _Line(NamedTuple):
    """How many brackets are open behind some tokens of a middle, how many bytes those are, and where its line
    has ended."""

    depth: int
    seen: int
    end: int | None


class LineEnd:
    """Finds the token with which the line of a middle ends that begins with `typed`."""

    def __init__(self, typed: str, tokenizer: Tokenizer) -> None:
        # A line ending that was typed is the one before the line.
        self._skip = len(typed.encode("utf-8", "replace")) if typed.startswith("\n") else 0
        self._tokenizer, self._pieces = tokenizer, tokenizer.pieces
        self._lines: dict[tuple[int, ...], _Line] = {(): _Line(depth=0, seen=0, end=None)}

    def __call__(self, written: Sequence[int]) -> int | None:
        """The index of the first token that lies behind the line; None where the line goes on."""
        return self._line(tuple(written)).end

    def brackets(self, written: Sequence[int]) -> int:
        """How many brackets of its own are open behind what is written."""
        return self._line(tuple(written)).depth

    @property
    def by_token(self) -> tuple[NDArray[np.int32], NDArray[np.bool_]]:
        """How many more brackets each id opens than it closes, and whether the line ends before it where none
        is open: what there is to know behind what was typed."""
        return self._tokenizer.brackets, self._tokenizer.begins_line

    def _line(self, written: tuple[int, ...]) -> _Line:
        """What is known of what is written: a middle is asked about again with every token it grows by."""
        known = self._lines.get(written)
        if known is None:
            before = self._line(written[:-1])
            known = self._lines[written] = self._then(before, written[-1], len(written) - 1)
        return known

    def _then(self, line: _Line, token: int, index: int) -> _Line:
        if line.end is not None:
            return line
        piece = self._pieces[token]
        fresh = piece[max(0, self._skip - line.seen) :]
        ends = fresh.startswith(b"\n") and line.depth <= 0
        depth = int(self._tokenizer.brackets[token]) if line.seen >= self._skip else brackets_in(fresh)
        return _Line(depth=line.depth + depth, seen=line.seen + len(piece), end=index if ends else None)
