"""The model that is measured: the 26B's published shape, or a small one of the same kind for a CPU."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from engine.checkpoints.fill import requantised
from engine.checkpoints.plan import Target
from engine.checkpoints.weights import empty_model, put, state_shapes
from engine.config import LayerConfig, ModelConfig
from engine.networks.model import DiffusionGemma


@dataclass(frozen=True, kw_only=True)
class Size:
    """A model's shape and what is asked of it."""

    model: ModelConfig
    canvas: int
    prefix: int
    steps: int = 12


def _layers(count: int, narrow: tuple[int, int], wide: tuple[int, int]) -> tuple[LayerConfig, ...]:
    """Five sliding layers to a full one; `narrow` and `wide` are (head_dim, kv_heads)."""
    return tuple(
        LayerConfig(
            sliding=index % 6 != 5,
            head_dim=(narrow if index % 6 != 5 else wide)[0],
            kv_heads=(narrow if index % 6 != 5 else wide)[1],
            rope_theta=1e4 if index % 6 != 5 else 1e6,
            rotated_fraction=1.0 if index % 6 != 5 else 0.25,
            proportional_rope=index % 6 == 5,
        )
        for index in range(count)
    )


FULL = Size(
    model=ModelConfig(
        vocab_size=262_144,
        hidden_size=2816,
        intermediate_size=2112,
        num_attention_heads=16,
        num_experts=128,
        top_k_experts=8,
        moe_intermediate_size=704,
        sliding_window=1024,
        layers=_layers(30, (256, 8), (512, 2)),
        max_position_embeddings=262_144,
    ),
    canvas=256,
    prefix=2048,
)

TINY = Size(
    model=ModelConfig(
        vocab_size=512,
        hidden_size=64,
        intermediate_size=64,
        num_attention_heads=4,
        num_experts=4,
        top_k_experts=2,
        moe_intermediate_size=32,
        sliding_window=16,
        layers=_layers(6, (16, 2), (32, 1)),
        max_position_embeddings=4096,
    ),
    canvas=16,
    prefix=48,
    steps=2,
)


def random_model(config: ModelConfig, form: str, device: torch.device) -> DiffusionGemma:
    """A model with random weights held as `form`, made on the device one parameter at a time."""
    model = empty_model(config)
    generator = torch.Generator(device=device).manual_seed(0)
    for name, shape in state_shapes(model).items():
        held = Target(param=name, shape=shape).held_as(form)
        value = _random(name, shape, generator)
        put(model, name, requantised(value, held) if held in ("fp8", "int4") else value)
    return model.eval().requires_grad_(False)


def _random(name: str, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    device = generator.device
    if len(shape) < 2:
        return torch.ones(shape, dtype=torch.bfloat16, device=device)
    out = torch.empty(shape, dtype=torch.bfloat16, device=device)
    # Like a trained model's: activations stay of the same size from layer to layer.
    return out.normal_(0, shape[-1] ** -0.5, generator=generator)


def weight_bytes(model: DiffusionGemma) -> int:
    """Bytes that a step has to read: all weights, the embedding table among them, once."""
    return sum(tensor.nbytes for tensor in model.state_dict().values())


def step_operations(size: Size) -> float:
    """Multiplications and additions of a step: products by weights, the soft embedding, attention."""
    config, tokens = size.model, size.canvas
    total = 2 * 2.0 * config.vocab_size * config.hidden_size  # the head, and the soft embedding
    total += 2 * 3 * config.hidden_size * config.intermediate_size
    for layer in config.layers:
        heads = config.num_attention_heads * layer.head_dim
        kv = layer.kv_heads * layer.head_dim * (2 if layer.sliding else 1)
        total += 2 * config.hidden_size * (2 * heads + kv + config.num_experts)
        total += 2 * 3 * config.hidden_size * config.intermediate_size
        total += 2 * 3 * config.hidden_size * config.moe_intermediate_size * config.top_k_experts
        seen = min(size.prefix, config.sliding_window - 1) if layer.sliding else size.prefix
        total += 2 * 2 * heads * (seen + tokens)
    return total * tokens
