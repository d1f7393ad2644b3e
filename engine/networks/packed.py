"""The network of `engine.networks.model` laid out for a CPU: the same function of the same weights, fewer and
larger operations.

Matrices are kept as the CPU's matrix library wants them, and what lies between is float32 in few passes.
Dense models only (one expert). Knows nothing of caches, sampling or files; never trained.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from engine.config import LayerConfig, ModelConfig
from engine.networks.attention import Attend, rope
from engine.networks.ends import Ends, inverse_rms
from engine.networks.folded import FoldedLayer, fold, norm_weight
from engine.networks.matrix import Gated, Matrix, filled_up
from engine.networks.model import DiffusionGemma
from engine.networks.network import turned_off


class PackedGemma(Ends):
    """A `DiffusionGemma` whose layers are operations of torch; see `engine.networks.ends.Ends`."""

    joins = pads = True

    @property
    def threads(self) -> int:
        """See `engine.networks.network.Network`."""
        return torch.get_num_threads()

    def use_threads(self, count: int) -> None:
        """See `engine.networks.network.Network`."""
        torch.set_num_threads(count)

    def __init__(self, model: DiffusionGemma, dtype: torch.dtype) -> None:
        super().__init__(model, dtype)
        self._layers = [_Layer(fold(layer, model.config), model.config, dtype) for layer in model.layers]
        self._rotations = _Rotations(model.config, self.device)
        mixed, scale = model.self_conditioning, norm_weight(model.self_conditioning.pre_norm)
        gate, up = (part.weight.detach().float() * scale for part in (mixed.gate_proj, mixed.up_proj))
        self._conditioning = Gated(gate, up, [mixed.down_proj.weight], dtype)
        self._mean = Matrix(self._embedding.t(), dtype)
        head = model.embed_tokens.weight.detach().float() * norm_weight(model.norm)
        self._head = Matrix(head * (2 / self.config.final_logit_softcapping), dtype)

    def logits(self, states: Tensor) -> Tensor:
        """Soft-capped float32 logits (…, vocab) of final states (…, hidden)."""
        cap = self.config.final_logit_softcapping
        rows = states.reshape(-1, states.shape[-1]).to(self.dtype)
        flat = self._head(filled_up(rows))[: len(rows)].float()
        # cap * tanh(y / cap): the logistic function is ten times as fast here as tanh.
        flat = flat.sigmoid_().mul_(2 * cap).sub_(cap)
        return turned_off(flat, self._ids).view(*states.shape[:-1], flat.shape[-1])

    def logits_behind(self, *_where: object) -> Tensor | None:
        """See `engine.networks.network.Network`: there is no shorter way."""
        return None

    def search_behind(self, *_where: object) -> None:
        """See `engine.networks.network.Network`: likewise."""

    def mean_embed(self, probabilities: Tensor) -> Tensor:
        """The mean embedding (rows, hidden) under `probabilities` (rows, vocab)."""
        return self._mean(filled_up(probabilities.to(self.dtype)))[: len(probabilities)]

    def _mixed(self, x: Tensor) -> Tensor:
        [mixed] = self._conditioning(x.to(self.dtype))
        return mixed

    def _run(self, x: Tensor, positions: Tensor, attend: Attend, *, encoder: bool) -> Tensor:
        b, n, hidden = x.shape
        x = x.reshape(-1, hidden)
        starts = tuple(positions[:, 0].tolist())
        for index, layer in enumerate(self._layers):
            rotation = self._rotations.of(index, layer, starts, n)
            x = layer(x, (b, n), rotation, index, attend, encoder)
        return self._norm(x).view(b, n, hidden)


@dataclass(frozen=True, kw_only=True)
class _Rotation:
    """A layer's rope times its query and key norms' weights: each (n, heads + kv_heads, head_dim), or with
    the batch in front."""

    straight: Tensor
    swapped: Tensor


class _Layer:
    """`engine.networks.model.Layer` in fewer and larger operations."""

    def __init__(self, layer: FoldedLayer, config: ModelConfig, dtype: torch.dtype) -> None:
        self.shape = layer.shape
        self.heads, self.kv_heads = layer.heads, layer.kv_heads
        self.norms = torch.stack([layer.q_norm] * layer.heads + [layer.k_norm] * layer.kv_heads)
        self.swapped_norms = self.norms.roll(self.shape.head_dim // 2, -1)
        self._own_values = layer.own_values
        self._dtype = dtype
        self._eps = torch.tensor(config.rms_norm_eps, device=layer.qkv.device)
        self._qkv = Matrix(layer.qkv, dtype)
        self._out = Matrix(layer.out, dtype)
        self._after_attention = layer.after_attention
        self._mlps = Gated(layer.gate, layer.up, [layer.down, layer.expert_down], dtype)
        self._after_mlp = layer.after_mlp
        self._after_expert = layer.after_expert
        self._after_both = layer.after_both
        self._scalars = layer.scalars

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
