"""What a checkpoint says of itself, as frozen, checked dataclasses.

`ModelConfig` is the network's shape, `SamplerConfig` how it is denoised, `PromptConfig` how prompts are
laid out. Knows nothing of tensors, nor of the files they are read from (see `engine.config_json`).
"""

from __future__ import annotations

from dataclasses import dataclass

from engine.errors import BrokenCheckpoint, UnsupportedModel


@dataclass(frozen=True, kw_only=True)
class LayerConfig:
    """One layer's attention: `sliding` layers see a window and have their own values (`v_proj`)."""

    sliding: bool
    head_dim: int
    kv_heads: int
    rope_theta: float
    rotated_fraction: float
    proportional_rope: bool


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """The text part of a `diffusion_gemma` model, in the checkpoint's own terms."""

    vocab_size: int
    hidden_size: int
    intermediate_size: int
    num_attention_heads: int
    num_experts: int
    top_k_experts: int
    moe_intermediate_size: int
    sliding_window: int
    layers: tuple[LayerConfig, ...]
    canvas_length: int = 256
    rms_norm_eps: float = 1e-6
    final_logit_softcapping: float = 30.0
    max_position_embeddings: int = 131_072

    def __post_init__(self) -> None:
        if not self.layers:
            raise BrokenCheckpoint("config.json: the model has no layers")
        if self.top_k_experts > self.num_experts:
            raise BrokenCheckpoint(f"config.json: top-{self.top_k_experts} of {self.num_experts} experts")
        for index, layer in enumerate(self.layers):
            if self.num_attention_heads % layer.kv_heads:
                raise BrokenCheckpoint(
                    f"config.json: layer {index} shares {layer.kv_heads} KV heads among "
                    f"{self.num_attention_heads} query heads"
                )


@dataclass(frozen=True, kw_only=True)
class SamplerConfig:
    """How a canvas is denoised; entropies in nats, temperatures on the logits.

    The defaults are the reference implementation's. A `None` threshold turns the early stop off.
    """

    max_denoising_steps: int = 48
    entropy_bound: float = 0.1
    t_min: float = 0.4
    t_max: float = 0.8
    stability_threshold: int | None = 1
    confidence_threshold: float | None = 0.005

    def __post_init__(self) -> None:
        if self.max_denoising_steps < 1:
            raise BrokenCheckpoint(f"generation_config.json: {self.max_denoising_steps} denoising steps")
        if self.entropy_bound <= 0:
            raise BrokenCheckpoint(
                f"generation_config.json: entropy bound {self.entropy_bound} is not above 0"
            )
        if not 0 < self.t_min < self.t_max:
            raise BrokenCheckpoint(
                f"generation_config.json: temperatures are 0 < t_min < t_max, not {self.t_min}, {self.t_max}"
            )


@dataclass(frozen=True, kw_only=True)
class PromptConfig:
    """How a prompt is laid out in tokens, and how many tokens of each side the model was made for."""

    format: str = "suffix-prefix"
    prefix_tokens: int = 1024
    suffix_tokens: int = 256
    chars_per_token: float = 3.0

    def __post_init__(self) -> None:
        if self.format != "suffix-prefix":
            raise UnsupportedModel(f"infill.json: prompt format {self.format!r} is not known")
