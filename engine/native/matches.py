"""Where the end of a context stands in a text, in C: what `engine.ngram_cache` looks up, without an index."""

from __future__ import annotations

from collections.abc import Sequence
from ctypes import c_int32

import numpy as np
from numpy.typing import NDArray

from engine.native.compiled import library


def can_match() -> bool:
    """Whether there is a library."""
    return library() is not None


class Matches:
    """Where contexts stand in `text`, which is in one piece and stays as it is."""

    def __init__(self, text: NDArray[np.int32]) -> None:
        self._text, self._at = text, text.ctypes.data  # asking for an address takes as long as a search

    def __call__(self, context: Sequence[int], shortest: int) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """See `engine.ngram_cache`: places (n,), and how many tokens match (n,)."""
        code = library()
        assert code is not None
        count, width = len(self._text), len(context)
        room = np.empty((2, count), np.int32)
        first = room.ctypes.data
        found = code.matches(
            code.best,
            self._at,
            count,
            (c_int32 * width)(*context),
            width,
            shortest,
            first,
            first + room.nbytes // 2,
        )
        return room[0, :found], room[1, :found]
