"""The three JSON files of a checkpoint, read into `engine.config`'s dataclasses, and written.

`config.json` and `generation_config.json` are the reference implementation's; `infill.json` is ours and
optional. Reads no defaults from any library: what a checkpoint leaves out takes the default of our
dataclass or is an error by name.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from engine.config import LayerConfig, ModelConfig, PromptConfig, SamplerConfig
from engine.errors import BrokenCheckpoint, UnsupportedModel

ARCHITECTURE = "diffusion_gemma"


def read_model_config(folder: Path) -> ModelConfig:
    """Read `config.json`.

    Raises:
        UnsupportedModel: another architecture, or a variant of it that we do not compute.
        BrokenCheckpoint: the file is missing, not JSON, or lacks a value.
    """
    return model_config(read_json(folder / "config.json"), str(folder))


def model_config(raw: Mapping[str, Any], where: str) -> ModelConfig:
    """The model that the JSON of a `config.json` describes; `where` names it in errors.

    Raises:
        UnsupportedModel: another architecture, or a variant of it that we do not compute.
        BrokenCheckpoint: a value is missing or makes no sense.
    """
    kind = raw.get("model_type")
    if kind != ARCHITECTURE:
        raise UnsupportedModel(f"{where}: architecture {kind!r} is not {ARCHITECTURE!r}")
    text = raw.get("text_config")
    if not isinstance(text, dict):
        raise BrokenCheckpoint(f"{where}: config.json has no text_config")
    try:
        return _model_config(raw, text)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        detail = f"no {error}" if isinstance(error, KeyError) else str(error)
        raise BrokenCheckpoint(f"{where}: config.json: {detail}") from error


def read_sampler_config(folder: Path) -> SamplerConfig:
    """Read `generation_config.json`; values that are absent or null take the reference's defaults.

    Raises:
        UnsupportedModel: the file asks for a sampler other than the entropy-bound one.
        BrokenCheckpoint: not JSON, or a value out of range.
    """
    path = folder / "generation_config.json"
    raw = read_json(path) if path.exists() else {}
    sampler = raw.get("sampler_config") or {}
    if not isinstance(sampler, dict):
        raise BrokenCheckpoint(f"{path}: sampler_config is not an object")
    name = sampler.get("_cls_name", "EntropyBoundSamplerConfig")
    if name != "EntropyBoundSamplerConfig":
        raise UnsupportedModel(f"{path}: sampler {name!r} is not known")
    values = {key: raw[key] for key in SamplerConfig.__dataclass_fields__ if raw.get(key) is not None}
    if "entropy_bound" in sampler:
        values["entropy_bound"] = sampler["entropy_bound"]
    try:
        return SamplerConfig(**values)
    except TypeError as error:
        raise BrokenCheckpoint(f"{path}: {error}") from error


def read_prompt_config(folder: Path) -> PromptConfig:
    """Read `infill.json`; without the file the defaults hold.

    Raises:
        BrokenCheckpoint: not JSON, or keys we do not know.
    """
    path = folder / "infill.json"
    if not path.exists():
        return PromptConfig()
    try:
        return PromptConfig(**read_json(path))
    except TypeError as error:
        raise BrokenCheckpoint(f"{path}: {error}") from error


def write_configs(folder: Path, model: ModelConfig, sampler: SamplerConfig, prompt: PromptConfig) -> None:
    """Write the three files so that this module and the reference implementation read the same model."""
    for name, content in (
        ("config.json", _model_json(model)),
        ("generation_config.json", _sampler_json(sampler)),
        ("infill.json", asdict(prompt)),
    ):
        (folder / name).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def read_json(path: Path) -> dict[str, Any]:
    """The JSON object in `path`.

    Raises:
        BrokenCheckpoint: the file is missing or holds no JSON object.
    """
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise BrokenCheckpoint(f"{path} is missing") from error
    except (OSError, ValueError, RecursionError) as error:
        raise BrokenCheckpoint(f"{path} cannot be read as JSON: {error}") from error
    if not isinstance(raw, dict):
        raise BrokenCheckpoint(f"{path} does not hold a JSON object")
    return raw


def _model_config(raw: Mapping[str, Any], text: Mapping[str, Any]) -> ModelConfig:
    activation = text.get("hidden_activation", "gelu_pytorch_tanh")
    if activation != "gelu_pytorch_tanh":
        raise UnsupportedModel(f"config.json: activation {activation!r} is not known")
    if text.get("attention_bias"):
        raise UnsupportedModel("config.json: attention with biases is not known")
    if text.get("use_bidirectional_attention") == "all":
        raise UnsupportedModel("config.json: a bidirectional encoder is not known")
    if not text.get("tie_word_embeddings", True):
        raise UnsupportedModel("config.json: untied embeddings are not known")
    count = text["num_hidden_layers"]
    kinds = text.get("layer_types") or [
        "full_attention" if index % 6 == 5 else "sliding_attention" for index in range(count)
    ]
    if len(kinds) != count:
        raise ValueError(f"{len(kinds)} layer_types for {count} layers")
    if not kinds:
        raise ValueError("num_hidden_layers is 0")
    # The reference forces the last layer to full attention whatever the file says.
    kinds = [*kinds[:-1], "full_attention"]
    return ModelConfig(
        vocab_size=text["vocab_size"],
        hidden_size=text["hidden_size"],
        intermediate_size=text["intermediate_size"],
        num_attention_heads=text["num_attention_heads"],
        num_experts=text["num_experts"],
        top_k_experts=text["top_k_experts"],
        moe_intermediate_size=text["moe_intermediate_size"],
        sliding_window=text["sliding_window"],
        layers=tuple(_layer_config(text, index, kind) for index, kind in enumerate(kinds)),
        canvas_length=raw.get("canvas_length") or 256,
        rms_norm_eps=text.get("rms_norm_eps", 1e-6),
        final_logit_softcapping=text.get("final_logit_softcapping", 30.0),
        max_position_embeddings=text.get("max_position_embeddings", 131_072),
    )


def _layer_config(text: Mapping[str, Any], index: int, kind: str) -> LayerConfig:
    if kind not in ("sliding_attention", "full_attention"):
        raise UnsupportedModel(f"config.json: layer type {kind!r} is not known")
    sliding = kind == "sliding_attention"
    own: Mapping[str, Any] = {}
    if not sliding:
        # Older files name the full layers' shape once, newer ones give it layer by layer.
        own = {
            "head_dim": text.get("global_head_dim"),
            "num_key_value_heads": text.get("num_global_key_value_heads"),
        }
        own = {key: value for key, value in own.items() if value is not None}
    own = {**own, **(text.get("per_layer_config") or {}).get(str(index), {})}
    if not sliding and "head_dim" not in own:
        own = {**own, "head_dim": 512}  # the reference's default for full layers
    rope = (text.get("rope_parameters") or _DEFAULT_ROPE)[kind]
    if rope["rope_type"] not in ("default", "proportional"):
        raise UnsupportedModel(f"config.json: RoPE type {rope['rope_type']!r} is not known")
    return LayerConfig(
        sliding=sliding,
        head_dim=own.get("head_dim", text["head_dim"]),
        kv_heads=own.get("num_key_value_heads", text["num_key_value_heads"]),
        rope_theta=rope["rope_theta"],
        rotated_fraction=float(rope.get("partial_rotary_factor", 1.0)),
        proportional_rope=rope["rope_type"] == "proportional",
    )


_DEFAULT_ROPE: dict[str, dict[str, Any]] = {
    "sliding_attention": {"rope_type": "default", "rope_theta": 10_000.0},
    "full_attention": {
        "rope_type": "proportional",
        "partial_rotary_factor": 0.25,
        "rope_theta": 1_000_000.0,
    },
}


def _model_json(model: ModelConfig) -> dict[str, Any]:
    first = next((layer for layer in model.layers if layer.sliding), model.layers[0])
    ropes = {
        ("sliding_attention" if layer.sliding else "full_attention"): {
            "rope_type": "proportional" if layer.proportional_rope else "default",
            "rope_theta": layer.rope_theta,
            "partial_rotary_factor": layer.rotated_fraction,
        }
        for layer in model.layers
    }
    return {
        "architectures": ["DiffusionGemmaForBlockDiffusion"],
        "model_type": ARCHITECTURE,
        "canvas_length": model.canvas_length,
        "tie_word_embeddings": True,
        "text_config": {
            "model_type": "diffusion_gemma_text",
            "vocab_size": model.vocab_size,
            "hidden_size": model.hidden_size,
            "intermediate_size": model.intermediate_size,
            "num_hidden_layers": len(model.layers),
            "num_attention_heads": model.num_attention_heads,
            "num_key_value_heads": first.kv_heads,
            "head_dim": first.head_dim,
            "hidden_activation": "gelu_pytorch_tanh",
            "layer_types": ["sliding_attention" if x.sliding else "full_attention" for x in model.layers],
            "per_layer_config": {
                str(index): {"head_dim": layer.head_dim, "num_key_value_heads": layer.kv_heads}
                for index, layer in enumerate(model.layers)
                if not layer.sliding
            },
            "sliding_window": model.sliding_window,
            "rope_parameters": {**_DEFAULT_ROPE, **ropes},
            "rms_norm_eps": model.rms_norm_eps,
            "max_position_embeddings": model.max_position_embeddings,
            "final_logit_softcapping": model.final_logit_softcapping,
            "num_experts": model.num_experts,
            "top_k_experts": model.top_k_experts,
            "moe_intermediate_size": model.moe_intermediate_size,
            "use_bidirectional_attention": "vision",
            "tie_word_embeddings": True,
            "pad_token_id": 0,
            "eos_token_id": 1,
            "bos_token_id": 2,
        },
        # The reference cannot be built without a vision tower; this is the smallest it accepts.
        "vision_config": VISION_STUB,
    }


VISION_STUB: dict[str, Any] = {
    "model_type": "gemma4_vision",
    "hidden_size": 4,
    "intermediate_size": 4,
    "num_hidden_layers": 1,
    "num_attention_heads": 1,
    "num_key_value_heads": 1,
    "head_dim": 4,
    "patch_size": 2,
    "position_embedding_size": 2,
}


def _sampler_json(sampler: SamplerConfig) -> dict[str, Any]:
    return {
        "max_new_tokens": 256,
        "max_denoising_steps": sampler.max_denoising_steps,
        "sampler_config": {"entropy_bound": sampler.entropy_bound, "_cls_name": "EntropyBoundSamplerConfig"},
        "t_min": sampler.t_min,
        "t_max": sampler.t_max,
        "stability_threshold": sampler.stability_threshold,
        "confidence_threshold": sampler.confidence_threshold,
        "bos_token_id": 2,
        "eos_token_id": [1],
        "pad_token_id": 0,
    }
