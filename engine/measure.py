"""What a loaded engine does by itself, to be timed: steps, greedy writing, and the least a step can take.

Knows nothing of files, of holes or of how results are shown.
"""

from __future__ import annotations

import contextlib
import math
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, cast

import torch
from torch import Tensor

from engine.caches.prefix import PrefixCache, encode_prefix
from engine.causal.scores import write_greedily
from engine.denoising.denoiser import Plan, denoise
from engine.inprocess import InProcessEngine
from engine.native import library
from engine.native.matrix import NativeMatrix
from engine.networks.attention import Attend, Memory
from engine.networks.hardware import PRODUCT_SIZE, seconds_per_product
from engine.networks.native import NativeGemma
from engine.networks.network import Network, Searching

_SUMMED_BYTES = 64 * 2**20


@dataclass(frozen=True, kw_only=True)
class Floor:
    """The least a step of some canvases can take: its operations at this machine's measured rate for
    products of matrices, its bytes at its measured bandwidth.

    Products are those of the network, or of torch in bfloat16: a floor for whoever does not know of bytes."""

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
        self._engine, self._most_bandwidth = engine, 0.0
        generator = torch.Generator().manual_seed(0)
        vocab = engine.network.config.vocab_size
        self._prompt = torch.randint(16, vocab, (prompt_tokens,), generator=generator).tolist()

    @torch.inference_mode()
    def steps_ms(self, *, canvas_tokens: int, candidates: int, steps: int, cold: bool = False) -> float:
        """Milliseconds of one canvas batch denoised in all of `steps`, its prompt cached unless `cold`."""
        began = time.perf_counter()
        engine = self._engine
        if cold:
            engine.prefill.pool.clear()
        cache = self._encoded()
        if not cold:
            began = time.perf_counter()
        plan = Plan(length=canvas_tokens, batch=candidates, seed=1)
        # Without a threshold no canvas ends early: what is timed is the step.
        sampler = replace(engine._sampler, max_denoising_steps=steps, confidence_threshold=None)
        for _ in denoise(engine.network, cache, sampler, plan, threading.Event()):
            pass
        return 1e3 * (time.perf_counter() - began)

    def greedy_ms(self, tokens: int) -> float:
        """Milliseconds for `tokens` written one after the other by the causal direction, prompt cached."""
        cache = self._encoded()
        began = time.perf_counter()
        write_greedily(self._engine.network, cache, self._prompt, tokens, to_the_limit=True)
        return 1e3 * (time.perf_counter() - began)

    def floor(self, *, canvas_tokens: int, candidates: int, in_bfloat16: bool = False) -> Floor:
        """The floor of one step behind this meter's prompt."""
        config, rows = self._engine.network.config, canvas_tokens * candidates
        # The embedding serves twice: for the logits and for the mean embeddings.
        parameters = self._engine.network.size + config.vocab_size * config.hidden_size
        arithmetic = _Arithmetic(self._engine.network, in_bfloat16=in_bfloat16)
        rate = arithmetic.rate(rows, config.hidden_size, 4 * config.hidden_size)
        return self._floor(rows, len(self._prompt) + canvas_tokens, parameters, rate, arithmetic)

    def passes_floor(self, run: Callable[[], object], *, in_bfloat16: bool = False) -> tuple[int, float]:
        """How many passes through the layers `run` makes, and the least milliseconds they can take together.

        That is of each the longer of its operations, at the rate of large products, and its bytes.
        """
        network = self._engine.network
        watched = _Watched(network)
        self._engine.prefill.network = cast("Network", watched)
        try:
            run()
        finally:
            self._engine.prefill.network = network
        arithmetic = _Arithmetic(network, in_bfloat16=in_bfloat16)
        rate = arithmetic.rate()
        floors = [self._floor(rows, keys, network.size, rate, arithmetic) for rows, keys in watched.passes]
        return len(floors), sum(floor.ms for floor in floors)

    def _floor(self, rows: int, keys: int, parameters: int, rate: float, arithmetic: _Arithmetic) -> Floor:
        network = self._engine.network
        heads = network.config.num_attention_heads
        attention = sum(4 * rows * keys * heads * layer.head_dim for layer in network.config.layers)
        return Floor(
            operations=2.0 * rows * parameters + attention,
            operations_per_s=rate,
            bytes=float(network.size * arithmetic.weight_bytes),
            bytes_per_s=self._bandwidth(),
        )

    def _bandwidth(self) -> float:
        """The most that was ever measured here: other programs only make it less."""
        self._most_bandwidth = max(self._most_bandwidth, _bandwidth())
        return self._most_bandwidth

    @property
    def threads(self) -> int:
        """How many threads a pass is divided among."""
        return self._engine.network.threads

    def forget(self) -> None:
        """Drop all prefix caches."""
        self._engine.prefill.pool.clear()

    def prompt_share_encoded(self, run: Callable[[], object]) -> float:
        """Which share of all prompt tokens was encoded while `run` ran; the rest came from caches."""
        pool = self._engine.prefill.pool
        asked, kept = pool.asked_tokens, pool.kept_tokens
        run()
        asked, kept = pool.asked_tokens - asked, pool.kept_tokens - kept
        return (asked - kept) / asked if asked else 0.0

    @torch.inference_mode()
    def _encoded(self) -> PrefixCache:
        cache = self._engine.prefill.pool.best(self._prompt)
        encode_prefix(self._engine.network, cache, self._prompt)
        return cache


class _Arithmetic:
    """Products as a network does them, or as torch does in bfloat16."""

    def __init__(self, network: Network, *, in_bfloat16: bool) -> None:
        own = None if in_bfloat16 or not isinstance(network, NativeGemma) else library()
        self._threads = network.threads
        self._dtype = torch.bfloat16 if in_bfloat16 else network.dtype if own is None else torch.float32
        self._prepare = None if own is None else partial(NativeMatrix, library=own)
        self.weight_bytes = self._dtype.itemsize if own is None else 1

    def rate(self, *shape: int) -> float:
        """Operations a second in products of a shape (rows, inputs, outputs), a large one if none is said."""
        size = math.prod(shape) if shape else PRODUCT_SIZE
        with _torch_threads(self._threads):
            return 2.0 * size / seconds_per_product(self._dtype, *shape, prepare=self._prepare)


class _Watched:
    """A network that remembers its `passes`: over how many tokens, how many keys the last of them sees."""

    def __init__(self, network: Network) -> None:
        self._network = network
        self.passes: list[tuple[int, int]] = []

    def encode(self, ids: Tensor, positions: Tensor, attend: Attend) -> Tensor:
        self.passes.append((ids.numel(), 1 + int(positions.max())))
        return self._network.encode(ids, positions, attend)

    def denoise(self, canvas: Tensor, positions: Tensor, attend: Attend, soft: Tensor | None) -> Tensor:
        self.passes.append((canvas.numel(), 1 + int(positions.max())))
        return self._network.denoise(canvas, positions, attend, soft)

    def logits_behind(self, memory: Memory, ids: list[list[int]], at: list[int], *rest: Any) -> Tensor | None:
        logits = self._network.logits_behind(memory, ids, at, *rest)
        if logits is not None:
            self.passes.append((len(ids) * len(ids[0]), memory.start + max(at) + len(ids[0])))
        return logits

    def search_behind(
        self, memory: Memory, searching: Searching, seconds: float
    ) -> Sequence[tuple[int, int]] | None:
        sizes = self._network.search_behind(memory, searching, seconds)
        # What a middle sees of itself is left out: it is little, and only the search knows how much.
        self.passes += [(tokens, memory.start) for _, tokens in sizes or ()]
        return sizes

    def __getattr__(self, name: str) -> Any:
        return getattr(self._network, name)


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
