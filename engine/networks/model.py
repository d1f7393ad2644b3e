"""The network of DiffusionGemma, text only: one set of weights, run as encoder or as denoiser.

Pure functions of tensors: no cache policy (see `engine.caches.prefix`), no sampling (see
`engine.denoising.sampler`), no files (see `engine.checkpoints.weights`). Both directions run the same layers;
they differ in what attention may see, in `layer_scalar`, and in the denoiser's self-conditioning at the
input. How keys and values are kept and masked is the caller's: each layer calls `attend(layer_index, q, k,
v)`.

Source: the reference implementation in `transformers` (`models/diffusion_gemma`), read, not copied.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from engine import kernels
from engine.config import LayerConfig, ModelConfig
from engine.networks.attention import Attend, Rope, rope, rotate
from engine.networks.moe import gated, run_experts
from engine.networks.network import turned_off
from engine.quant.weight import QuantisedWeight


class DiffusionGemma(nn.Module):
    """The whole text model. `encode` is causal, `denoise` bidirectional; both end in `logits`."""

    joins = True

    @property
    def threads(self) -> int:
        """See `engine.networks.network.Network`."""
        return torch.get_num_threads()

    def use_threads(self, count: int) -> None:
        """See `engine.networks.network.Network`."""
        torch.set_num_threads(count)

    def use_ids(self, count: int) -> None:
        """See `engine.networks.network.Network`."""
        self._ids = count

    @property
    def pads(self) -> bool:
        """On a CPU the matrix library prepares every product of a new shape; see
        `engine.networks.attention`."""
        return self.device.type == "cpu"

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config: ModelConfig = config
        self._ids = config.vocab_size
        self.embed_tokens = nn.Embedding(config.vocab_size, config.hidden_size)
        self.layers = nn.ModuleList(Layer(config, layer) for layer in config.layers)
        self.norm = RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.self_conditioning = SelfConditioning(config)

    @property
    def dtype(self) -> torch.dtype:
        """That of weights, keys and values."""
        return self.embed_tokens.weight.dtype

    @property
    def kept_dtype(self) -> torch.dtype:
        """See `engine.networks.network.Network`."""
        return self.dtype

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.embed_tokens.weight.device

    @property
    def size(self) -> int:
        """How many parameters there are."""
        quantised = [math.prod(m.shape) for m in self.modules() if isinstance(m, QuantisedWeight)]
        return sum(p.numel() for p in self.parameters()) + sum(quantised)

    def encode(self, ids: Tensor, positions: Tensor, attend: Attend) -> Tensor:
        """Run the encoder over `ids` (b, n) at `positions` (1 or b, n): final states (b, n, hidden)."""
        return self._run(self.embed(ids), positions, attend, encoder=True)

    def denoise(self, canvas: Tensor, positions: Tensor, attend: Attend, soft: Tensor | None) -> Tensor:
        """Run the denoiser over `canvas` (b, n); `soft` (b, n, hidden) is the previous step's guess.

        On the first step `soft` is None, which stands for zeros: the norm behind it still applies.
        Returns the final states (b, n, hidden).
        """
        return self._run(self.self_conditioning(self.embed(canvas), soft), positions, attend, encoder=False)

    def embed(self, ids: Tensor) -> Tensor:
        """Scaled embeddings (b, n, hidden) of `ids` (b, n)."""
        out: Tensor = self.embed_tokens(ids) * self._embed_scale()
        return out

    def soft_embed(self, logits: Tensor) -> Tensor:
        """The mean embedding under softmax(`logits` (b, n, vocab)): (b, n, hidden)."""
        return self.mean_embed(logits.softmax(-1, dtype=torch.float32))

    def mean_embed(self, probabilities: Tensor) -> Tensor:
        """The mean embedding (…, hidden) under `probabilities` (…, vocab)."""
        weight = self.embed_tokens.weight
        return (probabilities.to(weight.dtype) @ weight) * self._embed_scale()

    def logits_behind(self, *_where: object) -> Tensor | None:
        """See `engine.networks.network.Network`: there is no shorter way."""
        return None

    def search_behind(self, *_where: object) -> None:
        """See `engine.networks.network.Network`: likewise."""

    def logits(self, states: Tensor) -> Tensor:
        """Soft-capped float32 logits (b, n, vocab) of final states (b, n, hidden)."""
        cap = self.config.final_logit_softcapping
        raw = F.linear(states, self.embed_tokens.weight)
        if kernels.can_run(raw):
            from engine.kernels.choice import softcapped

            return turned_off(softcapped(raw, cap), self._ids)
        return turned_off(torch.tanh(raw.float() / cap) * cap, self._ids)

    def _embed_scale(self) -> Tensor:
        # Rounded to the weights' dtype, as in training: 53.0 for the 26B's sqrt(2816) in bfloat16.
        weight = self.embed_tokens.weight
        return torch.full((), self.config.hidden_size**0.5, dtype=weight.dtype, device=weight.device)

    def _run(self, x: Tensor, positions: Tensor, attend: Attend, *, encoder: bool) -> Tensor:
        ropes: dict[bool, Rope] = {}
        for index, layer in enumerate(self.layers):
            assert isinstance(layer, Layer)
            if layer.shape.sliding not in ropes:
                ropes[layer.shape.sliding] = rope(layer.shape, positions, x.dtype)
            x = layer(x, ropes[layer.shape.sliding], index, attend, encoder)
        out: Tensor = self.norm(x)
        return out


class RMSNorm(nn.Module):
    """Root-mean-square norm in float32; multiplies by `weight` (not 1 + weight), or by nothing."""

    def __init__(self, size: int, eps: float, *, scale: bool = True) -> None:
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(size)) if scale else None

    def forward(self, x: Tensor) -> Tensor:
        y = x.float()
        y = y * torch.rsqrt(y.square().mean(-1, keepdim=True) + self.eps)
        if self.weight is not None:
            y = y * self.weight.float()
        return y.to(x.dtype)


class _Gated(nn.Module):
    """The three projections of a gated MLP, and what they compute."""

    def __init__(self, hidden: int, intermediate: int) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(hidden, intermediate, bias=False)
        self.up_proj = nn.Linear(hidden, intermediate, bias=False)
        self.down_proj = nn.Linear(intermediate, hidden, bias=False)

    def gated(self, x: Tensor) -> Tensor:
        """down(gelu_tanh(gate(x)) * up(x))."""
        out: Tensor = self.down_proj(F.gelu(self.gate_proj(x), approximate="tanh") * self.up_proj(x))
        return out


class GatedMLP(_Gated):
    """A layer's dense MLP."""

    def forward(self, x: Tensor) -> Tensor:
        return self.gated(x)


class SelfConditioning(_Gated):
    """Mixes the previous step's soft embeddings into the canvas's embeddings."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(config.hidden_size, config.intermediate_size)
        self.pre_norm = RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.post_norm = RMSNorm(config.hidden_size, config.rms_norm_eps, scale=False)

    def forward(self, embeds: Tensor, soft: Tensor | None) -> Tensor:
        if soft is not None:  # zeros in give zeros out: the MLP has no biases
            embeds = embeds + self.gated(self.pre_norm(soft))
        out: Tensor = self.post_norm(embeds)
        return out


class Attention(nn.Module):
    """Attention with normed queries, keys and values and scale 1; full layers reuse keys as values."""

    def __init__(self, config: ModelConfig, shape: LayerConfig) -> None:
        super().__init__()
        self.heads, self.kv_heads, self.head_dim = config.num_attention_heads, shape.kv_heads, shape.head_dim
        width, kv_width = self.heads * self.head_dim, self.kv_heads * self.head_dim
        self.q_proj = nn.Linear(config.hidden_size, width, bias=False)
        self.k_proj = nn.Linear(config.hidden_size, kv_width, bias=False)
        self.v_proj = nn.Linear(config.hidden_size, kv_width, bias=False) if shape.sliding else None
        self.o_proj = nn.Linear(width, config.hidden_size, bias=False)
        self.q_norm = RMSNorm(self.head_dim, config.rms_norm_eps)
        self.k_norm = RMSNorm(self.head_dim, config.rms_norm_eps)
        self.v_norm = RMSNorm(self.head_dim, config.rms_norm_eps, scale=False)

    def forward(self, x: Tensor, rotation: Rope, index: int, attend: Attend) -> Tensor:
        b, n, _ = x.shape
        q = self.q_proj(x).view(b, n, self.heads, self.head_dim)
        k = self.k_proj(x).view(b, n, self.kv_heads, self.head_dim)
        # The values of full layers are the raw keys: before the key norm, and never rotated.
        v = k if self.v_proj is None else self.v_proj(x).view(b, n, self.kv_heads, self.head_dim)
        q = rotate(self.q_norm(q).transpose(1, 2), rotation)
        k = rotate(self.k_norm(k).transpose(1, 2), rotation)
        v = self.v_norm(v).transpose(1, 2)
        attended = attend(index, q, k, v).transpose(1, 2).reshape(b, n, -1)
        out: Tensor = self.o_proj(attended.to(x.dtype))
        return out


class Router(nn.Module):
    """Picks top-k experts from the raw residual, with weights that sum to one before their own scale."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.top_k = config.top_k_experts
        self.norm = RMSNorm(config.hidden_size, config.rms_norm_eps, scale=False)
        self.proj = nn.Linear(config.hidden_size, config.num_experts, bias=False)
        self.scale = nn.Parameter(torch.ones(config.hidden_size))
        self.per_expert_scale = nn.Parameter(torch.ones(config.num_experts))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Weights and expert indices, each (tokens, top_k), of residuals `x` (tokens, hidden)."""
        if len(self.per_expert_scale) == 1:  # nothing to choose, and no gather: compiled code wants that
            chosen = torch.zeros(len(x), 1, dtype=torch.long, device=x.device)
            return self.per_expert_scale.expand(len(x), 1), chosen
        scores = self.proj(self.norm(x) * self.scale * self.scale.shape[0] ** -0.5)
        weights, chosen = scores.softmax(-1, dtype=torch.float32).topk(self.top_k, dim=-1)
        weights = weights / weights.sum(-1, keepdim=True)
        return weights * self.per_expert_scale[chosen], chosen


class Experts(nn.Module):
    """Gated MLPs side by side; `gate_up_proj` holds each expert's gate first, then its up projection."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        n, wide, hidden = config.num_experts, config.moe_intermediate_size, config.hidden_size
        self.gate_up_proj = nn.Parameter(torch.empty(n, 2 * wide, hidden))
        self.down_proj = nn.Parameter(torch.empty(n, hidden, wide))

    def forward(self, x: Tensor, weights: Tensor, chosen: Tensor) -> Tensor:
        """Weighted sum of the chosen experts' outputs; x (tokens, hidden), the others (tokens, k)."""
        if isinstance(self.gate_up_proj, Tensor) and self.gate_up_proj.shape[0] == 1:
            # No gather: shapes stay static, which compiled code needs.
            gate_up = F.linear(x, self.gate_up_proj[0])
            return F.linear(gated(gate_up), self.down_proj[0]) * weights.to(x.dtype)
        return run_experts(self.gate_up_proj, self.down_proj, x, weights, chosen)


class Layer(nn.Module):
    """Attention, then a dense MLP and experts side by side from the same residual."""

    layer_scalar: Tensor
    encoder_layer_scalar: Tensor

    def __init__(self, config: ModelConfig, shape: LayerConfig) -> None:
        super().__init__()
        hidden, eps = config.hidden_size, config.rms_norm_eps
        self.shape = shape
        self.self_attn = Attention(config, shape)
        self.mlp = GatedMLP(hidden, config.intermediate_size)
        self.router = Router(config)
        self.experts = Experts(config)
        self.input_layernorm = RMSNorm(hidden, eps)
        self.post_attention_layernorm = RMSNorm(hidden, eps)
        self.pre_feedforward_layernorm = RMSNorm(hidden, eps)
        self.post_feedforward_layernorm = RMSNorm(hidden, eps)
        self.post_feedforward_layernorm_1 = RMSNorm(hidden, eps)
        self.pre_feedforward_layernorm_2 = RMSNorm(hidden, eps)
        self.post_feedforward_layernorm_2 = RMSNorm(hidden, eps)
        # The one thing the two directions do not share.
        self.register_buffer("layer_scalar", torch.ones(1))
        self.register_buffer("encoder_layer_scalar", torch.ones(1))

    def forward(self, x: Tensor, rotation: Rope, index: int, attend: Attend, encoder: bool) -> Tensor:
        x = x + self.post_attention_layernorm(
            self.self_attn(self.input_layernorm(x), rotation, index, attend)
        )
        dense = self.post_feedforward_layernorm_1(self.mlp(self.pre_feedforward_layernorm(x)))
        flat = x.reshape(-1, x.shape[-1])
        weights, chosen = self.router(flat)
        sparse = self.experts(self.pre_feedforward_layernorm_2(flat), weights, chosen).view_as(x)
        x = x + self.post_feedforward_layernorm(dense + self.post_feedforward_layernorm_2(sparse))
        return x * (self.encoder_layer_scalar if encoder else self.layer_scalar)
