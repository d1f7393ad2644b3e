"""A mixture of experts as grouped matrix products: tokens sorted by expert, two products, and back.

Three ways to the same numbers: a plain loop (the reference, and what a CPU runs), `torch._grouped_mm`, and
kernels of our own (`engine.kernels`), which also take quantised weights. On a GPU none of them asks the
host anything: which expert got how many tokens stays on the device. Knows nothing of how tokens were routed.
"""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from engine.kernels.groups import Groups, Weight
from engine.quant.weight import QuantisedWeight

Backend = Literal["loop", "grouped_mm", "triton"]


def run_experts(
    gate_up: Weight,
    down: Weight,
    x: Tensor,
    weights: Tensor,
    chosen: Tensor,
    backend: Backend | None = None,
) -> Tensor:
    """The weighted sum of the chosen experts' outputs: (tokens, hidden).

    `gate_up` (experts, 2 * wide, hidden) holds each expert's gate first, `down` is (experts, hidden, wide);
    x (tokens, hidden); `weights` and `chosen` (tokens, k). `backend` None takes the best there is.
    """
    chosen_backend = backend or best_backend(x, gate_up, down)
    if chosen_backend == "loop":
        return _loop(gate_up, down, x, weights, chosen)
    groups = Groups.of(chosen, gate_up.shape[0])
    if chosen_backend == "grouped_mm":
        assert isinstance(gate_up, Tensor)
        assert isinstance(down, Tensor)
        inner = gated(_grouped_mm(x[groups.token], gate_up, groups))
        out = _grouped_mm(inner, down, groups)
    else:
        from engine.kernels.grouped import grouped_matmul

        inner = gated(grouped_matmul(x, gate_up, groups, gather=True))
        out = grouped_matmul(inner, down, groups)
    # Back to token order, without atomics: the same numbers every time.
    by_token = out[groups.back].view(*chosen.shape, -1)
    return (by_token.float() * weights.float()[..., None]).sum(1).to(x.dtype)


def best_backend(x: Tensor, *experts: Weight) -> Backend:
    """What suits the device and the weights: kernels only where there is a GPU for them."""
    if not x.is_cuda:
        return "loop"
    if any(isinstance(weight, QuantisedWeight) for weight in experts):
        return "triton"
    return "grouped_mm" if x.dtype == torch.bfloat16 else "triton"


def gated(gate_up: Tensor) -> Tensor:
    """gelu_tanh(gate) * up of (n, 2 * wide): (n, wide)."""
    gate, up = gate_up.chunk(2, dim=-1)
    return F.gelu(gate, approximate="tanh") * up


def _grouped_mm(x: Tensor, weight: Tensor, groups: Groups) -> Tensor:
    product: Tensor = torch._grouped_mm(x, weight.transpose(1, 2), offs=groups.offsets[1:])
    return product


def _loop(gate_up: Weight, down: Weight, x: Tensor, weights: Tensor, chosen: Tensor) -> Tensor:
    out = torch.zeros_like(x)
    for expert in torch.unique(chosen).tolist():
        token, slot = torch.where(chosen == expert)
        inner = gated(F.linear(x[token], _plain(gate_up[expert], x.dtype)))
        part = F.linear(inner, _plain(down[expert], x.dtype))
        out.index_add_(0, token, (part * weights[token, slot, None]).to(out.dtype))
    return out


def _plain(weight: Weight, dtype: torch.dtype) -> Tensor:
    return weight.dequantise(dtype) if isinstance(weight, QuantisedWeight) else weight
