"""Denoising steps recorded once as CUDA graphs and replayed: a network around another one.

A step of the 26B is some thousands of small kernels; launched one by one they cost more than the reading of
the weights. A recording reads the same memory each time, so what a canvas may see of its prefix is laid out
there before its first step, padded to a bucket with the rest masked: one recording serves all documents and
every prefix of its bucket. Without a GPU the same step runs unrecorded. Draws nothing and knows nothing of
the sampler.
"""

from __future__ import annotations

import threading
import weakref
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from engine.config import LayerConfig, ModelConfig
from engine.networks.attention import Attend, Memory, Placed
from engine.networks.model import DiffusionGemma
from engine.request import CANVAS_LENGTHS

_SMALLEST_BUCKET = 256

_LARGEST_FUSED_HEAD = 256
"""No fused attention kernel takes wider heads at speed; full layers of the 26B have 512."""

_WARM_UPS = 3
"""Runs before recording: kernels are compiled and libraries choose theirs in the first."""

_RECORDINGS = 8
"""Kept at most; a step of another number of canvases, length or bucket is recorded anew."""


class GraphedGemma:
    """A `DiffusionGemma` that records and replays its denoising steps; see `engine.networks.network.Network`.

    Steps over a whole prefix and a whole canvas are recorded, all else runs as it does in the model. Rows
    behind several prompts are not joined: in turns each is replayed, together they would be launched kernel
    by kernel. Not for a model on a CPU in production: masks and padding cost more there than they save.
    Prefixes are kept in `kept_dtype`, None for the model's.
    """

    joins = pads = False

    def __init__(self, model: DiffusionGemma, kept_dtype: torch.dtype | None = None) -> None:
        self._model = model
        self.kept_dtype = kept_dtype or model.dtype
        self._prefix = _Prefix(model)
        self._recorded: OrderedDict[tuple[int, int, int], _Recorded] = OrderedDict()
        self._pool = torch.cuda.graph_pool_handle() if model.device.type == "cuda" else None
        self._lock = threading.Lock()

    @property
    def threads(self) -> int:
        """See `engine.networks.network.Network`."""
        return self._model.threads

    def use_threads(self, count: int) -> None:
        """See `engine.networks.network.Network`."""
        self._model.use_threads(count)

    def use_ids(self, count: int) -> None:
        """See `engine.networks.network.Network`."""
        self._model.use_ids(count)

    @property
    def config(self) -> ModelConfig:
        """The model's."""
        return self._model.config

    @property
    def dtype(self) -> torch.dtype:
        """That of weights, keys and values."""
        return self._model.dtype

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self._model.device

    @property
    def size(self) -> int:
        """How many parameters there are."""
        return self._model.size

    def encode(self, ids: Tensor, positions: Tensor, attend: Attend) -> Tensor:
        """See `DiffusionGemma.encode`."""
        return self._model.encode(ids, positions, attend)

    def embed(self, ids: Tensor) -> Tensor:
        """See `DiffusionGemma.embed`."""
        return self._model.embed(ids)

    def mean_embed(self, probabilities: Tensor) -> Tensor:
        """See `DiffusionGemma.mean_embed`."""
        return self._model.mean_embed(probabilities)

    def logits(self, states: Tensor) -> Tensor:
        """See `DiffusionGemma.logits`."""
        return self._model.logits(states)

    def logits_behind(self, *_where: object) -> Tensor | None:
        """See `engine.networks.network.Network`: there is no shorter way."""
        return None

    def search_behind(self, *_where: object) -> None:
        """See `engine.networks.network.Network`: likewise."""

    def denoise(self, canvas: Tensor, positions: Tensor, attend: Attend, soft: Tensor | None) -> Tensor:
        """See `DiffusionGemma.denoise`. A step that is recorded takes its positions from where `attend` says
        that the prefix ends."""
        if not isinstance(attend, Placed) or attend.causal or attend.columns is not None:
            return self._model.denoise(canvas, positions, attend, soft)
        if canvas.shape[1] > CANVAS_LENGTHS[-1]:
            return self._model.denoise(canvas, positions, attend, soft)
        seen = attend.memory(0, canvas.shape[1])
        with self._lock:  # lanes share the memory that recordings read and write
            bucket = bucket_of(seen.start)
            if self._prefix.reserve(bucket):  # what was recorded reads memory that is no longer used
                self._recorded.clear()
            self._prefix.show(seen)
            return self._step_of(canvas, bucket).run(canvas, soft).clone()

    def _step_of(self, canvas: Tensor, bucket: int) -> _Recorded:
        key = (*canvas.shape, bucket)
        if key not in self._recorded:
            while len(self._recorded) >= _RECORDINGS:
                self._recorded.popitem(last=False)
            self._recorded[key] = self._record(canvas, bucket)
        self._recorded.move_to_end(key)
        return self._recorded[key]

    def _record(self, canvas: Tensor, bucket: int) -> _Recorded:
        model, prefix = self._model, self._prefix
        ids = canvas.clone()
        soft = torch.zeros(*ids.shape, model.config.hidden_size, dtype=model.dtype, device=model.device)
        columns = torch.arange(ids.shape[1], device=model.device)[None]

        def step() -> Tensor:
            return model.denoise(ids, prefix.length + columns, prefix.over(bucket), soft)

        recorded = _Recorded(canvas=ids, soft=soft, step=step)
        return recorded if self._pool is None else recorded.captured(self._pool)


class _Prefix:
    """What canvases see of a prefix, where recordings read it: keys and values of each layer
    (1, kv_heads, room + the longest canvas, head_dim), those of the canvas from `room` on.

    A sliding layer has room for a window, a full one for the largest bucket so far. `length` () int64 is how
    many tokens the prefix has.
    """

    def __init__(self, model: DiffusionGemma) -> None:
        self._config, self._dtype = model.config, model.dtype
        self.length = torch.zeros((), dtype=torch.int64, device=model.device)
        self._layers: list[tuple[Tensor, Tensor]] = []
        self._bucket = 0
        self._shown: weakref.ref[Memory] | None = None

    def reserve(self, bucket: int) -> bool:
        """Make room for prefixes of `bucket` tokens; whether it lies elsewhere from now on."""
        if bucket <= self._bucket:
            return False
        # First: both at once may be more than there is, and what is half reserved must not be used.
        self._layers, self._bucket, self._shown = [], 0, None
        for layer in self._config.layers:
            tokens = seen_tokens(layer, self._config.sliding_window, bucket) + CANVAS_LENGTHS[-1]
            # Zeros: what is masked must not be NaN, which shines through any mask.
            shape = (2, 1, layer.kv_heads, tokens, layer.head_dim)
            keys, values = torch.zeros(shape, dtype=self._dtype, device=self.length.device)
            self._layers.append((keys, values))
        self._bucket = bucket
        return True

    def show(self, memory: Memory) -> None:
        """Lay out what is seen of `memory`, unless it lies there already."""
        if self._shown is not None and self._shown() is memory:
            return
        self.length.fill_(memory.start)
        for (keys, values), seen in zip(self._layers, memory.layers, strict=True):
            count = seen.shared[0].shape[1]
            keys[0, :, :count] = seen.shared[0]
            values[0, :, :count] = seen.shared[1]
        self._shown = weakref.ref(memory)

    def over(self, bucket: int) -> Attend:
        """What `engine.caches.prefix.over_cache` computes, of shapes that depend on the bucket alone."""
        window = self._config.sliding_window
        index = torch.arange(bucket, device=self.length.device)
        far, near = index < self.length, index < self.length.clamp(max=window - 1)

        def attend(layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
            shape, n = self._config.layers[layer], k.shape[2]
            room = seen_tokens(shape, window, bucket)
            mask = torch.cat(((near if shape.sliding else far)[:room], index.new_ones(n, dtype=torch.bool)))
            keys, values = (part[:, :, : room + n] for part in self._layers[layer])
            if len(k) == 1:
                keys[:, :, room:] = k
                values[:, :, room:] = v
            else:
                keys, values = _behind(keys[:, :, :room], k), _behind(values[:, :, :room], v)
            return attention_for(q.shape[-1])(q, keys, values, mask)

        return attend


def _behind(prefix: Tensor, rows: Tensor) -> Tensor:
    """Each of `rows` (b, kv_heads, n, d) behind the same `prefix` (1, kv_heads, room, d)."""
    return torch.cat((prefix.expand(len(rows), -1, -1, -1), rows), dim=2)


@dataclass(frozen=True, kw_only=True)
class _Recorded:
    """One recording's inputs, which stay where they are, and what computes from them."""

    canvas: Tensor
    soft: Tensor
    step: Callable[[], Tensor]
    graph: torch.cuda.CUDAGraph | None = None
    states: Tensor | None = None

    def run(self, canvas: Tensor, soft: Tensor | None) -> Tensor:
        """The step's states with these inputs; the next run overwrites them."""
        self.canvas.copy_(canvas)
        if soft is None:
            self.soft.zero_()  # which the self-conditioning turns into nothing
        else:
            self.soft.copy_(soft)
        if self.graph is None or self.states is None:
            return self.step()
        self.graph.replay()
        return self.states

    def captured(self, pool: Any) -> _Recorded:
        """The step recorded, on a GPU; recordings that share a `pool` of memory are not run at once."""
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(_WARM_UPS):
                self.step()
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        # What other threads do with the device meanwhile is none of this recording's business.
        with torch.cuda.graph(graph, pool=pool, capture_error_mode="thread_local"):
            states = self.step()
        return replace(self, graph=graph, states=states)


def bucket_of(length: int) -> int:
    """The number of prefix positions that a prefix of `length` tokens is padded to: a power of two."""
    bucket = _SMALLEST_BUCKET
    while bucket < length:
        bucket *= 2
    return bucket


def seen_tokens(layer: LayerConfig, window: int, bucket: int) -> int:
    """How many tokens of a prefix in `bucket` a canvas sees in a layer at most."""
    return min(window - 1, bucket) if layer.sliding else bucket


def laid_out_bytes(config: ModelConfig, prefix_tokens: int, itemsize: int) -> int:
    """What laying out a prefix takes beside the cache that holds it."""
    bucket = bucket_of(prefix_tokens)
    return sum(
        2
        * layer.kv_heads
        * layer.head_dim
        * (seen_tokens(layer, config.sliding_window, bucket) + CANVAS_LENGTHS[-1])
        * itemsize
        for layer in config.layers
    )


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
