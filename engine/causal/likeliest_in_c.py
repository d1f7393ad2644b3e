"""The likeliest next tokens in C: what `engine.causal.next_token` says of rows of logits, without a copy of
them."""

from __future__ import annotations

import math
from array import array
from collections.abc import Sequence
from ctypes import byref
from itertools import accumulate, chain
from typing import TYPE_CHECKING

import numpy as np
from torch import Tensor

from engine.causal.ngram_cache import SHORTEST
from engine.native.compiled import Likeliest, Text, library

if TYPE_CHECKING:
    from engine.causal.next_token import Found, Open


class Chooser:
    """Chooses among rows of logits over `vocab` tokens and what followed in `texts`, which stay where they
    are; of `ends` nothing is said. One thread at a time. `its` is what the library is told.
    """

    def __init__(self, texts: Sequence[Text], vocab: int, ends: Sequence[int]) -> None:
        longest = max((text.count for text in texts), default=0)
        said = vocab if texts else 0
        ints, floats = array("i", ends), np.zeros((2, said + len(ends)), np.float32)
        room = np.zeros((2, longest + said), np.int32)
        places, added = room.ctypes.data, floats.ctypes.data
        lengths = places + room.nbytes // 2
        self._held = texts, ints, floats, room
        self.its = Likeliest(
            text=(Text * len(texts))(*texts),
            texts=len(texts),
            places=places,
            lengths=lengths,
            seen=places + 4 * longest,
            said=lengths + 4 * longest,
            added=added,
            own=added + floats.nbytes // 2,
            end=ints.buffer_info()[0],
            ends=len(ends),
            vocab=vocab,
            shortest=SHORTEST,
        )

    def likeliest(
        self,
        logits: Tensor,
        rows: Sequence[Open],
        contexts: Sequence[Sequence[int]],
        count: int,
        *,
        apart: bool,
    ) -> list[list[Found]]:
        """See `engine.causal.next_token.Around`: a list for each row if `apart`, else one. `contexts` are the
        last tokens before each.

        `logits` (rows, vocab) are as `engine.native.sampling.can_choose` wants them.
        """
        code = library()
        assert code is not None
        lists = len(rows) if apart else 1
        given = _Packed(
            at=[row.at for row in rows],
            width=[*map(len, contexts)],
            context=[*chain.from_iterable(contexts)],
            allowed_count=[-1 if row.allowed is None else len(row.allowed) for row in rows],
            allowed=[*chain.from_iterable(row.allowed or () for row in rows)],
        )
        total = array("f", [row.total for row in rows])
        nothing = bytes(4 * lists * count)
        best, row, token = array("f", nothing), array("i", nothing), array("i", nothing)
        of = self.its
        of.logits, of.total = logits.data_ptr(), total.buffer_info()[0]
        of.at, of.width, of.context, of.allowed_count, of.allowed = given.places
        of.best, of.row, of.token = (each.buffer_info()[0] for each in (best, row, token))
        of.rows, of.count, of.apart, of.margin = len(rows), count, apart, math.inf
        code.likeliest(byref(of), code.best)
        every = [*zip(best, row, token, strict=True)]
        return [
            [each for each in every[first : first + count] if each[0] > -math.inf]
            for first in range(0, lists * count, count)
        ]


def log_probabilities(logits: Tensor, ids: Sequence[int]) -> list[float]:
    """See `engine.causal.next_token.log_probabilities`; `logits` are as `engine.native.sampling.can_choose`
    wants them."""
    code = library()
    assert code is not None
    tokens, found = array("i", ids), array("f", bytes(4 * len(ids)))
    places = logits.data_ptr(), tokens.buffer_info()[0]
    code.log_probabilities(code.best, *places, len(ids), logits.shape[1], found.buffer_info()[0])
    return found.tolist()


class _Packed:
    """Lists of ids behind each other in one array, which takes a third of the time; `places` are their
    addresses.

    Arrays of the standard library say where they are ten times as fast as those of numpy.
    """

    def __init__(self, **lists: Sequence[int]) -> None:
        self.array = array("i", chain.from_iterable(lists.values()))
        first, _ = self.array.buffer_info()
        starts = [*accumulate(map(len, lists.values()), initial=0)]
        self.places = [first + self.array.itemsize * start for start in starts[:-1]]
