"""Products with weights as the CPU's matrix library wants them.

Knows nothing of what a weight is for.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from engine.networks.attention import padded_rows

_ROWS = 128
"""Rows the matrices are laid out for: four canvases of 32. Any number works."""

_ROWS_AS_THEY_ARE = 24
"""Rows up to here are those of a few tokens each of a few middles, which are few numbers anyway."""


class Matrix:
    """A weight (out, in) in the layout of the CPU's matrix library; called with rows (m, in)."""

    def __init__(self, weight: Tensor, dtype: torch.dtype) -> None:
        self._weight = weight.detach().to(dtype).contiguous()
        self._library = torch.backends.mkldnn.is_available() and self._weight.device.type == "cpu"
        if self._library:
            self._weight = torch.ops.mkldnn._reorder_linear_weight(self._weight, _ROWS)

    def __call__(self, x: Tensor) -> Tensor:
        if self._library:
            out: Tensor = torch.ops.mkldnn._linear_pointwise(x, self._weight, None, "none", [], "")
            return out
        return F.linear(x, self._weight)

    def gelu(self, x: Tensor) -> Tensor:
        """gelu_tanh of the product, in the same pass."""
        if self._library:
            out: Tensor = torch.ops.mkldnn._linear_pointwise(x, self._weight, None, "gelu", [], "tanh")
            return out
        return F.gelu(F.linear(x, self._weight), approximate="tanh")

    def times(self, x: Tensor, other: Tensor) -> Tensor:
        """The product times `other` (m, out), in the same pass."""
        if self._library:
            out: Tensor = torch.ops.mkldnn._linear_pointwise.binary(x, other, self._weight, None, "mul")
            return out
        return F.linear(x, self._weight) * other


def filled_up(x: Tensor) -> Tensor:
    """`x` (rows, in), in front of as many zeros as make its rows one of a few numbers."""
    count = len(x)
    return x if count <= _ROWS_AS_THEY_ARE else F.pad(x, (0, 0, 0, padded_rows(count) - count))


class Gated:
    """Gated MLPs of one input side by side, whose input's norm weights are part of their matrices.

    `gate` and `up` are (wide, in), `downs` (out, wide) each and as wide together; what each of them puts out
    stays apart.
    """

    def __init__(self, gate: Tensor, up: Tensor, downs: Sequence[Tensor], dtype: torch.dtype) -> None:
        self._gate, self._up = Matrix(gate, dtype), Matrix(up, dtype)
        self._downs = [Matrix(down, dtype) for down in downs]
        self._wide = [down.shape[1] for down in downs]

    def __call__(self, x: Tensor) -> list[Tensor]:
        inner = self._up.times(x, self._gate.gelu(x))
        parts = inner.split(self._wide, -1)
        return [down(part) for down, part in zip(self._downs, parts, strict=True)]
