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
    counts = [-1 if row.allowed is None else len(row.allowed) for row in rows]
    allowed = [row.allowed for row in rows if row.allowed is not None]
    ints = {
        "at": [row.at for row in rows],
        "said_from": [0, *accumulate(map(len, said))],
        "said": [*chain.from_iterable(said)],
        "allowed_count": counts,
        "allowed": [*chain.from_iterable(allowed)],
        "end": ends,
    }
    floats = {
        "total": [row.total for row in rows],
        "share": [row.said[0] if row.said is not None else 1.0 for row in rows],
        "added": [*chain.from_iterable(each.values() for each in said)],
    }
    lists = len(rows) if apart else 1
    held = {name: np.array(values, np.int32) for name, values in ints.items()}
    held |= {name: np.array(values, np.float32) for name, values in floats.items()}
    held |= {
        "room": np.empty(len(ends) + max(map(len, said)), np.float32),
        "best": np.empty((lists, count), np.float32),
        "row": np.empty((lists, count), np.int32),
        "token": np.empty((lists, count), np.int32),
    }
    of = Likeliest(
        logits=logits.data_ptr(),
        **{name: array.ctypes.data for name, array in held.items()},
        rows=len(rows),
        vocab=logits.shape[1],
        ends=len(ends),
        count=count,
        apart=apart,
    )
    code.likeliest(byref(of), code.best)
    found = zip(*(held[name].tolist() for name in ("best", "row", "token")), strict=True)
    return [[each for each in zip(*one, strict=True) if each[0] > -np.inf] for one in found]
