"""The prefix cache: keys and values the encoder has written, one row of tokens, kept between requests.

It remembers which tokens it holds, so that a new prompt re-encodes only what lies behind the longest
common prefix. Sliding layers keep all their keys too: a cache that had thrown away what left the window
could not roll back. Knows nothing of prompts, documents or when to evict (see `engine.cache_pool`).
"""

from __future__ import annotations

import threading
from collections.abc import Sequence

import torch
from torch import Tensor

from engine.config import ModelConfig
from engine.errors import InvalidRequest
from engine.model import Attend, attention
from engine.network import Network

_BLOCK = 256
"""Cache capacity grows by this many tokens at a time."""

_CHUNK = 512
"""Tokens encoded between two looks at whether anyone still wants them."""


class PrefixCache:
    """Keys and values of `tokens`, per layer (1, kv_heads, capacity, head_dim)."""

    def __init__(self, config: ModelConfig, *, dtype: torch.dtype, device: torch.device) -> None:
        self.config, self.dtype, self.device = config, dtype, device
        self.tokens: list[int] = []
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
        start = max(0, end - self.config.sliding_window + 1) if self.config.layers[layer].sliding else 0
        return self._keys[layer][:, :, start:end], self._values[layer][:, :, start:end]

    def first(self, layer: int, count: int) -> tuple[Tensor, Tensor]:
        """Keys and values of a layer's first `count` tokens, whatever its window."""
        return self._keys[layer][:, :, :count], self._values[layer][:, :, :count]

    def room(self, layer: int, batch: int, count: int) -> tuple[Tensor, Tensor]:
        """What `read` returns for each of `batch` canvases, with room for `count` more tokens behind it.

        For one canvas it is a view: it stands until the cache is written to.
        """
        self.reserve(len(self) + count)
        keys, values = self.read(layer)
        if batch == 1:
            start, end = len(self) - keys.shape[2], len(self) + count
            return self._keys[layer][:, :, start:end], self._values[layer][:, :, start:end]
        shape = (batch, keys.shape[1], keys.shape[2] + count, keys.shape[3])
        rooms = keys.new_empty(shape), values.new_empty(shape)
        for room, part in zip(rooms, (keys, values), strict=True):
            room[:, :, : part.shape[2]] = part
        return rooms

    def copy(self, other: PrefixCache, count: int) -> None:
        """Become the first `count` tokens of `other`, a cache of the same model."""
        self.tokens = []
        self.reserve(count)
        for layer in range(len(self.config.layers)):
            self.write(layer, 0, *other.first(layer, count))
        self.tokens = other.tokens[:count]

    def write(self, layer: int, start: int, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Store `k` and `v` (1, kv_heads, n, head_dim) at token `start`; returns all up to their end."""
        end = start + k.shape[2]
        self._keys[layer][:, :, start:end] = k
        self._values[layer][:, :, start:end] = v
        return self._keys[layer][:, :, :end], self._values[layer][:, :, :end]

    def reserve(self, tokens: int) -> None:
        """Make room for `tokens` in all."""
        if tokens > self._capacity():
            self._grow(-(-tokens // _BLOCK) * _BLOCK)

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
        new = torch.zeros(1, layer.kv_heads, capacity, layer.head_dim, dtype=self.dtype, device=self.device)
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
    cache.reserve(len(tokens))
    states = []
    while len(cache) < len(tokens) and not (cancelled is not None and cancelled.is_set()):
        start = len(cache)
        new = list(tokens[start : start + _CHUNK])
        ids = torch.tensor([new], device=cache.device)
        positions = torch.arange(start, start + len(new), device=cache.device)[None]
        states.append(model.encode(ids, positions, _causal(cache, start, len(new))))
        cache.tokens.extend(new)
    return torch.cat(states, dim=1) if states else None


def _causal(cache: PrefixCache, start: int, count: int) -> Attend:
    """Attention of tokens start … start+count-1 to themselves and what came before; written as it goes."""
    full, near = causal_masks(cache, start, count)

    def attend(layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        k, v = cache.write(layer, start, k, v)
        return attention(q, k, v, near if cache.config.layers[layer].sliding else full)

    return attend


def causal_masks(cache: PrefixCache, start: int, count: int) -> tuple[Tensor, Tensor]:
    """Masks (count, start + count) of what tokens from `start` on may see: full layers, sliding ones."""
    queries = torch.arange(start, start + count, device=cache.device)[:, None]
    keys = torch.arange(start + count, device=cache.device)[None]
    full = keys <= queries
    return full, full & (keys > queries - cache.config.sliding_window)


def after_cache(cache: PrefixCache, start: int, count: int) -> Attend:
    """Causal attention of a batch (b, …) of `count` tokens that follow the cache's first `start`.

    Writes nothing.
    """
    full, near = causal_masks(cache, start, count)

    def attend(layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        k, v = _joined(cache.first(layer, start), k, v)
        return attention(q, k, v, near if cache.config.layers[layer].sliding else full)

    return attend


def over_cache(cache: PrefixCache) -> Attend:
    """Attention of a canvas batch (b, n, …) to the cached prefix and to all of itself.

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
        keys[:b, :, -n:] = k
        values[:b, :, -n:] = v
        return attention(q, keys[:b], values[:b])

    return attend


def _joined(cached: tuple[Tensor, Tensor], k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    """One row of cached keys and values in front of a batch's own."""
    keys, values = (part.expand(len(k), -1, -1, -1) for part in cached)
    return torch.cat((keys, k.to(keys.dtype)), dim=2), torch.cat((values, v.to(values.dtype)), dim=2)
