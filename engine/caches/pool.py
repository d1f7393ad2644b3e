"""Prefix caches of several documents, and of several places in one: the least recently used goes first.

Speaks token ids; knows nothing of documents. What a prompt shares with a cache says which one it wants.
"""

from __future__ import annotations

from collections.abc import Sequence

from engine.caches.prefix import PrefixCache
from engine.networks.network import Network

_ROLLED_BACK = 64
"""Tokens a cache may lose to a prompt that shares its beginning: about what is typed and deleted again.
A prompt that shares less of it comes from somewhere else, and gets a copy of what they share."""

_CACHES = 32
"""Kept at most, however small: all of them are looked through for every prompt."""


class CachePool:
    """Prefix caches of up to `max_bytes` in all; the one in use stays, even if it is larger than that.

    `asked_tokens` and `kept_tokens` count the tokens of all prompts and those of them that needed no
    encoding.
    """

    def __init__(self, network: Network, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self.asked_tokens = 0
        self.kept_tokens = 0
        self._network = network
        self._caches: list[PrefixCache] = []  # the most recently used last

    def __len__(self) -> int:
        return len(self._caches)

    @property
    def bytes(self) -> int:
        """What all caches take."""
        return sum(cache.bytes for cache in self._caches)

    def best(self, tokens: Sequence[int]) -> PrefixCache:
        """The cache that shares the longest prefix with `tokens`, with room for them; or a new one.

        The caller encodes what is missing, and may use the cache until it asks for the next or gives it back.
        """
        cache, shared = self._closest(tokens)
        if cache is None or len(cache) - shared > _ROLLED_BACK:
            network = self._network
            fresh = PrefixCache(
                network.config, dtype=network.dtype, device=network.device, kept=network.kept_dtype
            )
            if cache is not None:
                fresh.copy(cache, shared)
            cache = fresh
        else:
            self._caches.remove(cache)
        cache.reserve(len(tokens))
        self._caches.append(cache)
        while len(self._caches) > 1 and (self.bytes > self.max_bytes or len(self._caches) > _CACHES):
            del self._caches[0]
        self.asked_tokens += len(tokens)
        self.kept_tokens += shared
        return cache

    def give_back(self) -> None:
        """The cache that was asked for last is no longer used; others may have it, if there are others."""

    def clear(self) -> None:
        """Forget everything."""
        self._caches.clear()

    def _closest(self, tokens: Sequence[int]) -> tuple[PrefixCache | None, int]:
        """The cache with the longest common prefix, the latest of equals, and how long that is."""
        shared = [(cache.common_prefix(tokens), index) for index, cache in enumerate(self._caches)]
        length, index = max(shared, default=(0, -1))
        return (self._caches[index], length) if index >= 0 else (None, 0)
