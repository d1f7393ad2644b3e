"""Products with a weight in C."""

from __future__ import annotations

from ctypes import byref

import torch
from torch import Tensor

from engine.native.compiled import LANES, Library, Product


class NativeMatrix:
    """A weight (out, in) as bfloat16, both multiples of 16; called with rows (m, in), gives float32 (m, out).

    With a `cap` what comes out is soft-capped to it: cap * tanh(y / cap). `instructions` is as in
    `engine.native.NativeGemma`.
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
        scratch = torch.empty(threads * x.numel())
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
    """`weight` (out, in) as bfloat16 in panels (out / 16, in / 2, 16, 2)."""
    outputs, inputs = weight.shape
    parts = weight.to(torch.bfloat16).view(outputs // LANES, LANES, inputs // 2, 2)
    return parts.permute(0, 2, 1, 3).contiguous()
