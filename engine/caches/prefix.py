"""The prefix cache: keys and values the encoder has written, one row of tokens, kept between requests.

It remembers which tokens it holds, so that a new prompt re-encodes only what lies behind the longest
common prefix. Sliding layers keep all their keys too: a cache that had thrown away what left the window
could not roll back. Knows nothing of prompts, documents or when to evict (see `engine.caches.pool`).
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from functools import lru_cache

import torch
from torch import Tensor

from engine.config import ModelConfig
from engine.errors import InvalidRequest
from engine.networks.attention import Mask, Memory, Placed, Seen, attention, padded_keys
from engine.networks.network import Network, rows_for
from engine.text.special import Special

_BLOCK = 128
"""Cache capacity grows by this many tokens at a time."""

_CHUNK = 512
"""Tokens encoded between two looks at whether anyone still wants them."""

_FP8_MOST = torch.finfo(torch.float8_e4m3fn).max
"""Keys and values are normed and mostly far below; what is above it would turn into NaN."""


class PrefixCache:
    """Keys and values of `tokens`, per layer (1, kv_heads, capacity, head_dim).

    They are used in `dtype` and kept in `kept`, None for the same; in float8_e4m3fn they take half as much as
    in bfloat16. `ended` is the encoder's final state (1, 1, hidden) of the last token, from which the next
    is predicted; None where it is not known any more.
    """

    def __init__(
        self,
        config: ModelConfig,
        *,
        dtype: torch.dtype,
        device: torch.device,
        kept: torch.dtype | None = None,
    ) -> None:
        self.config, self.dtype, self.device = config, dtype, device
        self._kept = kept or dtype
        self.tokens: list[int] = []
        self.ended: Tensor | None = None
        self._keys: list[Tensor] = []
        self._values: list[Tensor] = []
        self._grow(_BLOCK)

    def __len__(self) -> int:
        return len(self.tokens)

    @property
    def bytes(self) -> int:
        """What its keys and values take, the room for more tokens included."""
        return sum(tensor.nbytes for tensor in (*self._keys, *self._values))

    def rollback(self, length: int) -> None:
        """Forget all tokens from index `length` on."""
        if length < len(self):
            self.ended = None
        del self.tokens[length:]

    def common_prefix(self, tokens: Sequence[int]) -> int:
        """How many leading tokens `tokens` shares with the cache."""
        for index, (have, want) in enumerate(zip(self.tokens, tokens, strict=False)):
            if have != want:
                return index
        return min(len(self.tokens), len(tokens))

    def read(self, layer: int) -> tuple[Tensor, Tensor]:
        """What the denoiser may see of a layer: all tokens, or the last window - 1 of a sliding one."""
        end = len(self.tokens)
        return self._part(layer, end - self.seen(layer), end)

    def seen(self, layer: int) -> int:
        """How many tokens the denoiser may see of a layer."""
        if not self.config.layers[layer].sliding:
            return len(self)
        return min(len(self), self.config.sliding_window - 1)

    def first(self, layer: int, count: int) -> tuple[Tensor, Tensor]:
        """Keys and values of a layer's first `count` tokens, whatever its window."""
        return self._part(layer, 0, count)

    def room(self, layer: int, batch: int, count: int) -> tuple[Tensor, Tensor]:
        """What `read` returns for each of `batch` canvases, with room for `count` more tokens behind it.

        Padded to `padded_keys`. For one canvas it is a view where it can be: it stands until the cache is
        written to.
        """
        keys, values = self.read(layer)
        seen = keys.shape[2]
        whole = padded_keys(seen + count)
        if batch == 1 and self._kept == self.dtype:
            start = len(self) - seen
            self.reserve(start + whole)
            return self._part(layer, start, start + whole)
        shape = (batch, keys.shape[1], whole, keys.shape[3])
        rooms = keys.new_empty(shape), values.new_empty(shape)
        for room, part in zip(rooms, (keys, values), strict=True):
            room[:, :, :seen] = part
            room[:, :, seen + count :] = 0  # a masked NaN is still a NaN
        return rooms

    def memory(self, batch: int, count: int) -> Memory:
        """What `read` returns, as it is kept, and rooms for `count` tokens of each of `batch` canvases."""
        layers = []
        for layer, shape in enumerate(self.config.layers):
            keys, values = self._as_kept(layer, len(self) - self.seen(layer), len(self))
            own = (2, batch, shape.kv_heads, count, shape.head_dim)
            rooms = torch.empty(own, dtype=self.dtype, device=self.device)
            layers.append(Seen(shared=(keys[0], values[0]), own=(rooms[0], rooms[1])))
        return Memory(layers=tuple(layers), start=len(self))

    def seen_from(self, layer: int, start: int, count: int) -> Seen:
        """What the encoder sees of a layer from token `start` on, and the room for `count` of them."""
        sliding = self.config.layers[layer].sliding
        first = max(0, start - self.config.sliding_window + 1) if sliding else 0
        first -= first % 2  # values are added up in pairs, and always in the same
        keys, values = self._keys[layer], self._values[layer]
        return Seen(
            shared=(keys[0, :, first:start], values[0, :, first:start]),
            own=(keys[:, :, start : start + count], values[:, :, start : start + count]),
        )

    def copy(self, other: PrefixCache, count: int) -> None:
        """Become the first `count` tokens of `other`, a cache of the same model."""
        self.tokens, self.ended = [], None
        self.reserve(count)
        for layer in range(len(self.config.layers)):
            self.write(layer, 0, *other.first(layer, count))
        self.tokens = other.tokens[:count]

    def write(self, layer: int, start: int, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Store `k` and `v` (1, kv_heads, n, head_dim) at token `start`; returns all, padded."""
        end = start + k.shape[2]
        for room, new in zip(self._as_kept(layer, start, end), (k, v), strict=True):
            room.copy_(new.clamp(-_FP8_MOST, _FP8_MOST) if self._kept == torch.float8_e4m3fn else new)
        return self.first(layer, padded_keys(end))

    def reserve(self, tokens: int) -> None:
        """Make room for `tokens` in all."""
        if tokens > self._capacity():
            self._grow(-(-tokens // _BLOCK) * _BLOCK)

    def _part(self, layer: int, start: int, end: int) -> tuple[Tensor, Tensor]:
        keys, values = self._as_kept(layer, start, end)
        return keys.to(self.dtype), values.to(self.dtype)

    def _as_kept(self, layer: int, start: int, end: int) -> tuple[Tensor, Tensor]:
        return self._keys[layer][:, :, start:end], self._values[layer][:, :, start:end]

    def _capacity(self) -> int:
        return self._keys[0].shape[2] if self._keys else 0

    def _grow(self, capacity: int) -> None:
        # All new tensors first: running out of memory half-way must not leave layers of unequal length.
        keys = [self._larger(index, self._keys, capacity) for index in range(len(self.config.layers))]
        values = [self._larger(index, self._values, capacity) for index in range(len(self.config.layers))]
        self._keys, self._values = keys, values

    def _larger(self, index: int, store: list[Tensor], capacity: int) -> Tensor:
        layer, used = self.config.layers[index], len(self.tokens)
        # Zeros: a step of fixed shape masks what lies behind the prefix, but a NaN shines through any mask.
        new = torch.zeros(1, layer.kv_heads, capacity, layer.head_dim, dtype=self._kept, device=self.device)
        if store:
            new[:, :, :used] = store[index][:, :, :used]
        return new


def encode_prefix(
    model: Network,
    cache: PrefixCache,
    tokens: Sequence[int],
    cancelled: threading.Event | None = None,
) -> Tensor | None:
    """Make `cache` hold exactly `tokens`, encoding only what it does not share with them.

    Returns the final encoder states (1, new, hidden) of the newly encoded tokens, None if there were
    none. Works in chunks; when `cancelled` is set the cache is left with the chunks done so far.

    Raises:
        InvalidRequest: no tokens, or more than the model has positions for.
    """
    if not tokens:
        raise InvalidRequest("an empty prompt has no prefix to encode")
    if len(tokens) > model.config.max_position_embeddings:
        raise InvalidRequest(
            f"{len(tokens)} prompt tokens; the model has {model.config.max_position_embeddings}"
        )
    cache.rollback(cache.common_prefix(tokens))
    states = []
    while len(cache) < len(tokens) and not (cancelled is not None and cancelled.is_set()):
        start = len(cache)
        new = list(tokens[start : start + _CHUNK])
        count = rows_for(model, len(new))
        cache.reserve(padded_keys(start + count))
        ids = torch.tensor([new + [Special.PAD.value] * (count - len(new))], device=cache.device)
        positions = torch.arange(start, start + count, device=cache.device)[None]
        states.append(model.encode(ids, positions, _causal(cache, start, count))[:, : len(new)])
        cache.tokens.extend(new)
        cache.ended = states[-1][:, -1:].clone()
    return torch.cat(states, dim=1) if states else None


def last_state(model: Network, cache: PrefixCache) -> Tensor:
    """The final state (1, 1, hidden) of the cache's last token; encodes that token again if it has to."""
    if cache.ended is None:
        tokens = cache.tokens[:]
        cache.rollback(len(tokens) - 1)
        encode_prefix(model, cache, tokens)
    assert cache.ended is not None
    return cache.ended


def _causal(cache: PrefixCache, start: int, count: int) -> Placed:
    """Attention of tokens start … start+count-1 to themselves and what came before; written as it goes."""

    @lru_cache(maxsize=1)
    def masks() -> tuple[Mask, Mask]:
        queries = torch.arange(start, start + count, device=cache.device)
        return causal_masks(queries[None], 0, padded_keys(start + count), cache.config.sliding_window)

    def attend(layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        k, v = cache.write(layer, start, k, v)
        full, near = masks()
        return attention(q, k, v, near if cache.config.layers[layer].sliding else full)

    def memory(_b: int, _n: int) -> Memory:
        layers = range(len(cache.config.layers))
        return Memory(layers=tuple(cache.seen_from(layer, start, count) for layer in layers), start=start)

    return Placed(attend=attend, memory=memory, causal=True)


def causal_masks(queries: Tensor, first: int, keys: int, window: int) -> tuple[Mask, Mask]:
    """What tokens at positions `queries` (b, n) may see of `keys` tokens from `first` on: all before them and
    themselves, and in sliding layers the last `window` of those.
    """
    columns = torch.arange(first, first + keys, device=queries.device)
    full = columns <= queries[..., None]
    if keys <= window:
        mask = Mask(full)
        return mask, mask
    return Mask(full), Mask(full & (columns > queries[..., None] - window))


def over_cache(cache: PrefixCache, count: int | None = None) -> Placed:
    """Attention of a canvas batch (b, n, …) to the cached prefix and to all of itself, or its first `count`.

    What it returns serves all steps of one canvas length: keys and values are written behind the prefix, in
    the cache's own spare room for one canvas, in a copy for more, so that no step copies the prefix again.
    What the cache holds is only read.
    """
    rooms: dict[int, tuple[Tensor, Tensor]] = {}

    def attend(layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        b, n = k.shape[0], k.shape[2]
        if layer not in rooms or len(rooms[layer][0]) < b:
            rooms[layer] = cache.room(layer, b, n)
        keys, values = rooms[layer]
        seen = cache.seen(layer)
        keys[:b, :, seen : seen + n] = k
        values[:b, :, seen : seen + n] = v
        return attention(q, keys[:b], values[:b], seen + (n if count is None else count))

    memories: dict[int, Memory] = {}

    def memory(b: int, n: int) -> Memory:
        known = memories.get(n)
        if known is None or len(known.layers[0].own[0]) < b:
            memories[n] = cache.memory(b, n)
        return memories[n]

    return Placed(attend=attend, memory=memory, causal=False, columns=count)
