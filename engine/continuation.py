"""Keys and values of middles that are being written behind a cached prefix, a row for each middle.

What a row has written stays from forward to forward; what turned out wrong is overwritten. Knows nothing of
what is written, nor why.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from engine.attention import Attend, Mask, attention, padded_keys
from engine.cache import PrefixCache, causal_masks


class Continuation:
    """Room for `rows` middles of up to `count` tokens each behind the first `start` tokens of `cache`.

    The cache is only read, and only here: it may change afterwards.
    """

    def __init__(self, cache: PrefixCache, start: int, rows: int, count: int) -> None:
        self._config, self._device = cache.config, cache.device
        self._start = start
        # What the first token of a middle sees in a sliding layer, itself included, is all that is needed.
        self._first = [
            max(0, start - self._config.sliding_window + 1) if layer.sliding else 0
            for layer in self._config.layers
        ]
        self._rooms: list[tuple[Tensor, Tensor]] = []
        for layer, first in enumerate(self._first):
            whole = padded_keys(start - first + count)
            keys, values = (part[:, :, first:] for part in cache.first(layer, start))
            self._rooms.append((_spread(keys, rows, whole), _spread(values, rows, whole)))

    def keep(self, rows: Sequence[int]) -> None:
        """Forget all rows but `rows`, indices in ascending order, which are counted anew."""
        index = torch.tensor(rows, device=self._device)
        self._rooms = [
            (keys.index_select(0, index), values.index_select(0, index)) for keys, values in self._rooms
        ]

    def attend(self, at: Sequence[int], count: int) -> Attend:
        """Causal attention of `count` tokens of each of the first rows, from the row's index `at` on.

        Everything before that index has been through `attend`; what a row had from there on is forgotten.
        """
        positions = self.positions(at, count)
        places: dict[tuple[int, int], Tensor] = {}
        masks: dict[int, tuple[Mask, Mask]] = {}
        reach = self._start + max(at) + count

        def attend(layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
            first, rooms = self._first[layer], self._rooms[layer]
            _, kv, whole, width = rooms[0].shape
            if (first, kv) not in places:
                places[first, kv] = _places(positions - first, kv, whole)
            for room, new in zip(rooms, (k, v), strict=True):
                rows = new.reshape(-1, width).to(room.dtype)
                room.view(-1, width).index_copy_(0, places[first, kv], rows)
            keys, values = (room[: len(at), :, : padded_keys(reach - first)] for room in rooms)
            if first not in masks:
                masks[first] = causal_masks(positions, first, keys.shape[2], self._config.sliding_window)
            full, near = masks[first]
            return attention(q, keys, values, near if self._config.layers[layer].sliding else full)

        return attend

    def positions(self, at: Sequence[int], count: int) -> Tensor:
        """Positions (rows, count) of `count` tokens of each row from its index `at` on."""
        begins = torch.tensor(at, device=self._device)[:, None]
        return self._start + begins + torch.arange(count, device=self._device)


def _spread(part: Tensor, rows: int, whole: int) -> Tensor:
    """`part` (1, kv_heads, keys, d) in front of zeros, `rows` times: (rows, kv_heads, whole, d)."""
    # On a CPU few queries are attended to in float32: what they look at is converted once, not every time.
    dtype = torch.float32 if part.device.type == "cpu" else part.dtype
    room = part.new_empty(rows, part.shape[1], whole, part.shape[3], dtype=dtype)
    room[:, :, : part.shape[2]] = part
    room[:, :, part.shape[2] :] = 0  # a masked NaN is still a NaN
    return room


def _places(columns: Tensor, kv: int, whole: int) -> Tensor:
    """Where `columns` (b, n) of all heads lie in a flat room (rows * kv * whole, head_dim): (b * kv * n,)."""
    heads = torch.arange(len(columns) * kv, device=columns.device)[:, None] * whole
    return (heads + columns.repeat_interleave(kv, 0)).flatten()
