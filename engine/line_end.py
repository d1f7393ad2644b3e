"""Where a middle that is the rest of a line ends: with its line, unless a bracket of its own is open.

Speaks token ids and bytes; which holes end with their line is the caller's to say.
"""

from __future__ import annotations

from collections.abc import Sequence

from engine.tokenizer import Tokenizer


class LineEnd:
    """Finds the token with which the line of a middle ends that begins with `typed`."""

    def __init__(self, typed: str, tokenizer: Tokenizer) -> None:
        # A line ending that was typed is the one before the line.
        self._skip = len(typed.encode("utf-8", "replace")) if typed.startswith("\n") else 0
        self._pieces = tokenizer.pieces
        self._depths: dict[bytes, int] = {}

    def __call__(self, written: Sequence[int]) -> int | None:
        """The index of the first token that lies behind the line; None where the line goes on."""
        depth = seen = 0
        for index, token in enumerate(written):
            piece = self._pieces[token]
            fresh = piece[max(0, self._skip - seen) :]
            seen += len(piece)
            if fresh.startswith(b"\n") and depth <= 0:
                return index
            depth += self._depth(fresh)
        return None

    def _depth(self, piece: bytes) -> int:
        """How many more brackets a piece opens than it closes."""
        if piece not in self._depths:
            opened, closed = (sum(piece.count(c) for c in brackets) for brackets in (b"([{", b")]}"))
            self._depths[piece] = opened - closed
        return self._depths[piece]
