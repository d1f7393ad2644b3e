"""One bound on the memory of all lanes' prefix caches: who was used longest ago goes first, whoever has it.

A lane alone would keep as much as all together may. What one lane has encoded another goes on with, where the
first does not use it just then. Knows token ids, and nothing of lanes or documents.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from engine.caches.pool import CachePool

if TYPE_CHECKING:
    from engine.caches.prefix import PrefixCache
    from engine.networks.network import Network


class Budget:
    """The caches of several pools, at most `max_bytes` in all, those apart that are in use."""

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self.lock = threading.RLock()
        self._pools: list[SharedPool] = []
        self._ticks = itertools.count()
        self._used: WeakKeyDictionary[PrefixCache, int] = WeakKeyDictionary()

    @property
    def bytes(self) -> int:
        """What all caches take."""
        return sum(pool.bytes for pool in self._pools)

    @property
    def asked_tokens(self) -> int:
        """The tokens of all prompts."""
        return sum(pool.asked_tokens for pool in self._pools)

    @property
    def kept_tokens(self) -> int:
        """Those of them that needed no encoding."""
        return sum(pool.kept_tokens for pool in self._pools)

    def pool(self, network: Network) -> SharedPool:
        """Another pool that shares the bound."""
        pool = SharedPool(self, network)
        with self.lock:
            self._pools.append(pool)
        return pool

    def used(self, cache: PrefixCache) -> None:
        """Note that a cache is used now, and let the oldest go until the bound is kept."""
        with self.lock:
            self._used[cache] = next(self._ticks)
            while self.bytes > self.max_bytes and self._drop_oldest():
                pass

    def closest(self, tokens: Sequence[int]) -> tuple[int, SharedPool | None, PrefixCache | None]:
        """The idle cache that shares the longest prefix with `tokens`, how long that is and whose it is."""
        found: tuple[int, SharedPool | None, PrefixCache | None] = (0, None, None)
        for pool in self._pools:
            for cache in pool.idle():
                shared = cache.common_prefix(tokens)
                if shared > found[0]:
                    found = shared, pool, cache
        return found

    def evict(self) -> None:
        """Let everything go that is not in use: memory has run out."""
        with self.lock:
            while self._drop_oldest():
                pass

    def _drop_oldest(self) -> bool:
        idle = [(self._used.get(cache, -1), pool, cache) for pool in self._pools for cache in pool.idle()]
        if not idle:
            return False
        _, pool, cache = min(idle, key=lambda found: found[0])
        pool.drop(cache)
        return True


class SharedPool(CachePool):
    """A lane's pool; see `engine.caches.pool.CachePool`. Its latest cache is the one in use, if any is."""

    def __init__(self, budget: Budget, network: Network) -> None:
        super().__init__(network, budget.max_bytes)
        self._budget = budget
        self._in_use = False

    def best(self, tokens: Sequence[int]) -> PrefixCache:
        """See `engine.caches.pool.CachePool.best`; another lane's cache becomes ours if it shares more."""
        with self._budget.lock:  # others let our caches go, and take them
            shared, pool, closest = self._budget.closest(tokens)
            if (
                pool is not None
                and closest is not None
                and pool is not self
                and shared > self._shared(tokens)
            ):
                pool.drop(closest)
                self._caches.append(closest)
            cache = super().best(tokens)
            self._in_use = True
            self._budget.used(cache)
        return cache

    def give_back(self) -> None:
        """See `engine.caches.pool.CachePool.give_back`."""
        with self._budget.lock:
            self._in_use = False

    def idle(self) -> list[PrefixCache]:
        """The caches that are not in use."""
        return self._caches[:-1] if self._in_use else self._caches[:]

    def _shared(self, tokens: Sequence[int]) -> int:
        return self._closest(tokens)[1]

    def drop(self, cache: PrefixCache) -> None:
        """Let one go."""
        self._caches.remove(cache)
