"""A linear layer by a quantised weight: a kernel of ours on a GPU, decoded for torch elsewhere."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from engine.quant.weight import QuantisedWeight


class QuantisedLinear(nn.Module):
    """A linear layer without a bias whose weight (out, in) is quantised."""

    def __init__(self, weight: QuantisedWeight) -> None:
        super().__init__()
        self.weight = weight

    def forward(self, x: Tensor) -> Tensor:
        """x (..., in) -> (..., out)."""
        if x.is_cuda:
            from engine.kernels.grouped import quantised_matmul

            return quantised_matmul(x, self.weight)
        return F.linear(x, self.weight.dequantise(x.dtype))
