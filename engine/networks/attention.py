"""Attention and rotary positions, as functions of tensors; whose keys a query sees is the caller's to say.

On a CPU every product of a new shape is prepared by the matrix library, which takes longer than the product
itself and some 600 KB that it keeps; only batched products in float32 are free of that. So callers pad keys
to `padded_keys`, and say what of them counts.

Source: the reference implementation in `transformers` (`models/diffusion_gemma`), read, not copied.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from engine.config import LayerConfig

Attend = Callable[[int, Tensor, Tensor, Tensor], Tensor]
"""(layer, q (b, heads, n, d), k (b, kv_heads, n, d), v like k) -> (b, heads, n, d)."""


@dataclass(frozen=True, kw_only=True)
class Seen:
    """Where the keys and values of a layer lie, a pair each: first those that all rows have in common,
    `shared` (kv_heads, prefix, d), behind them each row's `own` (rows, kv_heads, room, d)."""

    shared: tuple[Tensor, Tensor]
    own: tuple[Tensor, Tensor]


@dataclass(frozen=True, kw_only=True, eq=False)
class Memory:
    """What is seen in each layer; the first of the rows' own tokens has position `start`, and the last of the
    shared ones, of however many, that before it."""

    layers: tuple[Seen, ...]
    start: int


@dataclass(frozen=True, kw_only=True)
class Placed:
    """An `Attend` that also says where what it looks at lies, for whoever wants to look there itself.

    `memory` gives it for (b, n) tokens. Each row's tokens are written to its own from column `at` on, 0 where
    that is None. Where `causal`, each sees what is before it and itself, in sliding layers the last window of
    those; else all that is shared, and of its row's own the first `columns` or all of the n.
    """

    attend: Attend
    memory: Callable[[int, int], Memory]
    causal: bool
    at: Sequence[int] | None = None
    columns: int | None = None

    def __call__(self, layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return self.attend(layer, q, k, v)


Rope = tuple[Tensor, Tensor]
"""cos and sin, each (b or 1, 1, n, head_dim)."""

_KEYS = 64
_FEW_ROWS, _ROWS = 16, 64

_FEW_QUERIES = 32
"""Up to so many rows of queries, products in float32 are as fast as in bfloat16, and nothing is prepared."""


def rope(shape: LayerConfig, positions: Tensor, dtype: torch.dtype) -> Rope:
    """cos and sin for `positions` (b, n), computed in float32.

    Proportional RoPE rotates only the first `rotated_fraction` of the frequencies, but their exponents
    are those of the whole head; the others stand still. Halves are paired (i, i + head_dim / 2).
    """
    d = shape.head_dim
    if shape.proportional_rope:
        angles = int(shape.rotated_fraction * d // 2)
        exponents = torch.arange(0, 2 * angles, 2, device=positions.device, dtype=torch.float32) / d
        inverse = F.pad(1.0 / shape.rope_theta**exponents, (0, d // 2 - angles))
    else:
        exponents = torch.arange(0, d, 2, device=positions.device, dtype=torch.float32) / d
        inverse = 1.0 / shape.rope_theta**exponents
    angle = positions[:, None, :, None].float() * inverse
    angle = torch.cat((angle, angle), dim=-1)
    return angle.cos().to(dtype), angle.sin().to(dtype)


def rotate(x: Tensor, rotation: Rope) -> Tensor:
    """Rotate `x` (b, heads, n, head_dim) by `rotation`."""
    cos, sin = rotation
    first, second = x.chunk(2, dim=-1)
    return x * cos + torch.cat((-second, first), dim=-1) * sin


def padded_keys(count: int) -> int:
    """How many keys to lay out for `count`: the next multiple of 64."""
    return -(-count // _KEYS) * _KEYS


def padded_rows(count: int) -> int:
    """How many rows to compute for `count` of them: the next multiple of 16 up to 64, of 64 beyond."""
    step = _FEW_ROWS if count <= _ROWS else _ROWS
    return -(-count // step) * step


class Mask:
    """Which keys each query may look at; laid out once for all layers whose heads are shared alike.

    `visible` (b or 1, n, keys) is boolean.
    """

    def __init__(self, visible: Tensor) -> None:
        self.visible = visible
        self._biases: dict[tuple[int, int, torch.dtype], Tensor] = {}

    def bias(self, kv: int, group: int, dtype: torch.dtype) -> Tensor:
        """0 where a query may look and -inf where not: (b * kv or 1, n * group, keys)."""
        key = kv, group, dtype
        if key not in self._biases:
            bias = torch.zeros(self.visible.shape, dtype=dtype, device=self.visible.device)
            bias = bias.masked_fill_(~self.visible, -torch.inf).repeat_interleave(group, 1)
            self._biases[key] = bias if len(bias) == 1 else bias.repeat_interleave(kv, 0)
        return self._biases[key]


def attention(q: Tensor, k: Tensor, v: Tensor, seen: Mask | int | None = None) -> Tensor:
    """Scaled-by-one attention with grouped KV heads: q (b, heads, n, d), k and v (b, kv_heads, keys, d).

    `seen` says what a query may look at where that is not all: a mask, or the first so many keys. On a CPU
    the result may be float32 whatever the inputs are.
    """
    if q.device.type == "cpu" and not q.requires_grad:
        few = q.shape[1] // k.shape[1] * q.shape[2] <= _FEW_QUERIES
        if few or k.dtype == torch.float32:
            q, k, v = q.float(), k.float(), v.float()
        return _attention_on_cpu(q, k, v, seen)
    if isinstance(seen, int):
        k, v, seen = k[:, :, :seen], v[:, :, :seen], None
    mask = None if seen is None else seen.visible[:, None]
    return F.scaled_dot_product_attention(
        q, k, v, attn_mask=mask, scale=1.0, enable_gqa=q.shape[1] != k.shape[1]
    )


def attention_behind(
    q: Tensor,
    shared: tuple[Tensor, Tensor],
    own: tuple[Tensor, Tensor],
    far: Tensor | None,
    near: Tensor,
) -> Tensor:
    """Attention of several rows to the prefix they have in common and to what each has behind it.

    q (b, heads, n, d); keys and values `shared` (kv_heads, prefix, d) and `own` (kv_heads, b, room, d). `far`
    and `near`, (b, n * heads / kv_heads, prefix or room), are added to the scores of either. One product of
    all rows reads the prefix once, where a copy of it for each row is read as often as there are rows.
    """
    b, heads, n, d = q.shape
    kv, prefix = shared[0].shape[:2]
    group = heads // kv
    q = q.reshape(b, kv, group, n, d).permute(1, 0, 3, 2, 4).to(shared[0].dtype)
    rows = q.reshape(kv * b, n * group, d)
    behind = torch.bmm(q.reshape(kv, -1, d), shared[0].transpose(1, 2)).view(kv, b, n * group, prefix)
    if far is not None:
        behind = behind + far
    around = torch.bmm(rows, own[0].reshape(kv * b, -1, d).transpose(1, 2)).view(kv, b, n * group, -1) + near
    weights = torch.cat((behind, around), dim=-1).softmax(-1)
    out = torch.bmm(weights[..., :prefix].reshape(kv, -1, prefix), shared[1]).view(kv * b, n * group, d)
    out = out.baddbmm_(weights[..., prefix:].reshape(kv * b, n * group, -1), own[1].reshape(kv * b, -1, d))
    return out.view(kv, b, n, group, d).permute(1, 0, 3, 2, 4).reshape(b, heads, n, d)


def _attention_on_cpu(q: Tensor, k: Tensor, v: Tensor, seen: Mask | int | None) -> Tensor:
    """The same as two batched products: torch's fused CPU kernel took up to three times as long, since its
    own products know no bfloat16 instructions on some CPUs. Query heads of a group become more rows.
    """
    b, heads, n, d = q.shape
    kv, group = k.shape[1], heads // k.shape[1]
    q = q.transpose(1, 2).reshape(b, n, kv, group, d).transpose(1, 2).reshape(b * kv, n * group, d)
    k, v = k.reshape(b * kv, -1, d), v.reshape(b * kv, -1, d)
    if isinstance(seen, Mask):
        scores = torch.baddbmm(seen.bias(kv, group, q.dtype), q, k.transpose(1, 2))
    else:
        scores = torch.bmm(q, k.transpose(1, 2))
        if seen is not None and seen < scores.shape[-1]:
            scores[..., seen:] = -torch.inf
    out = torch.bmm(scores.softmax(-1), v).view(b, kv, n, group, d)
    return out.transpose(1, 2).reshape(b, n, heads, d).transpose(1, 2)
