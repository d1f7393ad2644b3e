"""Muon for matrices and AdamW for everything else, as one optimizer with one checkpointable state.

Muon orthogonalises each matrix's momentum by a Newton-Schulz iteration; matrices of one shape go through
it as a batch. Knows nothing of the model beyond parameter names and shapes.

Source: Jordan et al., "Muon: An optimizer for hidden layers in neural networks" (2024).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

import torch
from torch import Tensor, nn


class Muon(torch.optim.Optimizer):
    """Momentum, orthogonalised; for parameters of two dimensions, or three where the first is a batch."""

    def __init__(
        self,
        params: Iterable[nn.Parameter],
        *,
        lr: float,
        momentum: float = 0.95,
        weight_decay: float = 0.1,
    ) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """One update from the parameters' gradients."""
        for group in self.param_groups:
            by_shape: dict[torch.Size, list[nn.Parameter]] = defaultdict(list)
            for parameter in group["params"]:
                if parameter.grad is not None:
                    by_shape[parameter.shape[-2:]].append(parameter)
            for shape, parameters in by_shape.items():
                self._update(parameters, shape, group)

    def _update(self, parameters: list[nn.Parameter], shape: torch.Size, group: dict[str, float]) -> None:
        rows, columns = shape
        pushes = []
        for parameter in parameters:
            assert parameter.grad is not None
            state = self.state[parameter]
            if not state:
                state["momentum"] = torch.zeros_like(parameter)
            state["momentum"].lerp_(parameter.grad, 1 - group["momentum"])
            pushes.append(parameter.grad.lerp(state["momentum"], group["momentum"]).view(-1, rows, columns))
        updates = torch.split(orthogonalise(torch.cat(pushes)), [len(push) for push in pushes])
        scale = max(1.0, rows / columns) ** 0.5
        for parameter, update in zip(parameters, updates, strict=True):
            parameter.mul_(1 - group["lr"] * group["weight_decay"])
            parameter.add_(update.view_as(parameter), alpha=-group["lr"] * scale)


def orthogonalise(matrices: Tensor, steps: int = 5) -> Tensor:
    """Roughly the nearest semi-orthogonal matrix of each of `matrices` (n, rows, columns), in float32.

    A quintic Newton-Schulz iteration whose coefficients trade exactness (singular values end up within
    about 0.7 to 1.2) for a steep slope at zero.
    """
    a, b, c = 3.4445, -4.7750, 2.0315
    x: Tensor = matrices.bfloat16()
    tall = x.shape[-2] > x.shape[-1]
    if tall:
        x = x.mT
    x = x / (x.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    for _ in range(steps):
        gram = x @ x.mT
        x = a * x + (b * gram + c * gram @ gram) @ x
    return (x.mT if tall else x).float()


def split_parameters(model: nn.Module) -> tuple[list[nn.Parameter], list[nn.Parameter], list[nn.Parameter]]:
    """(matrices for Muon, the embedding, vectors such as norms and scales)."""
    matrices, embedding, vectors = [], [], []
    for name, parameter in model.named_parameters():
        if "embed_tokens" in name:
            embedding.append(parameter)
        elif parameter.ndim >= 2 and "router" not in name:
            matrices.append(parameter)
        else:
            vectors.append(parameter)
    return matrices, embedding, vectors
