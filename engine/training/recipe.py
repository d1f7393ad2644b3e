"""The recipe: sizes of models, learning rates and the rest of what does not change during a run.

Knows nothing of data or of optimizers.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from engine.config import LayerConfig, ModelConfig
from engine.networks.model import DiffusionGemma


def _layer(*, sliding: bool) -> LayerConfig:
    return LayerConfig(
        sliding=sliding,
        head_dim=128,
        kv_heads=1,
        rope_theta=10_000.0 if sliding else 1_000_000.0,
        rotated_fraction=1.0 if sliding else 0.25,
        proportional_rope=not sliding,
    )


def model_config(*, hidden: int, layers: int, heads: int, dense: int, expert: int, vocab: int) -> ModelConfig:
    """A small DiffusionGemma: one expert with top-1, so the experts are dense; every sixth layer full."""
    return ModelConfig(
        vocab_size=vocab,
        hidden_size=hidden,
        intermediate_size=dense,
        num_attention_heads=heads,
        num_experts=1,
        top_k_experts=1,
        moe_intermediate_size=expert,
        sliding_window=1024,
        layers=tuple(_layer(sliding=i % 6 != 5 and i != layers - 1) for i in range(layers)),
        canvas_length=64,
        max_position_embeddings=4096,
    )


SIZES: dict[str, dict[str, int]] = {
    "6m": {"hidden": 256, "layers": 6, "heads": 2, "dense": 512, "expert": 256},
    "20m": {"hidden": 384, "layers": 10, "heads": 3, "dense": 704, "expert": 320},
    "40m": {"hidden": 512, "layers": 12, "heads": 4, "dense": 960, "expert": 448},
    "tiny": {"hidden": 64, "layers": 2, "heads": 1, "dense": 64, "expert": 32},
}


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """What may not change while a run goes on, except `lr_scale`; saved with its state.

    `causal_batches` is how many batches train the causal direction alone before both are trained. A middle's
    tokens are a tenth of a sequence, and the only ones that are written with a suffix right behind them:
    `middle_weight` is what their own mean counts beside that over all tokens.
    """

    size: str = "6m"
    vocab: int = 4096
    rows: int = 32
    seed: int = 0
    muon_lr: float = 0.02
    embedding_lr: float = 3e-3
    vector_lr: float = 1e-3
    warmup: int = 100
    causal_batches: int = 500
    causal_weight: float = 1.0
    middle_weight: float = 0.5
    clean_weight: float = 0.5
    conditioned_share: float = 0.5
    clip: float = 1.0


def initialise(model: DiffusionGemma) -> DiffusionGemma:
    """Random weights for training from nothing.

    Norms behind attention and feed-forward start low, so that the residual stream starts near the
    embedding; query and key norms start where products of queries and keys have a spread of about one.
    """
    depth = len(model.layers)
    for name, parameter in model.named_parameters():
        if "embed_tokens" in name:
            nn.init.normal_(parameter, std=0.02)
        elif name.endswith(("q_norm.weight", "k_norm.weight")):
            nn.init.constant_(parameter, parameter.shape[0] ** -0.25)
        elif name.endswith(("post_attention_layernorm.weight", "post_feedforward_layernorm.weight")):
            nn.init.constant_(parameter, (2 * depth) ** -0.5)
        elif parameter.ndim >= 2:
            nn.init.normal_(parameter, std=parameter.shape[-1] ** -0.5)
    return model
