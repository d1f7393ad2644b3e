"""A dense layer's weights as they are run on a CPU: norm weights folded into the matrices behind them, and
matrices of one input joined.

The same function of the same weights as `engine.networks.model.Layer`; see `engine.networks.packed` and
`engine.native`, which lay these out each in their own way.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from engine.config import LayerConfig, ModelConfig
from engine.networks.model import Attention, DiffusionGemma, Layer
from engine.quant.weight import QuantisedWeight


def can_fold(model: DiffusionGemma) -> bool:
    """Whether a model can be: with experts to choose among, or quantised, it cannot."""
    quantised = any(isinstance(module, QuantisedWeight) for module in model.modules())
    return model.config.num_experts == 1 and not quantised


@dataclass(frozen=True, kw_only=True)
class FoldedLayer:
    """Matrices (out, in) and what else a layer is, all float32.

    `qkv` has the heads of queries, keys and, where `own_values`, values one behind the other; values are
    else the keys, before the key norm. `gate` and `up` are (dense + expert, hidden): the dense MLP's rows and
    the one expert's, whose outputs go through `down` and `expert_down`. `scalars` are the denoiser's and the
    encoder's.
    """

    shape: LayerConfig
    heads: int
    kv_heads: int
    own_values: bool
    qkv: Tensor
    q_norm: Tensor
    k_norm: Tensor
    out: Tensor
    after_attention: Tensor
    gate: Tensor
    up: Tensor
    down: Tensor
    expert_down: Tensor
    after_mlp: Tensor
    after_expert: Tensor
    after_both: Tensor
    scalars: tuple[float, float]


def fold(module: nn.Module, config: ModelConfig) -> FoldedLayer:
    """A layer of a model that `can_fold`."""
    assert isinstance(module, Layer)
    layer, attention = module, module.self_attn
    assert isinstance(attention, Attention)
    projections = [attention.q_proj, attention.k_proj]
    if attention.v_proj is not None:
        projections.append(attention.v_proj)
    joined = torch.cat([part.weight.detach().float() for part in projections])
    dense, expert = (
        norm_weight(layer.pre_feedforward_layernorm),
        norm_weight(layer.pre_feedforward_layernorm_2),
    )
    mlp, experts = layer.mlp, layer.experts
    gate, up = experts.gate_up_proj[0].detach().float().chunk(2)
    return FoldedLayer(
        shape=layer.shape,
        heads=attention.heads,
        kv_heads=attention.kv_heads,
        own_values=attention.v_proj is not None,
        qkv=joined * norm_weight(layer.input_layernorm),
        q_norm=norm_weight(attention.q_norm),
        k_norm=norm_weight(attention.k_norm),
        out=attention.o_proj.weight.detach().float(),
        after_attention=norm_weight(layer.post_attention_layernorm),
        gate=torch.cat([mlp.gate_proj.weight.detach().float() * dense, gate * expert]),
        up=torch.cat([mlp.up_proj.weight.detach().float() * dense, up * expert]),
        down=mlp.down_proj.weight.detach().float(),
        expert_down=experts.down_proj[0].detach().float() * layer.router.per_expert_scale.detach().float(),
        after_mlp=norm_weight(layer.post_feedforward_layernorm_1),
        after_expert=norm_weight(layer.post_feedforward_layernorm_2),
        after_both=norm_weight(layer.post_feedforward_layernorm),
        scalars=(float(layer.layer_scalar), float(layer.encoder_layer_scalar)),
    )


def norm_weight(norm: nn.Module) -> Tensor:
    """The weight of a norm that has one, float32."""
    weight = norm.weight
    assert isinstance(weight, Tensor)
    return weight.detach().float()
