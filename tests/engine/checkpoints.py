"""Small random checkpoints for tests, written by the reference implementation or by us."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import torch

from engine.checkpoints.config_json import write_configs
from engine.checkpoints.hub import EMBEDDED
from engine.checkpoints.weights import save_model
from engine.config import PromptConfig, SamplerConfig
from engine.networks.model import DiffusionGemma
from engine.training.recipe import SIZES, initialise, model_config

REFERENCE_TEXT: dict[str, Any] = {
    "vocab_size": 120,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "global_head_dim": 32,
    "num_global_key_value_heads": 1,
    "sliding_window": 8,
    "layer_types": ["sliding_attention", "sliding_attention", "full_attention"],
    "num_experts": 4,
    "top_k_experts": 2,
    "moe_intermediate_size": 32,
    "use_bidirectional_attention": "vision",
}
VISION: dict[str, Any] = {
    "hidden_size": 16,
    "intermediate_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 1,
    "num_key_value_heads": 1,
    "head_dim": 16,
    "patch_size": 4,
    "position_embedding_size": 4,
}


def write_reference_checkpoint(folder: Path, *, seed: int = 0, shards: bool = False, **text: Any) -> Any:
    """A random model of `transformers`' own class, saved in its own format; returns the model.

    Everything a fresh model leaves at one or zero (norms, scales, layer scalars) is randomised too, so
    that forgetting any of it shows.
    """
    from transformers import DiffusionGemmaConfig, DiffusionGemmaForBlockDiffusion, DiffusionGemmaTextConfig
    from transformers.models.gemma4 import Gemma4VisionConfig

    torch.manual_seed(seed)
    config = DiffusionGemmaConfig(
        text_config=DiffusionGemmaTextConfig(**{**REFERENCE_TEXT, **text}),
        vision_config=Gemma4VisionConfig(**VISION),
        canvas_length=text.get("canvas_length", 16),
    )
    model = DiffusionGemmaForBlockDiffusion(config).eval()
    with torch.no_grad():
        for name, tensor in [*model.named_parameters(), *model.named_buffers()]:
            if "vision" in name or "inv_freq" in name or "embed_scale" in name:
                continue
            if "norm" in name or name.endswith(("scale", "layer_scalar")):
                tensor.uniform_(0.5, 1.5)
            elif "layers" in name or "self_conditioning" in name:
                tensor.normal_(0, 0.06)
            elif "embed_tokens" in name:
                tensor.normal_(0, 0.3)
    model.save_pretrained(folder, max_shard_size="40KB" if shards else "1GB")
    return model


def write_own_checkpoint(folder: Path, *, seed: int = 0, size: str = "tiny") -> DiffusionGemma:
    """A small random model in our own files, with the embedded model's tokenizer; returns the model.

    The sampler has few steps, and stops early only where a canvas repeats itself.
    """
    torch.manual_seed(seed)
    tokenizer = EMBEDDED / "tokenizer.json"
    model = initialise(DiffusionGemma(model_config(vocab=4096, **SIZES[size]))).eval().requires_grad_(False)
    folder.mkdir(parents=True, exist_ok=True)
    sampler = SamplerConfig(max_denoising_steps=6, entropy_bound=4.0, confidence_threshold=0.01)
    write_configs(folder, model.config, sampler, PromptConfig(prefix_tokens=224, suffix_tokens=80))
    save_model(model, folder)
    shutil.copyfile(tokenizer, folder / "tokenizer.json")
    return model


def cut_tokenizer(folder: Path, ids: int) -> None:
    """Leave only the first `ids` tokens of the tokenizer in `folder`, and what they are merged from."""
    path = folder / "tokenizer.json"
    tokenizer = json.loads(path.read_text(encoding="utf-8"))
    model = tokenizer["model"]
    vocab = model["vocab"] = {token: index for token, index in model["vocab"].items() if index < ids}
    model["merges"] = [pair for pair in model["merges"] if "".join(pair) in vocab]
    path.write_text(json.dumps(tokenizer), encoding="utf-8")
