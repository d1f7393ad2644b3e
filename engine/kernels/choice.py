"""Triton kernels for what lies behind the layers: the soft cap, a step's choices, a draw for each row.

A canvas's logits are 256 rows of 262,144 float32 for the 26B, 268 MB, and each of torch's dozen operations
reads or writes all of them. Here they are read twice and written once. One program a row goes through it in
blocks and keeps its sums in registers.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

_BLOCK = 4096
_WARPS = 8


def softcapped(raw: Tensor, cap: float) -> Tensor:
    """tanh(raw / cap) * cap in float32, of any shape."""
    raw = raw.contiguous()
    out = torch.empty(raw.shape, dtype=torch.float32, device=raw.device)
    grid = (triton.cdiv(raw.numel(), _BLOCK),)
    _softcap[grid](raw, out, raw.numel(), cap, BLOCK=_BLOCK, num_warps=_WARPS)
    return out


def choose(logits: Tensor, inverse_temperature: float) -> tuple[Tensor, Tensor, Tensor]:
    """Makes probabilities at the temperature of `logits` (rows, vocab), contiguous float32.

    Returns each row's argmax, the first of equals, its probability at temperature 1, and the entropy in nats
    at the temperature: (rows,) each.
    """
    rows, vocab = logits.shape
    argmax = torch.empty(rows, dtype=torch.int64, device=logits.device)
    confidence, entropy = torch.empty(2, rows, device=logits.device)
    _choose[(rows,)](
        logits, argmax, confidence, entropy, inverse_temperature, vocab, BLOCK=_BLOCK, num_warps=_WARPS
    )
    return argmax, confidence, entropy


def draw(probabilities: Tensor, uniform: Tensor) -> Tensor:
    """An id (rows,) for each row of `probabilities` (rows, vocab), by inversion of `uniform` (rows,); none of
    probability 0."""
    rows, vocab = probabilities.shape
    drawn = torch.empty(rows, dtype=torch.int64, device=probabilities.device)
    _draw[(rows,)](probabilities, uniform.contiguous(), drawn, vocab, BLOCK=_BLOCK, num_warps=_WARPS)
    return drawn


@triton.jit
def _softcap(raw_ptr, out_ptr, count, cap, BLOCK: tl.constexpr):  # type: ignore[no-untyped-def]
    at = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    there = at < count
    x = tl.load(raw_ptr + at, mask=there, other=0.0).to(tl.float32) / cap
    # tanh by the exponential of what is not positive, which cannot overflow.
    small = tl.exp(-2.0 * tl.abs(x))
    tanh = (1.0 - small) / (1.0 + small)
    tl.store(out_ptr + at, tl.where(x < 0, -tanh, tanh) * cap, mask=there)


@triton.jit
def _choose(  # type: ignore[no-untyped-def]
    logits_ptr, argmax_ptr, confidence_ptr, entropy_ptr, inverse_temperature, vocab, BLOCK: tl.constexpr
):
    row = tl.program_id(0)
    line = logits_ptr + row.to(tl.int64) * vocab
    best = -1e30  # finite: differences of infinities are no numbers
    place = 0
    whole = 0.0  # sum of exp(x - best), at temperature 1 ...
    cooled = 0.0  # ... and at the temperature, with y = (x - best) / temperature
    moment = 0.0  # sum of exp(y) * y
    for first in range(0, vocab, BLOCK):
        at = first + tl.arange(0, BLOCK)
        there = at < vocab
        x = tl.load(line + at, mask=there, other=-1e30)
        top = tl.max(x, 0)
        place = tl.where(top > best, first + tl.argmax(x, 0), place)
        raised = tl.maximum(best, top)
        shift = (best - raised) * inverse_temperature
        y = (x - raised) * inverse_temperature
        p = tl.where(there, tl.exp(y), 0.0)
        moment = tl.exp(shift) * (moment + shift * cooled) + tl.sum(tl.where(p > 0.0, p * y, 0.0), 0)
        cooled = tl.exp(shift) * cooled + tl.sum(p, 0)
        whole = tl.exp(best - raised) * whole + tl.sum(tl.where(there, tl.exp(x - raised), 0.0), 0)
        best = raised
    tl.store(argmax_ptr + row, place)
    tl.store(confidence_ptr + row, 1.0 / whole)
    # log p = y - log(cooled), and the entropy is -sum p log p.
    tl.store(entropy_ptr + row, tl.maximum(tl.log(cooled) - moment / cooled, 0.0))
    for first in range(0, vocab, BLOCK):
        at = first + tl.arange(0, BLOCK)
        there = at < vocab
        x = tl.load(line + at, mask=there, other=-1e30)
        tl.store(line + at, tl.exp((x - best) * inverse_temperature) / cooled, mask=there)


@triton.jit
def _draw(  # type: ignore[no-untyped-def]
    probabilities_ptr, uniform_ptr, drawn_ptr, vocab, BLOCK: tl.constexpr
):
    row = tl.program_id(0)
    line = probabilities_ptr + row.to(tl.int64) * vocab
    target = tl.load(uniform_ptr + row)
    before = 0.0
    last = 0  # where rounding has carried the target past the end
    drawn = vocab
    for first in range(0, vocab, BLOCK):
        at = first + tl.arange(0, BLOCK)
        p = tl.load(line + at, mask=at < vocab, other=0.0)
        passed = (before + tl.cumsum(p, 0) > target) & (p > 0.0)
        drawn = tl.minimum(drawn, tl.min(tl.where(passed, at, vocab), 0))
        last = tl.maximum(last, tl.max(tl.where(p > 0.0, at, 0), 0))
        before += tl.sum(p, 0)
    tl.store(drawn_ptr + row, tl.where(drawn < vocab, drawn, last))
