"""A memory of the tokens around a hole: what followed, in this very text, the last few tokens written.

A small model knows little of a code base, and code repeats itself: names, calls and whole lines of a file
come again in it. The model's next-token distribution is the base of an n-gram model of the text at hand,
interpolated from the shortest context to the longest, so that a long one seen often counts most, and where
the text has nothing to say the model's word stands. Witten and Bell have the base count as much as there are
different tokens that followed; here it counts as the square of that, since what went on in many ways says
little of how it goes on. It reads far more text than fits a prompt, for microseconds a token. Speaks token
ids; knows nothing of networks or text.

Sources: Kuhn and De Mori, "A cache-based natural language model for speech recognition" (1990); Tu, Su and
Devanbu, "On the localness of software" (2014), for code; Witten and Bell, "The zero-frequency problem"
(1991), method C.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import repeat

import numpy as np
from numpy.typing import NDArray

from engine.native.compiled import Text
from engine.native.matches import Matches, can_match

SHORTEST, LONGEST = 3, 8
"""Tokens of context an n-gram is looked up by: shorter ones are too common to contradict a model."""
BASE_WEIGHT, WIDER_WEIGHT = 6.0, 10.0
"""How many times the square of how many tokens followed the base counts, beside how often they did: in the
hole's own text, and in other files."""
Tokens = Sequence[int] | NDArray[np.int32]
Continuations = Sequence[tuple[float, Mapping[int, int]]]
"""How much the base counts and how often each token was seen, for one length of context after another."""
Mixture = tuple[float, dict[int, float]]
"""The share that each token's own probability keeps, and what is added to those of some tokens."""

_BREAK = -1  # between two texts, so that no n-gram spans them
_NOWHERE = np.array([], dtype=np.int32)


class NgramCache:
    """The n-grams of `texts`, token ids each; later texts and later places count as the more recent.

    What they say, by their `base_weight`, goes before what the n-grams of `wider` say, those of other files.
    Of tokens that are `silent`, a flag for each id, it is never told that they followed.
    """

    def __init__(
        self,
        texts: Iterable[Tokens],
        wider: NgramCache | None = None,
        silent: NDArray[np.bool_] | None = None,
        base_weight: float = BASE_WEIGHT,
    ) -> None:
        self._wider, self._silent, self._base_weight = wider, silent, base_weight
        parts = [np.asarray(text, dtype=np.int32) for text in texts if len(text)]
        gap = np.array([_BREAK], dtype=np.int32)
        self._tokens: NDArray[np.int32] = np.concatenate([gap, *[p for part in parts for p in (part, gap)]])
        self.matches_in_c = Matches(self._tokens, silent, base_weight)
        """What looks up its own texts in C."""

    @property
    def texts_in_c(self) -> list[Text]:
        """What there is to look up, for the library, the widest first; as long as this cache lives."""
        wider = self._wider.texts_in_c if self._wider is not None else []
        return [*wider, self.matches_in_c.text]

    def said(self, context: Sequence[int]) -> Mixture | None:
        """What mixing a distribution with what followed the end of `context` makes of it; None where nothing
        is known to have followed."""
        found = self.continuations(context)
        return mixture(found) if found else None

    def continuations(self, context: Sequence[int]) -> Continuations:
        """What followed the end of `context`, by the number of its tokens that match, the fewest first.

        All that is known from the wider texts comes before the rest.
        """
        wider = self._wider.continuations(context) if self._wider is not None else ()
        places, lengths = self._matches(context, SHORTEST)
        if not len(places):
            return wider
        following = self._tokens[places]
        own: list[dict[int, int]] = [{} for _ in range(SHORTEST, 1 + int(lengths.max()))]
        silent = repeat(False) if self._silent is None else self._silent[following].tolist()
        for token, length, is_silent in zip(following.tolist(), lengths.tolist(), silent, strict=False):
            if not is_silent:
                for counts in own[: length - SHORTEST + 1]:
                    counts[token] = counts.get(token, 0) + 1
        return [*wider, *((self._base_weight * len(counts) ** 2, counts) for counts in own if counts)]

    def draft(self, before: Sequence[int], written: Sequence[int], limit: int) -> list[int]:
        """What followed the longest match of the end of what is `written` behind `before` the last time, in
        wider texts, these, or what is written itself; at most `limit` tokens.

        After a match of one token at most one, and twice as many for each token more: what followed a single
        token comes again in one of four cases, what followed six in nine of ten.
        """
        context = [*before[-LONGEST:], *written[-LONGEST:]]
        longest, following = 0, _NOWHERE
        for cache in (self._wider, self, NgramCache([written])):
            if cache is None:
                continue
            places, lengths = cache._matches(context, 1)
            if len(places) and int(lengths.max()) >= longest:
                longest = int(lengths.max())
                following = cache._tokens[places[lengths == longest][-1] :]
        tokens: list[int] = following[: min(limit, 2**longest // 2)].tolist()
        return tokens[: tokens.index(_BREAK)] if _BREAK in tokens else tokens

    def _matches(self, context: Sequence[int], shortest: int) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """Where a continuation of the end of `context` stands, in order, and how many of its tokens match, at
        least `shortest`."""
        context = context[-LONGEST:]
        if len(context) < shortest:
            return _NOWHERE, _NOWHERE
        if can_match():
            return self.matches_in_c(context, shortest)
        tokens = self._tokens
        places = np.flatnonzero(tokens[:-1] == context[-1]).astype(np.int32) + 1
        places = places[tokens[places] != _BREAK]
        lengths = np.ones_like(places)
        alike = np.full(len(places), fill_value=True)
        for back, token in enumerate(reversed(context[:-1]), 2):  # the first token of all is a break
            alike &= tokens[np.maximum(places - back, 0)] == token
            lengths += alike
        return places[lengths >= shortest], lengths[lengths >= shortest]


def mixture(continuations: Continuations) -> Mixture:
    """What mixing a distribution with what followed before makes of it."""
    share, added = 1.0, dict[int, float]()
    for base, counts in continuations:
        total = sum(counts.values()) + base
        share *= base / total
        added = {token: probability * (base / total) for token, probability in added.items()}
        for token, count in counts.items():
            added[token] = added.get(token, 0.0) + count / total
    return share, added
