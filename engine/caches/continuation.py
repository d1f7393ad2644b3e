"""Keys and values of middles that are being written behind a cached prefix, a row for each middle.

The prefix is the same for all rows and kept once. What a row has written stays from forward to forward; what
turned out wrong is overwritten. Knows nothing of what is written, nor why.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import torch
from torch import Tensor

from engine.caches.prefix import PrefixCache
from engine.networks.attention import Memory, Placed, Seen, attention_behind, padded_keys
from engine.networks.network import Network, Searching


class Continuation:
    """Room for `rows` middles of up to `count` tokens each behind the first `start` tokens of `cache`, for
    `model` to read.

    The cache is only read, and must stay as it is meanwhile.
    """

    def __init__(self, model: Network, cache: PrefixCache, start: int, rows: int, count: int) -> None:
        self._model = model
        self._config, self._device = cache.config, cache.device
        self._start, self._cache = start, cache
        # What the first token of a middle sees in a sliding layer, itself included, is all that is needed.
        self._first = [
            max(0, start - self._config.sliding_window + 1) if layer.sliding else 0
            for layer in self._config.layers
        ]
        # On a CPU products in float32 of any shape need no preparing (see `engine.networks.attention`).
        self._dtype = torch.float32 if self._device.type == "cpu" else cache.dtype
        shapes = [(layer.kv_heads, layer.head_dim) for layer in self._config.layers]
        # Of layers that are alike together, which is fewer operations.
        self._rooms = {
            (kv, d): torch.empty(
                2 * shapes.count((kv, d)),
                kv,
                rows,
                padded_keys(count),
                d,
                dtype=self._dtype,
                device=self._device,
            )
            for kv, d in set(shapes)
        }
        self._own = [
            (self._rooms[shape][2 * before], self._rooms[shape][2 * before + 1])
            for layer, shape in enumerate(shapes)
            for before in (shapes[:layer].count(shape),)
        ]
        self._cleared = False

    def read(
        self, ids: Sequence[Sequence[int]], at: Sequence[int], sources: Sequence[int] | None = None
    ) -> Tensor:
        """Logits (rows, count, vocab) of what follows each of the tokens `ids`, (rows, count) of the first
        rows, each from its row's index `at` on; what a row had from there on is forgotten.

        With `sources` each row goes on from what the row of that index has had so far, else from its own.
        Everything before `at` has been read.
        """
        if sources is not None and list(sources) == list(range(len(sources))):
            sources = None
        logits = self._model.logits_behind(self._memory, ids, at, sources)
        if logits is not None:
            return logits
        if not self._cleared:
            for room in self._rooms.values():
                room.zero_()  # what nobody has written to is masked, but a masked NaN is still a NaN
            self._cleared = True
        if sources is not None:
            self._move(sources, max(at))
        tokens = torch.tensor(ids, device=self._device)
        columns = torch.tensor(at, device=self._device)[:, None]
        columns = columns + torch.arange(tokens.shape[1], device=self._device)
        states = self._model.encode(tokens, self._start + columns, self._attend(at, columns))
        return self._model.logits(states)

    def search(self, searching: Searching, seconds: float) -> Sequence[tuple[int, int]] | None:
        """Have the model go on with a search whose rows these are; see `Network.search_behind`."""
        return self._model.search_behind(self._memory, searching, seconds)

    def _move(self, sources: Sequence[int], count: int) -> None:
        index = torch.tensor(sources, device=self._device)
        for room in self._rooms.values():
            room[:, :, : len(sources), :count] = room[:, :, index, :count]

    @cached_property
    def _shared(self) -> list[tuple[Tensor, Tensor]]:
        """The prefix of each layer, keys and values (kv_heads, prefix, d), as products here take them."""
        return [
            (keys[0, :, first:].to(self._dtype), values[0, :, first:].to(self._dtype))
            for layer, first in enumerate(self._first)
            for keys, values in (self._cache.first(layer, self._start),)
        ]

    @cached_property
    def _memory(self) -> Memory:
        layers = []
        for layer, (first, own) in enumerate(zip(self._first, self._own, strict=True)):
            keys, values = self._cache.first(layer, self._start)
            layers.append(
                Seen(
                    shared=(keys[0, :, first:], values[0, :, first:]),
                    own=(own[0].transpose(0, 1), own[1].transpose(0, 1)),
                )
            )
        return Memory(layers=tuple(layers), start=self._start)

    def _attend(self, at: Sequence[int], columns: Tensor) -> Placed:
        """Causal attention of the tokens at `columns` (rows, count), from `at` on in each row."""
        places: dict[int, Tensor] = {}
        biases: dict[tuple[int, bool], tuple[Tensor | None, Tensor]] = {}
        rows = len(at)

        def attend(layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
            keys, values = self._own[layer]
            kv, all_rows, room, width = keys.shape
            if kv not in places:
                places[kv] = _places(columns, kv, all_rows, room)
            for kept, new in zip((keys, values), (k, v), strict=True):
                fresh = new.transpose(0, 1).reshape(-1, width).to(kept.dtype)
                kept.view(-1, width).index_copy_(0, places[kv], fresh)
            first, group = self._first[layer], q.shape[1] // kv
            key = first, self._config.layers[layer].sliding
            if key not in biases:
                biases[key] = self._biases(columns, layer, room, group)
            far, near = biases[key]
            return attention_behind(q, self._shared[layer], (keys[:, :rows], values[:, :rows]), far, near)

        return Placed(attend=attend, memory=lambda _b, _n: self._memory, causal=True, at=at)

    def _biases(self, columns: Tensor, layer: int, room: int, group: int) -> tuple[Tensor | None, Tensor]:
        """What to add to the scores of tokens at `columns` (b, n): of the prefix (b, n * group, prefix), None
        where all of it is seen, and of the row's own (b, n * group, room)."""
        own = torch.arange(room, device=self._device)
        visible = own <= columns[..., None]
        first, window = self._first[layer], self._config.sliding_window
        if not self._config.layers[layer].sliding or self._start + room - first <= window:
            return None, _bias(visible, group)
        shared = torch.arange(first - self._start, 0, device=self._device)
        oldest = columns[..., None] - window
        return _bias(shared > oldest, group), _bias(visible & (own > oldest), group)


def _places(columns: Tensor, kv: int, rows: int, room: int) -> Tensor:
    """Where `columns` (b, n) of all heads lie in a flat room (kv * rows * room, d): (kv * b * n,)."""
    heads = torch.arange(kv, device=columns.device)[:, None, None] * rows
    row = torch.arange(len(columns), device=columns.device)[:, None]
    return ((heads + row) * room + columns).flatten()


def _bias(visible: Tensor, group: int) -> Tensor:
    """0 where a query may look and -inf where not, for each query head of a group: (b, n * group, keys)."""
    bias = torch.zeros(visible.shape, device=visible.device).masked_fill_(~visible, -torch.inf)
    return bias.repeat_interleave(group, 1)
