"""The training loss of both directions from one set of weights: causal on the prefix, denoising on canvases.

One function of tensors with static shapes, made to be compiled whole. Knows nothing of files, schedules
or optimizers.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from engine.networks.attention import Attend
from engine.networks.model import DiffusionGemma
from engine.text.special import Special
from engine.training.data import Batch

SOFT_TEMPERATURE = 0.6
"""Temperature of the first pass's guess in self-conditioned training; about that of a sampler's run."""


@dataclass(frozen=True, kw_only=True)
class Losses:
    """Nats per token.

    `causal` is the next token's over all of the encoder's, `middle` the same over those of middles and
    their end markers only, which is what writing left to right is made of; `denoising` is over the weighted
    canvas and zero where it was not asked for.
    """

    causal: Tensor
    middle: Tensor
    denoising: Tensor


def causal_loss(model: DiffusionGemma, batch: Batch) -> Losses:
    """Next-token cross-entropy over suffix, prefix, middle and its end marker."""
    states, _ = _encode(model, batch.ids)
    causal, middle = _next_token(model, states, batch)
    return Losses(causal=causal, middle=middle, denoising=torch.zeros_like(causal))


def joint_loss(model: DiffusionGemma, batch: Batch, *, conditioned: bool) -> Losses:
    """Both losses; with `conditioned` the canvas first passes without gradient and sees its own guess.

    That first pass is also where the samples come from that `batch.own` asks for.
    """
    states, cache = _encode(model, batch.ids)
    attend = _over_prefix(model, batch, cache)
    positions = batch.start + batch.offset
    soft, noisy = None, batch.noisy
    if conditioned:
        with torch.no_grad():
            first = model.logits(model.denoise(noisy, positions, attend, None)) / SOFT_TEMPERATURE
            soft = model.soft_embed(first)
            gumbel = -torch.empty_like(first).exponential_().log()
            noisy = torch.where(batch.own, (first + gumbel).argmax(-1), noisy)
    logits = model.logits(model.denoise(noisy, positions, attend, soft))
    each = F.cross_entropy(logits.flatten(0, 1), batch.canvas.flatten(), reduction="none")
    weight = batch.weight.flatten()
    causal, middle = _next_token(model, states, batch)
    return Losses(causal=causal, middle=middle, denoising=(each * weight).sum() / weight.sum())


def _encode(model: DiffusionGemma, ids: Tensor) -> tuple[Tensor, list[tuple[Tensor, Tensor]]]:
    """Final encoder states (b, n, hidden) and every layer's keys and values (b, kv_heads, n, d).

    Sliding windows are not applied: rows are shorter than any window we train with (checked by the
    caller). Padding sits on the right, where causal attention never looks.
    """
    cache: list[tuple[Tensor, Tensor]] = []

    def attend(layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        cache.append((k, v))
        return F.scaled_dot_product_attention(q, *_shared(q, k, v), is_causal=True, scale=1.0)

    positions = torch.arange(ids.shape[1], device=ids.device)[None]
    return model.encode(ids, positions, attend), cache


def _over_prefix(model: DiffusionGemma, batch: Batch, cache: list[tuple[Tensor, Tensor]]) -> Attend:
    """Canvas attention: to what precedes the canvas's own start, and to the whole of its own canvas."""
    columns = torch.arange(batch.ids.shape[1], device=batch.ids.device)
    before = columns < batch.start[..., None]
    same = (batch.group[:, None] == batch.group[None]).expand(len(batch.ids), -1, -1)
    mask = torch.cat((before, same), dim=-1)[:, None]

    def attend(layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        keys, values = cache[layer]
        k, v = torch.cat((keys, k), dim=2), torch.cat((values, v), dim=2)
        return F.scaled_dot_product_attention(q, *_shared(q, k, v), attn_mask=mask, scale=1.0)

    return attend


def _shared(q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    """Grouped KV heads repeated for their query heads: the CPU's fast path takes no groups."""
    times = q.shape[1] // k.shape[1]
    return (k, v) if times == 1 else (k.repeat_interleave(times, 1), v.repeat_interleave(times, 1))


def _next_token(model: DiffusionGemma, states: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
    """Means of the next token's cross-entropy: over all real tokens, and over those of middles."""
    targets = batch.ids[:, 1:].flatten()
    logits = model.logits(states[:, :-1]).flatten(0, 1)
    each = F.cross_entropy(logits, targets, reduction="none")
    real = targets != Special.PAD.value
    weight = batch.in_middle[:, 1:].flatten()
    return (each * real).sum() / real.sum(), (each * weight).sum() / weight.sum()
