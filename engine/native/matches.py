"""Where the end of a context stands in a text, in C: what `engine.causal.ngram_cache` looks up, without an
index."""

from __future__ import annotations

from collections.abc import Sequence
from ctypes import byref, c_int32

import numpy as np
from numpy.typing import NDArray

from engine.native.compiled import Text, library


def can_match() -> bool:
    """Whether there is a library."""
    return library() is not None


class Matches:
    """Where contexts stand in a text, whose `tokens` are in one piece and stay as they are.

    `text` is what the library is told of it, with `silent`, a flag for each id or None, and `base_weight`.
    """

    def __init__(
        self, tokens: NDArray[np.int32], silent: NDArray[np.bool_] | None, base_weight: float
    ) -> None:
        self._held = tokens, silent
        self.text = Text(
            tokens=tokens.ctypes.data,
            silent=None if silent is None else silent.ctypes.data,
            base_weight=base_weight,
            count=len(tokens),
        )

    def __call__(self, context: Sequence[int], shortest: int) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """See `engine.causal.ngram_cache`: places (n,), and how many tokens match (n,)."""
        code = library()
        assert code is not None
        width = len(context)
        room = np.empty((2, self.text.count), np.int32)
        first = room.ctypes.data
        places, lengths = first, first + room.nbytes // 2
        found = code.matches(
            code.best, byref(self.text), (c_int32 * width)(*context), width, shortest, places, lengths
        )
        return room[0, :found], room[1, :found]
