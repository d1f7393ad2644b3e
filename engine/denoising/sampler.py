"""One step of the sampler as functions of tensors: temperature, choice, acceptance, renoise, stop, pins.

Knows nothing of the network or of text. Logits are float32 rows (rows, vocab), one for each canvas position
that the model chooses; entropies and masks are (batch, canvas).

Source: the reference implementation (`transformers`, generation_diffusion_gemma) and, for the entropy
bound, Ben-Hamu et al., arXiv 2505.24857.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, cast

import torch
from torch import Tensor

from engine import kernels
from engine.config import SamplerConfig
from engine.native import sampling

FREE = -1
"""In a row of pins: this position is the model's to choose."""

Draw = Callable[[Tensor, Tensor, int, torch.Generator], Tensor]
"""(probabilities (rows, vocab), at (rows,), total, generator) -> token ids (rows,). The rows are those at
the indices `at` of `total`: draws are made for all of them, so that one canvas's do not depend on others."""


@dataclass(frozen=True, kw_only=True)
class Choice:
    """What the model says of some canvas positions, at a temperature unless stated otherwise.

    `sampled` and `argmax` (rows,) are token ids; `confidence` (rows,) is the argmax's probability at
    temperature 1, `entropy` (rows,) in nats; `probabilities` (rows, vocab) condition the next step.
    """

    sampled: Tensor
    argmax: Tensor
    confidence: Tensor
    entropy: Tensor
    probabilities: Tensor


def choose(logits: Tensor, temperature: float, sample: Callable[[Tensor], Tensor]) -> Choice:
    """Everything a step needs of `logits` (rows, vocab), which are used up; `sample` draws one id a row."""
    compiled = _compiled(logits)
    if compiled is not None:
        argmax, confidence, entropy = compiled.choose(logits, 1 / temperature)
        return Choice(
            sampled=sample(logits),
            argmax=argmax,
            confidence=confidence,
            entropy=entropy,
            probabilities=logits,
        )
    argmax = largest(logits)
    relative = logits.sub_(logits.gather(-1, argmax[:, None]))
    confidence = relative.softmax(-1).amax(-1)
    relative.mul_(1 / temperature)
    probabilities = relative.softmax(-1)
    # log p = relative + log p(argmax), so the entropy takes one more product and no logarithm.
    likeliest = probabilities.gather(-1, argmax[:, None])[:, 0]
    entropy = -likeliest.log() - torch.linalg.vecdot(probabilities, relative)
    return Choice(
        sampled=sample(probabilities),
        argmax=argmax,
        confidence=confidence,
        entropy=entropy.clamp_(min=0),
        probabilities=probabilities,
    )


class _Compiled(Protocol):
    """Code that goes through rows once or twice where torch's operations do a dozen times."""

    choose: Callable[[Tensor, float], tuple[Tensor, Tensor, Tensor]]
    draw: Callable[[Tensor, Tensor], Tensor]


def _compiled(rows: Tensor) -> _Compiled | None:
    """What there is for `rows` (rows, vocab): C on a CPU, Triton's kernels on a GPU, or nothing."""
    if sampling.can_choose(rows):
        return cast("_Compiled", sampling)
    if kernels.can_run(rows) and rows.is_contiguous():
        from engine.kernels import choice

        return cast("_Compiled", choice)
    return None


def largest(logits: Tensor) -> Tensor:
    """The argmax of each row of `logits` (rows, vocab), the first of equals: (rows,).

    Looks for the block first: torch finds a maximum ten times as fast as where it is.
    """
    rows, vocab = logits.shape
    block = _block(vocab)
    blocks = logits.view(rows, vocab // block, block)
    best = blocks.amax(-1).argmax(-1)
    within = blocks[torch.arange(rows, device=logits.device), best]
    return best * block + within.argmax(-1)


def draw_by_inversion(probabilities: Tensor, at: Tensor, total: int, generator: torch.Generator) -> Tensor:
    """One uniform number a row, looked up in the cumulative distribution."""
    uniform = torch.rand(total, generator=generator, device=generator.device)[at]
    compiled = _compiled(probabilities)
    if compiled is not None:
        return compiled.draw(probabilities, uniform)
    rows, vocab = probabilities.shape
    block = _block(vocab)
    blocks = probabilities.view(rows, vocab // block, block)
    index, rest = _invert(blocks.sum(-1), uniform, None)
    within = blocks[torch.arange(rows, device=probabilities.device), index]
    return index * block + _invert(within, uniform, rest)[0]


def draw_like_reference(probabilities: Tensor, at: Tensor, total: int, generator: torch.Generator) -> Tensor:
    """The very draws of the reference implementation: a random number for every id of every row.

    What `torch.multinomial` does for one sample, without its checks and with a faster search of the maximum.
    """
    noise = _exponential(total, probabilities.shape[1], generator)
    noise = noise if len(at) == total else noise[at]
    return largest(torch.div(probabilities, noise, out=noise))


def _exponential(rows: int, vocab: int, generator: torch.Generator) -> Tensor:
    """What `Tensor.exponential_` draws: float32 (rows, vocab)."""
    if generator.device.type != "cpu":
        return torch.empty(rows, vocab, device=generator.device).exponential_(1, generator=generator)
    # On a CPU that takes logarithms one by one, of these same numbers.
    uniform = torch.rand(rows, vocab, dtype=torch.float64, generator=generator)
    return uniform.neg_().log1p_().float().neg_()


def _invert(weights: Tensor, uniform: Tensor, target: Tensor | None) -> tuple[Tensor, Tensor]:
    """Where the cumulative sum of `weights` (rows, n) passes `target`, and what of it lies behind that start.

    Without a target it is the share `uniform` of the whole. Never an entry of weight 0.
    """
    sums = weights.cumsum(-1)
    whole = sums[:, -1]
    target = uniform * whole if target is None else target
    # Rounding must not carry the target past the end, where nothing would be found.
    target = torch.minimum(target, whole.nextafter(torch.zeros_like(whole)))[:, None]
    index = (sums <= target).sum(-1, keepdim=True)
    before = torch.where(index > 0, sums.gather(-1, (index - 1).clamp(min=0)), 0.0)
    return index[:, 0], (target - before)[:, 0]


def _block(vocab: int) -> int:
    """The largest divisor of `vocab` up to its square root."""
    return next(size for size in range(math.isqrt(vocab), 0, -1) if vocab % size == 0)


def temperature(config: SamplerConfig, remaining: int, max_steps: int) -> float:
    """The temperature with `remaining` steps to go, this one included, out of `max_steps`.

    Lowering `max_steps` changes the whole schedule.
    """
    return config.t_min + (config.t_max - config.t_min) * (remaining / max_steps)


def pin_tokens(canvas: Tensor, pins: Tensor | None) -> Tensor:
    """`canvas` (batch, canvas) with the pinned tokens put back."""
    return canvas if pins is None else torch.where(pins == FREE, canvas, pins)


def random_canvas(shape: tuple[int, int], vocab: int, generator: torch.Generator) -> Tensor:
    """Uniform token ids of `shape` (batch, canvas)."""
    return torch.randint(0, vocab, shape, generator=generator, device=generator.device)


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
