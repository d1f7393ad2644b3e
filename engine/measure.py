"""What a loaded engine does by itself, to be timed: steps, greedy writing, and the least a step can take.

Knows nothing of files, of holes or of how results are shown.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import torch

from engine.cache import PrefixCache, encode_prefix
from engine.causal import write_greedily
from engine.denoiser import Plan, denoise
from engine.hardware import seconds_per_product
from engine.inprocess import InProcessEngine

_SUMMED_BYTES = 64 * 2**20


@dataclass(frozen=True, kw_only=True)
class Floor:
    """The least a step of some canvases can take: its operations at this machine's measured rate for
    products of matrices, its bytes at its measured bandwidth."""

    operations: float
    operations_per_s: float
    bytes: float
    bytes_per_s: float

    @property
    def ms(self) -> float:
        """The longer of the two."""
        return 1e3 * max(self.operations / self.operations_per_s, self.bytes / self.bytes_per_s)


class Meter:
    """Runs parts of `engine` on a prompt of random tokens and says how long they took."""

    def __init__(self, engine: InProcessEngine, prompt_tokens: int) -> None:
        self._engine = engine
        generator = torch.Generator().manual_seed(0)
        vocab = engine._network.config.vocab_size
        self._prompt = torch.randint(16, vocab, (prompt_tokens,), generator=generator).tolist()

    @torch.inference_mode()
    def steps_ms(self, *, canvas_tokens: int, candidates: int, steps: int, cold: bool = False) -> float:
        """Milliseconds of one canvas batch denoised in all of `steps`, its prompt cached unless `cold`."""
        began = time.perf_counter()
        engine = self._engine
        if cold:
            engine._pool.clear()
        cache = self._encoded()
        if not cold:
            began = time.perf_counter()
        plan = Plan(length=canvas_tokens, batch=candidates, max_steps=steps, seed=1)
        # Without a threshold no canvas ends early: what is timed is the step.
        sampler = replace(engine._sampler, confidence_threshold=None)
        for _ in denoise(engine._network, cache, sampler, plan, threading.Event()):
            pass
        return 1e3 * (time.perf_counter() - began)

    def greedy_ms(self, tokens: int) -> float:
        """Milliseconds for `tokens` written one after the other by the causal direction, prompt cached."""
        cache = self._encoded()
        began = time.perf_counter()
        write_greedily(self._engine._network, cache, self._prompt, tokens, to_the_limit=True)
        return 1e3 * (time.perf_counter() - began)

    def floor(self, *, canvas_tokens: int, candidates: int) -> Floor:
        """The floor of one step behind this meter's prompt."""
        network = self._engine._network
        config, rows = network.config, canvas_tokens * candidates
        keys = len(self._prompt) + canvas_tokens
        heads = config.num_attention_heads
        attention = sum(4 * rows * keys * heads * layer.head_dim for layer in config.layers)
        # The embedding serves twice: for the logits and for the mean embeddings.
        parameters = network.size + config.vocab_size * config.hidden_size
        with _torch_threads(network.threads):
            product_s = seconds_per_product(network.dtype, rows, config.hidden_size, 4 * config.hidden_size)
            bandwidth = _bandwidth()
        return Floor(
            operations=2.0 * rows * parameters + attention,
            operations_per_s=2.0 * rows * 4 * config.hidden_size**2 / product_s,
            bytes=float(network.size * network.dtype.itemsize),
            bytes_per_s=bandwidth,
        )

    @property
    def threads(self) -> int:
        """How many threads a pass is divided among."""
        return self._engine._network.threads

    def forget(self) -> None:
        """Drop all prefix caches."""
        self._engine._pool.clear()

    def prompt_share_encoded(self, run: Callable[[], object]) -> float:
        """Which share of all prompt tokens was encoded while `run` ran; the rest came from caches."""
        pool = self._engine._pool
        asked, kept = pool.asked_tokens, pool.kept_tokens
        run()
        asked, kept = pool.asked_tokens - asked, pool.kept_tokens - kept
        return (asked - kept) / asked if asked else 0.0

    @torch.inference_mode()
    def _encoded(self) -> PrefixCache:
        cache = self._engine._pool.best(self._prompt)
        encode_prefix(self._engine._network, cache, self._prompt)
        return cache


@contextlib.contextmanager
def _torch_threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def resident_bytes() -> int | None:
    """Memory of this process that is in RAM; None where the system does not say (Linux does)."""
    try:
        with open("/proc/self/statm", encoding="ascii") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return None


def peak_resident_bytes() -> int | None:
    """The most memory this process ever had in RAM; None where the system does not say (Linux does)."""
    try:
        with open("/proc/self/status", encoding="ascii") as file:
            line = next(line for line in file if line.startswith("VmHWM:"))
    except (OSError, StopIteration):
        return None
    return 1024 * int(line.split()[1])


def _bandwidth() -> float:
    """Bytes a second that are read from memory: the best of a few sums over more than caches hold."""
    source = torch.ones(_SUMMED_BYTES // 4)
    best = float("inf")
    for _ in range(4):
        began = time.perf_counter()
        source.sum()
        best = min(best, time.perf_counter() - began)
    return _SUMMED_BYTES / best
