"""What this machine computes fastest with: the layout of a model, its number format, threads.

Chosen by measuring, at load: processors do not say reliably what they are fast at. Knows nothing of what a
model computes.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import torch
from torch import Tensor

from engine.native import library
from engine.networks.folded import can_fold
from engine.networks.graphs import GraphedGemma
from engine.networks.heap import keep_freed_memory
from engine.networks.matrix import Matrix
from engine.networks.model import DiffusionGemma
from engine.networks.native import NativeGemma, can_run
from engine.networks.network import Network
from engine.networks.packed import PackedGemma

_ROWS, _IN, _OUT = 128, 256, 1024
"""The product the formats are compared on, about the largest of a small model's layers."""

PRODUCT_SIZE = _ROWS * _IN * _OUT
"""Multiplications in it."""

_TRIALS = 7
_WORTH = 0.75
"""A less precise format has to take at most this share of the time."""


def fastest(model: DiffusionGemma, *, fp8_prefixes: bool = False) -> Network:
    """`model` as it runs fastest where it is.

    On a GPU its steps are recorded, and its prefixes kept in fp8 where that is asked for. On a CPU its layers
    are in C if they are compiled, else packed; with experts to choose among it is returned as it is.
    """
    if model.device.type == "cuda":
        return GraphedGemma(model, torch.float8_e4m3fn if fp8_prefixes else None)
    if model.device.type != "cpu" or not can_fold(model):
        return model
    keep_freed_memory()
    threads, dtype = fast_threads(torch.get_num_threads()), fast_dtype()
    code = library() if can_run(model) else None
    if code is None:
        torch.set_num_threads(threads)
        return PackedGemma(model, dtype)
    # What is left to torch is small; its threads would wait for more of it where ours want to compute.
    torch.set_num_threads(1)
    code.most_threads = threads
    return NativeGemma(model, dtype, code)


def fast_threads(most: int) -> int:
    """`most` threads, or one where that is no slower.

    Where other programs keep the cores busy, threads that wait for each other at every product are many
    times slower than one that waits for nobody.
    """
    before = torch.get_num_threads()
    seconds = {}
    for threads in (1, most):
        torch.set_num_threads(threads)
        seconds[threads] = seconds_per_product(torch.float32, best=False)
    torch.set_num_threads(before)
    return most if seconds[most] < seconds[1] else 1


def fast_dtype() -> torch.dtype:
    """bfloat16 if this CPU multiplies matrices clearly faster in it than in float32, else float32."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # so that what else runs does not decide
    full, half = (seconds_per_product(dtype) for dtype in (torch.float32, torch.bfloat16))
    torch.set_num_threads(threads)
    return torch.bfloat16 if half < _WORTH * full else torch.float32


@torch.inference_mode()
def seconds_per_product(
    dtype: torch.dtype,
    rows: int = _ROWS,
    inputs: int = _IN,
    outputs: int = _OUT,
    *,
    best: bool = True,
    prepare: Callable[[Tensor], Callable[[Tensor], Tensor]] | None = None,
) -> float:
    """How long a product (rows, inputs) x (inputs, outputs) takes in `dtype` as a packed model does it.

    The best of a few trials is the machine's own speed, the mean what there is of it just now. With `prepare`
    it is the product that that makes of a weight (outputs, inputs).
    """
    weight = torch.zeros(outputs, inputs)
    product = Matrix(weight, dtype) if prepare is None else prepare(weight)
    x = torch.zeros(rows, inputs, dtype=dtype)
    product(x)  # warms up
    trials = [_seconds(product, x) for _ in range(_TRIALS)]
    return min(trials) if best else sum(trials) / len(trials)


def _seconds(product: Callable[[Tensor], Tensor], x: Tensor) -> float:
    began = time.perf_counter()
    product(x)
    return time.perf_counter() - began
