"""A memory of the tokens around a hole: what followed, in this very text, the last few tokens written.

A small model knows little of a code base, and code repeats itself: names, calls and whole lines of a file
come again in it. The model's next-token distribution is the base of an n-gram model of the text at hand,
interpolated by Witten and Bell's method, so that a long context seen often counts most, and where the text
has nothing to say the model's word stands. It reads far more text than fits a prompt, for microseconds a
token. Speaks token ids; knows nothing of networks or text.

Sources: Kuhn and De Mori, "A cache-based natural language model for speech recognition" (1990); Tu, Su and
Devanbu, "On the localness of software" (2014), for code; Witten and Bell, "The zero-frequency problem"
(1991), method C.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

SHORTEST, LONGEST = 4, 6
"""Tokens of context an n-gram is looked up by: shorter ones are too common to contradict a model."""
BASE_WEIGHT = 4.0
"""How many times as much the base distribution counts as one new continuation would in method C."""
Tokens = Sequence[int] | NDArray[np.int32]
Continuations = Sequence[Mapping[int, int]]
"""How often each token was seen, for one length of context after another."""

_BREAK = -1  # between two texts, so that no n-gram spans them
_KEY = 2  # tokens an index entry is found by
_NOWHERE = np.array([], dtype=np.int64)


class NgramCache:
    """The n-grams of `texts`, token ids each; later texts and later places count as the more recent.

    What they say goes before what the n-grams of `wider` say, those of other files. Of tokens that are
    `silent`, a flag for each id, it is never told that they followed.
    """

    def __init__(
        self,
        texts: Iterable[Tokens],
        wider: NgramCache | None = None,
        silent: NDArray[np.bool_] | None = None,
    ) -> None:
        self._wider = wider
        parts = [np.asarray(text, dtype=np.int64) for text in texts if len(text)]
        gap = np.array([_BREAK])
        self._tokens: NDArray[np.int64] = np.concatenate([gap, *[p for part in parts for p in (part, gap)]])
        keys = _key(self._tokens[:-_KEY], self._tokens[1 : 1 - _KEY])
        order = np.argsort(keys, kind="stable")
        following = self._tokens[order + _KEY]
        told = following != _BREAK
        if silent is not None:
            told &= ~silent[following]
        order = order[told]
        self._keys, self._next = keys[order], order + _KEY

    def continuations(self, context: Sequence[int]) -> Continuations:
        """What followed the end of `context`, by the number of its tokens that match, the fewest first.

        All that is known from the wider texts comes before the rest.
        """
        wider = self._wider.continuations(context) if self._wider is not None else ()
        places, lengths = self._matches(context)
        longest = int(lengths.max(initial=0))
        if longest < SHORTEST:
            return wider
        found = list(zip(self._tokens[places].tolist(), lengths.tolist(), strict=True))
        own = [
            Counter(token for token, matching in found if matching >= length)
            for length in range(SHORTEST, 1 + longest)
        ]
        return [*wider, *own]

    def draft(self, context: Sequence[int], limit: int) -> list[int]:
        """What followed the longest match of the end of `context` the last time, at most `limit` tokens."""
        places, lengths = self._matches(context)
        if len(places):
            last = places[lengths == lengths.max()][-1]
        else:
            alike = np.flatnonzero(self._tokens[:-1] == context[-1]) if context else places
            if not len(alike):
                return []
            last = alike[-1] + 1
        following = self._tokens[last : last + limit]
        ends = np.flatnonzero(following == _BREAK)
        return [int(token) for token in following[: ends[0] if len(ends) else limit]]

    def _matches(self, context: Sequence[int]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Where a continuation of the end of `context` stands, in order, and how many of its tokens match."""
        if len(context) < _KEY:
            return _NOWHERE, _NOWHERE
        key = int(_key(np.int64(context[-2]), np.int64(context[-1])))
        first, last = np.searchsorted(self._keys, [key, key + 1])
        if first == last:
            return _NOWHERE, _NOWHERE
        places = self._next[first:last]
        back = np.arange(1, 1 + min(LONGEST, len(context)))
        before = self._tokens[np.maximum(places[:, None] - back, 0)]  # the first token of all is a break
        alike = before == np.array(context[: -1 - len(back) : -1])
        return places, np.logical_and.accumulate(alike, axis=1).sum(1)


def mixture(continuations: Continuations) -> tuple[float, dict[int, float]]:
    """What mixing a distribution with what followed before makes of it: the share that each token's own
    probability keeps, and what is added to those of some tokens."""
    share, added = 1.0, dict[int, float]()
    for counts in continuations:
        base = BASE_WEIGHT * len(counts)
        total = sum(counts.values()) + base
        share *= base / total
        added = {token: probability * (base / total) for token, probability in added.items()}
        for token, count in counts.items():
            added[token] = added.get(token, 0.0) + count / total
    return share, added


def _key(first: NDArray[np.int64] | np.int64, second: NDArray[np.int64] | np.int64) -> NDArray[np.int64]:
    return np.asarray((first << 32) ^ (second & 0xFFFFFFFF))
