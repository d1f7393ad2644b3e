"""Layouts as tokens: which canvas positions are pinned, what the free ones start from, and the way back.

Speaks token ids and text segments; knows nothing of files, syntax or why something is pinned.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from engine.denoising.sampler import FREE
from engine.errors import InvalidRequest
from engine.networks.network import OFF
from engine.request import Layout
from engine.text.special import Special
from engine.text.tokenizer import Tokenizer

_Span = tuple[int, int]


@dataclass(frozen=True, kw_only=True)
class Arranged:
    """Layouts as tensors of token ids, (layouts, canvas) int64, FREE where nothing is given.

    `pins` is what stays, `start` what free positions begin as. `spans` holds each layout's segments as
    canvas positions, ends exclusive. `inner` is boolean, true at free positions a pinned one follows: no
    special token may stand there, since the text goes on behind it. `end` is the end-of-middle token.
    """

    pins: Tensor
    start: Tensor
    inner: Tensor
    spans: tuple[tuple[_Span, ...], ...]
    end: int

    def constrain(self, logits: Tensor, canvases: Tensor, positions: Tensor) -> Tensor:
        """Turns special tokens off in `logits` where `inner`; nothing is forced. See
        `engine.denoising.denoiser`."""
        ids = torch.tensor(sorted({self.end, *(int(s) for s in Special)}), device=logits.device)
        inner = self.inner[canvases, positions]
        logits[:, ids] = torch.where(inner[:, None], OFF, logits[:, ids])
        return torch.zeros_like(inner)


def arrange(
    layouts: Sequence[Layout], length: int, tokenizer: Tokenizer, generator: torch.Generator
) -> Arranged:
    """Lay each of `layouts` out on a canvas of `length`; `generator` draws what starts as noise.

    Raises:
        InvalidRequest: a layout is empty or longer than the canvas.
    """
    rows = [_arrange(layout, length, tokenizer, generator) for layout in layouts]
    pins, start, inner, spans = zip(*rows, strict=True)
    device = generator.device
    return Arranged(
        pins=torch.tensor(pins, device=device),
        start=torch.tensor(start, device=device),
        inner=torch.tensor(inner, device=device),
        spans=spans,
        end=tokenizer.end,
    )


def _arrange(
    layout: Layout, length: int, tokenizer: Tokenizer, generator: torch.Generator
) -> tuple[list[int], list[int], list[bool], tuple[_Span, ...]]:
    free = sum(segment.free_tokens for segment in layout)
    if free > length:  # nothing is made of a number that anybody may have chosen
        raise InvalidRequest(f"a layout of {free} free tokens does not fit a canvas of {length}")
    pins: list[int] = []
    start: list[int] = []
    spans: list[_Span] = []
    for segment in layout:
        ids = tokenizer.encode(segment.text)
        begin = len(pins)
        if segment.pinned:
            pins += ids
            start += ids
        else:
            keep = torch.rand(segment.free_tokens, generator=generator, device=generator.device)
            ids = (ids + [FREE] * segment.free_tokens)[: segment.free_tokens]
            pins += [FREE] * segment.free_tokens
            start += [i if k >= segment.noise else FREE for i, k in zip(ids, keep.tolist(), strict=True)]
        spans.append((begin, len(pins)))
    closing = [tokenizer.end] if layout and layout[-1].pinned else []
    if not layout or len(pins) + len(closing) > length:
        raise InvalidRequest(f"a layout of {len(pins)} tokens does not fit a canvas of {length}")
    last = spans[-1][0] if not closing else len(pins)
    inner = [pin == FREE and at < last for at, pin in enumerate(pins)]
    # Behind a layout that ends there is nothing to choose; behind an open one only that it has ended.
    rest = length - len(pins)
    tail = [tokenizer.end, *[Special.PAD.value] * (rest - 1)] if rest else []
    return pins + tail, start + tail, inner + [False] * rest, tuple(spans)
