"""The network of `engine.model` laid out for a CPU: the same function of the same weights, fewer and larger
operations.

Norm weights are folded into the projection behind them, projections of one input are joined, matrices are
kept as the CPU's matrix library wants them, and what lies between is float32 in few passes. Dense models
only (one expert). Knows nothing of caches, sampling or files; never trained.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from engine.attention import Attend, padded_rows, rope
from engine.config import LayerConfig, ModelConfig
from engine.model import Attention, DiffusionGemma, Layer
from engine.quant.weight import QuantisedWeight

_ROWS = 128
"""Rows the matrices are laid out for: four canvases of 32. Any number works."""

_ROWS_AS_THEY_ARE = 24
"""Rows up to here are those of a few tokens each of a few middles, which are few numbers anyway."""


def can_pack(model: DiffusionGemma) -> bool:
    """Whether a model can be packed: with experts to choose among, or quantised, it cannot."""
    quantised = any(isinstance(module, QuantisedWeight) for module in model.modules())
    return model.config.num_experts == 1 and not quantised


class PackedGemma:
    """A `DiffusionGemma` to be run, not trained; see `engine.network.Network`.

    `dtype` is that of matrices, keys and values; the residual stream is float32. The final states that
    `encode` and `denoise` return lack the last norm's weight, which `logits` has in its matrix.
    """

    def __init__(self, model: DiffusionGemma, dtype: torch.dtype) -> None:
        config = model.config
        embedding = model.embed_tokens.weight.detach().float()
        cap = config.final_logit_softcapping
        self.config = config
        self.dtype = dtype
        self.device = embedding.device
        self.size = sum(p.numel() for p in model.parameters())
        self._embedding = embedding * config.hidden_size**0.5
        self._mean = Matrix(self._embedding.t(), dtype)
        self._head = Matrix(embedding * _weight(model.norm) * (2 / cap), dtype)
        mixed = model.self_conditioning
        scale = _weight(mixed.pre_norm)
        self._conditioning = _Gated(
            [mixed.gate_proj.weight.detach().float() * scale],
            [mixed.up_proj.weight.detach().float() * scale],
            [mixed.down_proj.weight],
            dtype,
        )
        self._layers = [_Layer(_checked(layer), config, dtype) for layer in model.layers]
        self._rotations = _Rotations(config, self.device)
        self._eps = torch.tensor(config.rms_norm_eps, device=self.device)

    def encode(self, ids: Tensor, positions: Tensor, attend: Attend) -> Tensor:
        """Run the encoder over `ids` (b, n) at `positions` (1 or b, n), consecutive in each row: states
        (b, n, hidden)."""
        return self._run(F.embedding(ids, self._embedding), positions, attend, encoder=True)

    def denoise(self, canvas: Tensor, positions: Tensor, attend: Attend, soft: Tensor | None) -> Tensor:
        """Run the denoiser over `canvas` (b, n) at `positions` (1 or b, n), consecutive in each row: states
        (b, n, hidden)."""
        x = F.embedding(canvas, self._embedding)
        if soft is not None:
            flat = soft.reshape(-1, soft.shape[-1]).float()
            [mixed] = self._conditioning(self._norm(flat).to(self.dtype))
            x = x + mixed.view_as(x)
        return self._run(self._norm(x), positions, attend, encoder=False)

    def embed(self, ids: Tensor) -> Tensor:
        """Scaled embeddings of `ids`: float32, with one more dimension."""
        return F.embedding(ids, self._embedding)

    def mean_embed(self, probabilities: Tensor) -> Tensor:
        """The mean embedding (rows, hidden) under `probabilities` (rows, vocab)."""
        return self._mean(_filled_up(probabilities.to(self.dtype)))[: len(probabilities)]

    def logits(self, states: Tensor) -> Tensor:
        """Soft-capped float32 logits (…, vocab) of final states (…, hidden)."""
        cap = self.config.final_logit_softcapping
        rows = states.reshape(-1, states.shape[-1]).to(self.dtype)
        flat = self._head(_filled_up(rows))[: len(rows)].float()
        # cap * tanh(y / cap): the logistic function is ten times as fast here as tanh.
        flat = flat.sigmoid_().mul_(2 * cap).sub_(cap)
        return flat.view(*states.shape[:-1], flat.shape[-1])

    def _run(self, x: Tensor, positions: Tensor, attend: Attend, *, encoder: bool) -> Tensor:
        b, n, hidden = x.shape
        x = x.reshape(-1, hidden)
        starts = tuple(positions[:, 0].tolist())
        for index, layer in enumerate(self._layers):
            rotation = self._rotations.of(index, layer, starts, n)
            x = layer(x, (b, n), rotation, index, attend, encoder)
        return self._norm(x).view(b, n, hidden)

    def _norm(self, x: Tensor) -> Tensor:
        return x * inverse_rms(x, self._eps)


def inverse_rms(x: Tensor, eps: Tensor) -> Tensor:
    """1 over the root mean square of the last dimension of `x` float32, which stays as size 1; `eps` ()."""
    length = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
    return torch.addcmul(eps, length, length, value=1 / x.shape[-1]).rsqrt_()


def _filled_up(x: Tensor) -> Tensor:
    """`x` (rows, in), in front of as many zeros as make its rows one of a few numbers."""
    count = len(x)
    return x if count <= _ROWS_AS_THEY_ARE else F.pad(x, (0, 0, 0, padded_rows(count) - count))


class Matrix:
    """A weight (out, in) in the layout of the CPU's matrix library; called with rows (m, in)."""

    def __init__(self, weight: Tensor, dtype: torch.dtype) -> None:
        self._weight = weight.detach().to(dtype).contiguous()
        self._library = torch.backends.mkldnn.is_available() and self._weight.device.type == "cpu"
        if self._library:
            self._weight = torch.ops.mkldnn._reorder_linear_weight(self._weight, _ROWS)

    def __call__(self, x: Tensor) -> Tensor:
        if self._library:
            out: Tensor = torch.ops.mkldnn._linear_pointwise(x, self._weight, None, "none", [], "")
            return out
        return F.linear(x, self._weight)

    def gelu(self, x: Tensor) -> Tensor:
        """gelu_tanh of the product, in the same pass."""
        if self._library:
            out: Tensor = torch.ops.mkldnn._linear_pointwise(x, self._weight, None, "gelu", [], "tanh")
            return out
        return F.gelu(F.linear(x, self._weight), approximate="tanh")

    def times(self, x: Tensor, other: Tensor) -> Tensor:
        """The product times `other` (m, out), in the same pass."""
        if self._library:
            out: Tensor = torch.ops.mkldnn._linear_pointwise.binary(x, other, self._weight, None, "mul")
            return out
        return F.linear(x, self._weight) * other


class _Gated:
    """Gated MLPs of one input side by side, whose input's norm weights are part of their matrices.

    `gates` and `ups` are (wide, in) each, `downs` (out, wide); what each of them puts out stays apart.
    """

    def __init__(
        self, gates: list[Tensor], ups: list[Tensor], downs: list[Tensor], dtype: torch.dtype
    ) -> None:
        self._gate, self._up = Matrix(torch.cat(gates), dtype), Matrix(torch.cat(ups), dtype)
        self._downs = [Matrix(down, dtype) for down in downs]
        self._wide = [down.shape[1] for down in downs]

    def __call__(self, x: Tensor) -> list[Tensor]:
        inner = self._up.times(x, self._gate.gelu(x))
        parts = inner.split(self._wide, -1)
        return [down(part) for down, part in zip(self._downs, parts, strict=True)]


@dataclass(frozen=True, kw_only=True)
class _Rotation:
    """A layer's rope times its query and key norms' weights: each (n, heads + kv_heads, head_dim), or with
    the batch in front."""

    straight: Tensor
    swapped: Tensor


class _Layer:
    """`engine.model.Layer` with joined projections."""

    def __init__(self, layer: Layer, config: ModelConfig, dtype: torch.dtype) -> None:
        attention = layer.self_attn
        assert isinstance(attention, Attention)
        parts = [attention.q_proj, attention.k_proj]
        if attention.v_proj is not None:
            parts.append(attention.v_proj)
        joined = torch.cat([part.weight.detach().float() for part in parts])
        self.shape = layer.shape
        self.heads, self.kv_heads = attention.heads, attention.kv_heads
        self.norms = torch.stack(
            [_weight(attention.q_norm)] * self.heads + [_weight(attention.k_norm)] * self.kv_heads
        )
        self.swapped_norms = self.norms.roll(self.shape.head_dim // 2, -1)
        self._own_values = attention.v_proj is not None
        self._dtype = dtype
        self._eps = torch.tensor(config.rms_norm_eps, device=joined.device)
        self._qkv = Matrix(joined * _weight(layer.input_layernorm), dtype)
        self._out = Matrix(attention.o_proj.weight, dtype)
        self._after_attention = _weight(layer.post_attention_layernorm)
        mlp, (gate, up) = layer.mlp, layer.experts.gate_up_proj[0].detach().float().chunk(2)
        down = layer.experts.down_proj[0].detach().float() * layer.router.per_expert_scale.detach().float()
        dense, expert = _weight(layer.pre_feedforward_layernorm), _weight(layer.pre_feedforward_layernorm_2)
        self._mlps = _Gated(
            [mlp.gate_proj.weight.detach().float() * dense, gate * expert],
            [mlp.up_proj.weight.detach().float() * dense, up * expert],
            [mlp.down_proj.weight.detach().float(), down],
            dtype,
        )
        self._after_mlp = _weight(layer.post_feedforward_layernorm_1)
        self._after_expert = _weight(layer.post_feedforward_layernorm_2)
        self._after_both = _weight(layer.post_feedforward_layernorm)
        self._scalars = float(layer.layer_scalar), float(layer.encoder_layer_scalar)

    def __call__(
        self,
        x: Tensor,
        shape: tuple[int, int],
        rotation: _Rotation,
        index: int,
        attend: Attend,
        encoder: bool,
    ) -> Tensor:
        """One layer over `x` (b * n, hidden) float32, where `shape` is (b, n)."""
        attended = attend(index, *self._projected(x, shape, rotation)).transpose(1, 2).reshape(len(x), -1)
        x = self._add(x, self._out(attended.to(self._dtype)), self._after_attention)
        normed = (x * inverse_rms(x, self._eps)).to(self._dtype)
        mlp, expert = self._mlps(normed)
        both = self._add(self._scaled(mlp, self._after_mlp), expert, self._after_expert)
        x = torch.addcmul(x, both.mul_(inverse_rms(both, self._eps)), self._after_both)
        return x.mul_(self._scalars[encoder])

    def _projected(
        self, x: Tensor, shape: tuple[int, int], rotation: _Rotation
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values, each (b, heads, n, head_dim)."""
        normed = (x * inverse_rms(x, self._eps)).to(self._dtype)
        y = self._qkv(normed).float().view(*shape, -1, self.shape.head_dim)
        y = y.mul_(inverse_rms(y, self._eps))
        turning = y[:, :, : self.heads + self.kv_heads]
        turned = turning * rotation.straight
        turned.addcmul_(turning.roll(self.shape.head_dim // 2, -1), rotation.swapped)
        q = turned[:, :, : self.heads].to(self._dtype)
        # The values of full layers are the keys as they were before their norm's weight and rotation.
        v = y[:, :, self.heads + self.kv_heads if self._own_values else self.heads :]
        return q.transpose(1, 2), turned[:, :, self.heads :].transpose(1, 2), v.transpose(1, 2)

    def _scaled(self, y: Tensor, weight: Tensor) -> Tensor:
        y = y.float()
        return (y * inverse_rms(y, self._eps)).mul_(weight)

    def _add(self, x: Tensor, y: Tensor, weight: Tensor) -> Tensor:
        """`x` plus the norm of `y`."""
        y = y.float()
        return torch.addcmul(x, y * inverse_rms(y, self._eps), weight)


class _Rotations:
    """Rope tables by position, grown on demand, and what the last call made of them for each layer."""

    def __init__(self, config: ModelConfig, device: torch.device) -> None:
        self._device = device
        self._tables: dict[LayerConfig, tuple[Tensor, Tensor]] = {}
        self._limit = config.max_position_embeddings
        self._last: dict[int, tuple[tuple[int, ...], int, _Rotation]] = {}
        self._gathered: dict[LayerConfig, tuple[tuple[int, ...], int, tuple[Tensor, Tensor]]] = {}

    def of(self, index: int, layer: _Layer, starts: tuple[int, ...], count: int) -> _Rotation:
        """The rotation of layer `index` for `count` positions of each row from its start on, or of all rows
        from one; every step of a canvas asks again."""
        last = self._last.get(index)
        if last is not None and last[:2] == (starts, count):
            return last[2]
        cos, sin = self._rows(layer.shape, starts, count)
        rotation = _Rotation(straight=cos * layer.norms, swapped=sin * layer.swapped_norms)
        self._last[index] = starts, count, rotation
        return rotation

    def _rows(self, shape: LayerConfig, starts: tuple[int, ...], count: int) -> tuple[Tensor, Tensor]:
        """cos and sin as in `_table`, (count, 1, head_dim); with the batch in front where starts differ."""
        last = self._gathered.get(shape)
        if last is not None and last[:2] == (starts, count):
            return last[2]
        tables = self._table(shape, max(starts) + count)
        if min(starts) == max(starts):
            rows = [table[starts[0] : starts[0] + count] for table in tables]
        else:
            rows = [torch.stack([table[at : at + count] for at in starts]) for table in tables]
        self._gathered[shape] = starts, count, (rows[0], rows[1])
        return rows[0], rows[1]

    def _table(self, shape: LayerConfig, end: int) -> tuple[Tensor, Tensor]:
        """cos, and sin signed for swapped halves, of `end` positions or more: (positions, 1, head_dim)."""
        known = self._tables.get(shape)
        if known is not None and len(known[0]) >= end:
            return known
        rows = min(self._limit, -(-end // 1024) * 1024)
        cos, sin = rope(shape, torch.arange(max(rows, end), device=self._device)[None], torch.float32)
        sign = torch.ones(shape.head_dim, device=self._device)
        sign[: shape.head_dim // 2] = -1
        self._tables[shape] = (
            cos[0].transpose(0, 1).contiguous(),
            (sin * sign)[0].transpose(0, 1).contiguous(),
        )
        return self._tables[shape]


def _weight(norm: torch.nn.Module) -> Tensor:
    weight = norm.weight
    assert isinstance(weight, Tensor)
    return weight.detach().float()


def _checked(layer: torch.nn.Module) -> Layer:
    assert isinstance(layer, Layer)
    return layer
