"""One step of the sampler as pure functions of tensors: temperature, acceptance, renoise, stop, pins.

Knows nothing of the network or of text. All logits here are (batch, canvas, vocab) float32; nothing is
changed in place.

Source: the reference implementation (`transformers`, generation_diffusion_gemma) and, for the entropy
bound, Ben-Hamu et al., arXiv 2505.24857.
"""

from __future__ import annotations

import torch
from torch import Tensor

from engine.config import SamplerConfig

FREE = -1
"""In a row of pins: this position is the model's to choose."""

_OFF = -1e4
"""Logit of what may not be chosen: far below the soft cap, yet finite after division by a temperature."""


def temperature(config: SamplerConfig, remaining: int, max_steps: int) -> float:
    """The temperature with `remaining` steps to go, this one included, out of `max_steps`.

    Lowering `max_steps` changes the whole schedule.
    """
    return config.t_min + (config.t_max - config.t_min) * (remaining / max_steps)


def pin_logits(logits: Tensor, pins: Tensor | None) -> Tensor:
    """One-hot logits where `pins` (canvas,) or (batch, canvas) is not FREE.

    A pinned position then has entropy 0: always accepted, costs nothing of the bound, and conditions the
    next step exactly.
    """
    if pins is None:
        return logits
    pinned = (pins != FREE).unsqueeze(-1)
    ids = torch.arange(logits.shape[-1], device=logits.device)
    hot = torch.where(ids == pins.unsqueeze(-1), 0.0, _OFF)
    return torch.where(pinned, hot, logits)


def pin_tokens(canvas: Tensor, pins: Tensor | None) -> Tensor:
    """`canvas` (batch, canvas) with the pinned tokens put back."""
    return canvas if pins is None else torch.where(pins == FREE, canvas, pins)


def allow_only_ids(logits: Tensor, ids: list[int]) -> Tensor:
    """One position's logits (vocab,) with all but `ids` turned off."""
    out = torch.full_like(logits, _OFF)
    out[ids] = logits[ids]
    return out


def allow_all_but(logits: Tensor, where: Tensor, ids: list[int]) -> Tensor:
    """`logits` with `ids` turned off at the positions `where`, boolean (batch, canvas)."""
    off = torch.zeros(logits.shape[-1], dtype=torch.bool, device=logits.device)
    off[ids] = True
    return torch.where(where.unsqueeze(-1) & off, _OFF, logits)


def random_canvas(shape: tuple[int, int], vocab: int, generator: torch.Generator) -> Tensor:
    """Uniform token ids of `shape` (batch, canvas)."""
    return torch.randint(0, vocab, shape, generator=generator, device=generator.device)


def sample(logits: Tensor, generator: torch.Generator) -> Tensor:
    """One token per position from softmax(`logits`): (batch, canvas)."""
    probs = logits.softmax(-1, dtype=torch.float32)
    flat = torch.multinomial(probs.view(-1, probs.shape[-1]), 1, generator=generator)
    return flat.view(logits.shape[:-1])


def entropy(logits: Tensor) -> Tensor:
    """Entropy in nats of each position: (batch, canvas)."""
    log_p = logits.log_softmax(-1)
    return -(log_p.exp() * log_p).sum(-1)


def accept(entropies: Tensor, bound: float) -> Tensor:
    """Which positions to accept: lowest entropy first while the sum of those before is within `bound`.

    `entropies` (batch, canvas) in nats; returns a boolean mask of that shape. At least one position, the
    surest, is always accepted. The sum bounds the mutual information of what is accepted together.

    Source: arXiv 2505.24857, eq. 6.
    """
    ordered, order = entropies.sort(dim=-1)
    chosen = ordered.cumsum(-1) - ordered <= bound
    return torch.zeros_like(chosen).scatter(-1, order, chosen)


def confident(entropies: Tensor, free: Tensor, threshold: float) -> Tensor:
    """Whether each canvas's mean entropy over its `free` positions is under `threshold`: (batch,).

    `entropies` and the boolean `free` are (batch, canvas). Positions that are pinned or forced have no
    entropy and would dilute the mean.
    """
    return (entropies * free).sum(-1) < threshold * free.sum(-1).clamp(min=1)
