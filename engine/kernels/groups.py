"""Tokens sorted by the expert they go to, and what they are multiplied by there. Does not import Triton."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from engine.quant.weight import QuantisedWeight

Weight = Tensor | QuantisedWeight
"""(experts, out, in), plain or quantised."""


@dataclass(frozen=True, kw_only=True)
class Groups:
    """Assignments (token, expert) sorted by expert, n = tokens * k of them.

    `token` (n,) is each one's token; `offsets` (experts + 1,) int32 is where each expert's begin and the
    last one's end; `back` (n,) finds the sorted assignment of the original token * k + slot.
    """

    token: Tensor
    offsets: Tensor
    back: Tensor

    @classmethod
    def of(cls, chosen: Tensor, experts: int) -> Groups:
        """The groups of `chosen` (tokens, k); without asking the host."""
        flat = chosen.reshape(-1)
        ordered, order = flat.sort(stable=True)
        bounds = torch.arange(experts + 1, device=flat.device, dtype=flat.dtype)
        return cls(
            token=order // chosen.shape[1],
            offsets=torch.searchsorted(ordered, bounds).int(),
            back=torch.empty_like(order).scatter_(
                0, order, torch.arange(len(order), device=flat.device, dtype=order.dtype)
            ),
        )
