"""Prompts on their way into prefix caches, for one request at a time.

Callers that share it are made to wait for each other, since they share the caches. Knows nothing of what a
prompt is encoded for.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

import torch

from engine.caches.pool import CachePool
from engine.caches.prefix import PrefixCache, encode_prefix
from engine.config import PromptConfig
from engine.networks.heap import give_back_freed_memory
from engine.networks.network import Network
from engine.request import Prompt
from engine.text.prompts import lay_out
from engine.text.tokenizer import Tokenizer

_GIVE_BACK_EVERY = 250
"""Prompts between two times that freed memory is returned to the system, which takes a millisecond or two.
Prompts of all lengths leave a hundred megabytes of holes."""

_LOOK_S = 0.05
"""How long a request waits for another before it looks again whether it is still wanted."""


class Prefill:
    """Encodes prompts as `network` wants them laid out, into caches of `pool`."""

    def __init__(
        self, network: Network, tokenizer: Tokenizer, prompts: PromptConfig, pool: CachePool
    ) -> None:
        self.network, self.tokenizer, self.prompts, self.pool = network, tokenizer, prompts, pool
        self._lock = threading.Lock()
        self._served = 0

    @contextlib.contextmanager
    def of(self, prompt: Prompt, cancelled: threading.Event) -> Iterator[PrefixCache | None]:
        """The cache with `prompt` in it, with all of them to oneself; None where nobody waits any more."""
        while not self._lock.acquire(timeout=_LOOK_S):
            if cancelled.is_set():
                yield None
                return
        try:
            yield self.encode(prompt, cancelled)
        finally:
            self.pool.give_back()
            self._served += 1
            if self._served % _GIVE_BACK_EVERY == 0:
                give_back_freed_memory()
            self._lock.release()

    def encode(self, prompt: Prompt, cancelled: threading.Event) -> PrefixCache | None:
        """The cache with another prompt, for whoever has them all and needs the one before no longer."""
        tokens = lay_out(prompt, self.tokenizer, self.prompts)
        cache = self.pool.best(tokens)
        with torch.inference_mode():
            encode_prefix(self.network, cache, tokens, cancelled)
        return None if cancelled.is_set() else cache
