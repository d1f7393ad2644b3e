"""The likeliest next tokens in C: what `engine.next_token` says of rows of logits, without a copy of them."""

from __future__ import annotations

from collections.abc import Sequence
from ctypes import byref
from itertools import accumulate, chain
from typing import TYPE_CHECKING

import numpy as np
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
        np.int32,
        at=[row.at for row in rows],
        said_from=[0, *accumulate(map(len, said))],
        said=[*chain.from_iterable(said)],
        allowed_count=[-1 if row.allowed is None else len(row.allowed) for row in rows],
        allowed=[*chain.from_iterable(row.allowed or () for row in rows)],
        end=ends,
    )
    floats = _Packed(
        np.float32,
        total=[row.total for row in rows],
        share=[row.said[0] if row.said is not None else 1.0 for row in rows],
        added=[*chain.from_iterable(each.values() for each in said)],
        room=[0.0] * (len(ends) + max(map(len, said))),
    )
    best = np.empty((lists, count), np.float32)
    tokens = np.empty((2, lists, count), np.int32)
    first = tokens.ctypes.data
    of = Likeliest(
        logits=logits.data_ptr(),
        **ints.places,
        **floats.places,
        best=best.ctypes.data,
        row=first,
        token=first + tokens.nbytes // 2,
        rows=len(rows),
        vocab=logits.shape[1],
        ends=len(ends),
        count=count,
        apart=apart,
    )
    code.likeliest(byref(of), code.best)
    found = zip(best.tolist(), *tokens.tolist(), strict=True)
    return [[each for each in zip(*one, strict=True) if each[0] > -np.inf] for one in found]


def log_probabilities(logits: Tensor, ids: Sequence[int]) -> list[float]:
    """See `engine.next_token.log_probabilities`; `logits` are as `engine.native.sampling.can_choose` wants
    them."""
    code = library()
    assert code is not None
    tokens, found = np.array(ids, np.int32), np.empty(len(ids), np.float32)
    places = logits.data_ptr(), tokens.ctypes.data
    code.log_probabilities(code.best, *places, len(ids), logits.shape[1], found.ctypes.data)
    values: list[float] = found.tolist()
    return values


class _Packed:
    """Lists behind each other in one array, which takes a third of the time; `places` are their addresses."""

    def __init__(self, kind: type[np.generic], **lists: Sequence[float]) -> None:
        self.array = np.array([*chain.from_iterable(lists.values())], kind)
        first, size = self.array.ctypes.data, self.array.itemsize
        starts = accumulate(map(len, lists.values()), initial=0)
        self.places = {name: first + size * start for name, start in zip(lists, starts, strict=False)}
