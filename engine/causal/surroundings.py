"""What the text around a hole says of how it repeats itself: the n-grams of its file, and of other files.

Remembers what it has made tokens of, since a keystroke changes little of it. May be called from any thread.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from engine.causal.ngram_cache import WIDER_WEIGHT, NgramCache, Tokens
from engine.request import Prompt

_FAR_TEXTS = 16  # remembered as tokens: both sides of the holes of a few documents
_NEARBY_TEXTS = 64
_NEARBY_SETS = 4
_LONGEST_TOKEN = 24  # characters


class Surroundings:
    """The n-grams around holes; `encode` makes token ids of text, `far_tokens` of what lies before what the
    model reads, as many of what lies after it, and of other files `nearby_tokens` together.

    `begins_line` says of each token whether a line ends with it. Where one does is for the model and its own
    file to say: in another one the same line may just be half typed.
    """

    def __init__(
        self,
        encode: Callable[[str], Sequence[int]],
        begins_line: NDArray[np.bool_],
        *,
        far_tokens: int,
        nearby_tokens: int,
    ) -> None:
        self._ids_of, self._far_tokens, self._nearby_tokens = encode, far_tokens, nearby_tokens
        self._begins_line = begins_line
        self._far = functools.lru_cache(maxsize=_FAR_TEXTS)(self._encode)
        self._near = functools.lru_cache(maxsize=_NEARBY_TEXTS)(self._encode)
        self._of = functools.lru_cache(maxsize=_NEARBY_SETS)(self._nearby)

    def ngrams(self, prompt: Prompt, tokens: Sequence[int]) -> NgramCache:
        """Those of what the model reads, `tokens`, and of what `prompt` has beyond it."""
        most = self._far_tokens
        before = prompt.before[-_LONGEST_TOKEN * most :] if most else ""
        after = prompt.after[: _LONGEST_TOKEN * most]
        own: list[Tokens] = [self._far(after)[:most], self._far(before)[-most:], tokens]
        return NgramCache(own, self._of(prompt.nearby) if prompt.nearby and self._nearby_tokens else None)

    def _encode(self, text: str) -> NDArray[np.int32]:
        return np.array(self._ids_of(text), dtype=np.int32)  # a tenth of a list's bytes

    def _nearby(self, texts: tuple[str, ...]) -> NgramCache:
        room = self._nearby_tokens
        kept: list[Tokens] = []
        for text in texts:
            kept.append(self._near(text[: _LONGEST_TOKEN * self._nearby_tokens])[:room])
            room -= len(kept[-1])
            if room <= 0:
                break
        # The most useful one as the most recent.
        return NgramCache(reversed(kept), silent=self._begins_line, base_weight=WIDER_WEIGHT)
