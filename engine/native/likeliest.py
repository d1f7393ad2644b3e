"""The likeliest next tokens in C: what `engine.next_token` says of rows of logits, without a copy of them."""

from __future__ import annotations

import math
from array import array
from collections.abc import Sequence
from ctypes import byref
from itertools import accumulate, chain
from typing import TYPE_CHECKING

from torch import Tensor

from engine.native.compiled import Likeliest, library

if TYPE_CHECKING:
    from engine.next_token import Found, Open


def likeliest(
    logits: Tensor, rows: Sequence[Open], count: int, ends: Sequence[int], *, apart: bool
) -> list[list[Found]]:
    """See `engine.next_token.likeliest`; a list for each row if `apart`, else one. Of `ends` nothing is said.

    `logits` (rows, vocab) are as `engine.native.sampling.can_choose` wants them.
    """
    code = library()
    assert code is not None
    said = [row.said[1] if row.said is not None else {} for row in rows]
    lists = len(rows) if apart else 1
    ints = _Packed(
        "i",
        at=[row.at for row in rows],
        said_from=[0, *accumulate(map(len, said))],
        said=[*chain.from_iterable(said)],
        allowed_count=[-1 if row.allowed is None else len(row.allowed) for row in rows],
        allowed=[*chain.from_iterable(row.allowed or () for row in rows)],
        end=ends,
    )
    floats = _Packed(
        "f",
        total=[row.total for row in rows],
        share=[row.said[0] if row.said is not None else 1.0 for row in rows],
        added=[*chain.from_iterable(each.values() for each in said)],
        room=[0.0] * (len(ends) + max(map(len, said))),
    )
    nothing = bytes(4 * lists * count)
    best, row, token = array("f", nothing), array("i", nothing), array("i", nothing)
    of = Likeliest(
        logits=logits.data_ptr(),
        **ints.places,
        **floats.places,
        best=best.buffer_info()[0],
        row=row.buffer_info()[0],
        token=token.buffer_info()[0],
        rows=len(rows),
        vocab=logits.shape[1],
        ends=len(ends),
        count=count,
        apart=apart,
    )
    code.likeliest(byref(of), code.best)
    every = [*zip(best, row, token, strict=True)]
    return [
        [each for each in every[first : first + count] if each[0] > -math.inf]
        for first in range(0, lists * count, count)
    ]


def log_probabilities(logits: Tensor, ids: Sequence[int]) -> list[float]:
    """See `engine.next_token.log_probabilities`; `logits` are as `engine.native.sampling.can_choose` wants
    them."""
    code = library()
    assert code is not None
    tokens, found = array("i", ids), array("f", bytes(4 * len(ids)))
    places = logits.data_ptr(), tokens.buffer_info()[0]
    code.log_probabilities(code.best, *places, len(ids), logits.shape[1], found.buffer_info()[0])
    return found.tolist()


class _Packed:
    """Lists behind each other in one array, which takes a third of the time; `places` are their addresses.

    Arrays of the standard library say where they are ten times as fast as those of numpy.
    """

    def __init__(self, kind: str, **lists: Sequence[float]) -> None:
        self.array = array(kind, chain.from_iterable(lists.values()))
        first, _ = self.array.buffer_info()
        starts = accumulate(map(len, lists.values()), initial=0)
        self.places = {
            name: first + self.array.itemsize * start for name, start in zip(lists, starts, strict=False)
        }
