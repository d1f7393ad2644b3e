"""A denoising step with shapes that do not depend on the prefix, recorded once as a CUDA graph and replayed.

A step of the 26B is some thousands of small kernels; launched one by one they cost more than the reading of
the weights. The prefix's length is rounded up to a bucket and what is beyond it is masked, so that one
recording serves every prefix of its bucket. Without a GPU the same step runs unrecorded. Draws nothing and
knows nothing of the sampler.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from engine.attention import Attend
from engine.cache import PrefixCache
from engine.model import DiffusionGemma

_SMALLEST_BUCKET = 256

_LARGEST_FUSED_HEAD = 256
"""No fused attention kernel takes wider heads at speed; full layers of the 26B have 512."""

_WARM_UPS = 3
"""Runs before recording: kernels are compiled and libraries choose theirs in the first."""


class DenoiseGraphs:
    """Denoising steps over what `cache` holds when they are called; one recording a shape and bucket.

    Not for a model on a CPU in production: masks and padding cost more there than they save.
    """

    def __init__(self, model: DiffusionGemma, cache: PrefixCache) -> None:
        self._model, self._cache = model, cache
        self._recorded: dict[tuple[int, int, int], _Recorded] = {}
        self._memory: int | None = None

    @torch.inference_mode()
    def __call__(self, canvas: Tensor, soft: Tensor | None) -> Tensor:
        """Final states (b, n, hidden) of `canvas` (b, n), as the model's own `denoise` has them with `soft`.

        The result is the recording's own buffer: the next call with these shapes overwrites it.
        """
        bucket = bucket_of(len(self._cache))
        self._cache.reserve(bucket)
        memory = self._cache.read(0)[0].untyped_storage().data_ptr()
        if memory != self._memory:  # the cache has grown: what was recorded reads freed memory
            self._recorded.clear()
            self._memory = memory
        key = (*canvas.shape, bucket)
        if key not in self._recorded:
            self._recorded[key] = self._record(canvas, bucket)
        return self._recorded[key].run(canvas, soft, len(self._cache))

    def _record(self, canvas: Tensor, bucket: int) -> _Recorded:
        weight = self._model.embed_tokens.weight
        hidden = self._model.config.hidden_size
        recorded = _Recorded(
            canvas=canvas.clone(),
            soft=torch.zeros(*canvas.shape, hidden, dtype=weight.dtype, device=weight.device),
            length=torch.tensor(len(self._cache), device=weight.device),
            step=lambda: torch.empty(0),
        )
        recorded.step = lambda: self._step(recorded, bucket)
        if weight.is_cuda:
            recorded.capture()
        return recorded

    def _step(self, at: _Recorded, bucket: int) -> Tensor:
        positions = at.length + torch.arange(at.canvas.shape[1], device=at.canvas.device)[None]
        attend = over_bucket(self._cache, bucket, at.length)
        return self._model.denoise(at.canvas, positions, attend, at.soft)


@dataclass(kw_only=True)
class _Recorded:
    """One recording's inputs, which stay where they are, and what computes from them."""

    canvas: Tensor
    soft: Tensor
    length: Tensor
    step: Callable[[], Tensor]
    graph: torch.cuda.CUDAGraph | None = None
    states: Tensor | None = None

    def run(self, canvas: Tensor, soft: Tensor | None, length: int) -> Tensor:
        """The step with these inputs."""
        self.canvas.copy_(canvas)
        self.length.fill_(length)
        if soft is None:
            self.soft.zero_()  # which the self-conditioning turns into nothing
        else:
            self.soft.copy_(soft)
        if self.graph is None or self.states is None:
            return self.step()
        self.graph.replay()
        return self.states

    def capture(self) -> None:
        """Record the step, on a GPU."""
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(_WARM_UPS):
                self.step()
        torch.cuda.current_stream().wait_stream(side)
        self.graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self.graph):
            self.states = self.step()


def bucket_of(length: int) -> int:
    """The number of prefix positions that a prefix of `length` tokens is padded to: a power of two."""
    bucket = _SMALLEST_BUCKET
    while bucket < length:
        bucket *= 2
    return bucket


def over_bucket(cache: PrefixCache, bucket: int, length: Tensor) -> Attend:
    """What `engine.cache.over_cache` computes, of shapes that depend on the bucket alone.

    `length` () int64 is how many of the cache's first `bucket` positions count.
    """
    window = min(cache.config.sliding_window - 1, bucket)
    index = torch.arange(bucket, device=length.device)
    # A sliding layer sees the last tokens of the prefix: they are fetched from where they are now.
    recent = length - window + index[:window]
    near, seen, seen_near = recent.clamp(min=0), index < length, recent >= 0

    def attend(layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        keys, values = cache.first(layer, bucket)
        sliding = cache.config.layers[layer].sliding
        if sliding:
            keys, values = keys.index_select(2, near), values.index_select(2, near)
        own = torch.ones(k.shape[2], dtype=torch.bool, device=k.device)
        mask = torch.cat((seen_near if sliding else seen, own))
        keys = torch.cat((keys.expand(len(k), -1, -1, -1), k), dim=2)
        values = torch.cat((values.expand(len(v), -1, -1, -1), v), dim=2)
        return attention_for(q.shape[-1])(q, keys, values, mask)

    return attend


Attention = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]
"""(q (b, heads, n, d), k (b, kv_heads, keys, d), v, mask (keys,)) -> (b, heads, n, d); scale 1."""


def attention_for(head_dim: int) -> Attention:
    """The attention that suits heads of this width."""
    return fused_attention if head_dim <= _LARGEST_FUSED_HEAD else attention_by_products


def fused_attention(q: Tensor, k: Tensor, v: Tensor, mask: Tensor) -> Tensor:
    """The library's fused kernel."""
    rows = mask.expand(q.shape[0], 1, q.shape[2], -1)
    return F.scaled_dot_product_attention(
        q, k, v, attn_mask=rows, scale=1.0, enable_gqa=q.shape[1] != k.shape[1]
    )


def attention_by_products(q: Tensor, k: Tensor, v: Tensor, mask: Tensor) -> Tensor:
    """Two batched products; query heads that share keys become more rows of one of them.

    The scores of a canvas are few: 256 rows by some thousands of keys.
    """
    b, heads, n, d = q.shape
    shared = k.shape[1]
    rows = q.reshape(b, shared, heads // shared * n, d)
    scores = (rows @ k.transpose(2, 3)).float().masked_fill(~mask, -torch.inf)
    out: Tensor = (scores.softmax(-1).to(v.dtype) @ v).view(b, heads, n, d)
    return out
