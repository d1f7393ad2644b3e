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


def matches(
    text: NDArray[np.int32], context: Sequence[int], shortest: int
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """See `engine.ngram_cache`: places (n,) in `text`, in one piece, and how many tokens match (n,)."""
    code = library()
    assert code is not None
    places, lengths = np.empty(len(text), np.int32), np.empty(len(text), np.int32)
    found = code.matches(
        code.best,
        text.ctypes.data,
        len(text),
        (c_int32 * len(context))(*context),
        len(context),
        shortest,
        places.ctypes.data,
        lengths.ctypes.data,
    )
    return places[:found], lengths[:found]
