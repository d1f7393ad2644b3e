"""What a checkpoint says of itself, as frozen, checked dataclasses.

`ModelConfig` is the network's shape, `SamplerConfig` how it is denoised, `PromptConfig` how prompts are
laid out. Knows nothing of tensors, nor of the files they are read from (see
`engine.checkpoints.config_json`).
"""

from __future__ import annotations

import math
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

    def __post_init__(self) -> None:
        _check_count("config.json", "head_dim", self.head_dim)
        _check_count("config.json", "num_key_value_heads", self.kv_heads)
        _check_number("config.json", "rope_theta", self.rope_theta)
        _check_number("config.json", "partial_rotary_factor", self.rotated_fraction)
        if self.rotated_fraction > 1:
            raise BrokenCheckpoint(f"config.json: partial_rotary_factor {self.rotated_fraction} is above 1")
        if self.rotated_fraction < 1 and not self.proportional_rope:
            raise UnsupportedModel("config.json: default RoPE of a part of each head is not known")
        if self.head_dim % 2:
            raise BrokenCheckpoint(f"config.json: head_dim {self.head_dim} is odd; RoPE pairs halves")


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
        for name in _COUNTS:
            _check_count("config.json", name, getattr(self, name))
        _check_number("config.json", "rms_norm_eps", self.rms_norm_eps)
        _check_number("config.json", "final_logit_softcapping", self.final_logit_softcapping)
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
        where = "generation_config.json"
        _check_count(where, "max_denoising_steps", self.max_denoising_steps)
        _check_number(where, "entropy_bound", self.entropy_bound)
        _check_number(where, "t_min", self.t_min)
        _check_number(where, "t_max", self.t_max)
        if self.stability_threshold is not None:
            _check_count(where, "stability_threshold", self.stability_threshold, minimum=0)
        if self.confidence_threshold is not None:
            _check_number(where, "confidence_threshold", self.confidence_threshold)
        if not 0 < self.t_min < self.t_max:
            raise BrokenCheckpoint(
                f"generation_config.json: temperatures are 0 < t_min < t_max, not {self.t_min}, {self.t_max}"
            )


PROMPT_FORMATS = ("suffix-prefix", "gemma-chat")
"""How prompts can be laid out: `engine.text.prompts` for models of our own, `engine.text.gemma_chat` for
Gemma's."""


@dataclass(frozen=True, kw_only=True)
class PromptConfig:
    """How a prompt is laid out in tokens, and how many tokens of each side the model was made for.

    `candidates` is how many canvases are denoised at once, for the causal direction to choose among, and
    `verified_candidates` how many middles it writes at once. `verified_tokens` is the longest canvas that
    is written left to right, with drafts verified, where nobody asks for a decoding; longer ones are
    denoised. Where there are more than one of them, a line is searched for with so many `beams` instead
    (see `engine.causal.beams`), and as many are told. `snippet_tokens` is the budget for code from elsewhere,
    0 for a model that is shown none. `far_tokens` of the text before the prefix, and as many after the
    suffix, are looked up for repetitions when writing left to right (see `engine.causal.ngram_cache`), and so
    are `nearby_tokens` of other files, which have less of a say.
    """

    format: str = "suffix-prefix"
    prefix_tokens: int = 1024
    suffix_tokens: int = 256
    chars_per_token: float = 3.0
    candidates: int = 1
    verified_candidates: int = 1
    verified_tokens: int = 0
    beams: int = 1
    snippet_tokens: int = 0
    far_tokens: int = 0
    nearby_tokens: int = 0

    def __post_init__(self) -> None:
        if self.format not in PROMPT_FORMATS:
            raise UnsupportedModel(f"infill.json: prompt format {self.format!r} is not known")
        _check_count("infill.json", "prefix_tokens", self.prefix_tokens)
        _check_count("infill.json", "suffix_tokens", self.suffix_tokens)
        _check_number("infill.json", "chars_per_token", self.chars_per_token)
        _check_count("infill.json", "candidates", self.candidates)
        _check_count("infill.json", "verified_candidates", self.verified_candidates)
        _check_count("infill.json", "verified_tokens", self.verified_tokens, minimum=0)
        _check_count("infill.json", "beams", self.beams)
        _check_count("infill.json", "snippet_tokens", self.snippet_tokens, minimum=0)
        _check_count("infill.json", "far_tokens", self.far_tokens, minimum=0)
        _check_count("infill.json", "nearby_tokens", self.nearby_tokens, minimum=0)


_COUNTS = (
    "vocab_size",
    "hidden_size",
    "intermediate_size",
    "num_attention_heads",
    "num_experts",
    "top_k_experts",
    "moe_intermediate_size",
    "sliding_window",
    "canvas_length",
    "max_position_embeddings",
)


def _check_count(where: str, name: str, value: object, minimum: int = 1) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < minimum:
        raise BrokenCheckpoint(f"{where}: {name} is {value!r}, not a whole number of at least {minimum}")


def _check_number(where: str, name: str, value: object) -> None:
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 < value < math.inf:
        raise BrokenCheckpoint(f"{where}: {name} is {value!r}, not a number above 0")
