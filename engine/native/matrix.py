"""Products with a weight in C."""

from __future__ import annotations

from ctypes import byref

import torch
from torch import Tensor

from engine.native.compiled import LANES, Library, Product

_STEPS = 127
"""Up and down, of a weight."""

_LEAST = 1e-30
"""What an output's largest weight counts as at least, so that an output of zeros has steps too."""


class NativeMatrix:
    """A weight (out, in) in steps of int8, both multiples of 16; called with rows (m, in), gives (m, out).

    Rows are float32, and so is what comes out; where there are instructions for it the product is one of
    steps. With a `cap` what comes out is soft-capped to it: cap * tanh(y / cap). `instructions` is as in
    `engine.networks.native.NativeGemma`.
    """

    def __init__(
        self, weight: Tensor, library: Library, instructions: int | None = None, *, cap: float = 0.0
    ) -> None:
        self._library, self._cap = library, cap
        self._set = library.best if instructions is None else instructions
        self._outputs, self._inputs = weight.shape
        self.panels = panels(weight.detach())

    def __call__(self, x: Tensor) -> Tensor:
        x = x.float().contiguous()
        y = torch.empty(len(x), self._outputs)
        threads = self._library.threads
        scratch = torch.empty(threads * (x.numel() + len(x)))
        product = Product(
            weight=self.panels.data_ptr(),
            x=x.data_ptr(),
            y=y.data_ptr(),
            cap=self._cap,
            rows=len(x),
            inputs=self._inputs,
            outputs=self._outputs,
        )
        self._library.product(byref(product), self._set, scratch.data_ptr(), threads)
        return y


def panels(weight: Tensor) -> Tensor:
    """`weight` (out, in) in 127 steps up and down of each output's own: panels (out / 16, bytes) uint8, which
    structures.h describes."""
    weight = weight.float()
    step = weight.abs().amax(1, keepdim=True).clamp_min(_LEAST) / _STEPS
    steps = (weight / step).round().to(torch.int8)
    taken_off = -steps.sum(1, dtype=torch.int32)
    by_fours = steps.view(-1, LANES, steps.shape[1] // 4, 4).transpose(1, 2)
    parts = step.view(-1, LANES), taken_off.view(-1, LANES), by_fours.reshape(-1, LANES * steps.shape[1])
    return torch.cat([part.view(torch.uint8) for part in parts], 1)
