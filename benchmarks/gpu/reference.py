"""A step by the reference implementation, for comparison in the same run; needs `transformers`."""

from __future__ import annotations

from typing import Any

import torch

from benchmarks.gpu.clock import milliseconds
from benchmarks.gpu.shapes import Size
from engine.config import LayerConfig

_VISION = {
    "hidden_size": 16,
    "intermediate_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 1,
    "num_key_value_heads": 1,
    "head_dim": 16,
    "patch_size": 4,
    "position_embedding_size": 4,
}


def reference_step(size: Size, device: torch.device) -> dict[str, Any]:
    """Time of a forward pass over a canvas with the prefix cached."""
    try:
        from transformers import DiffusionGemmaConfig, DiffusionGemmaForBlockDiffusion
        from transformers.models.gemma4 import Gemma4VisionConfig
    except ImportError as error:
        return {"skipped": f"no transformers with this model here: {error}"}
    config = DiffusionGemmaConfig(
        text_config=_text(size), vision_config=Gemma4VisionConfig(**_VISION), canvas_length=size.canvas
    )
    default = torch.get_default_dtype()
    torch.set_default_dtype(torch.bfloat16)
    try:
        with torch.device(device):
            model = DiffusionGemmaForBlockDiffusion(config).eval()
    finally:
        torch.set_default_dtype(default)
    prompt = torch.randint(0, size.model.vocab_size, (1, size.prefix), device=device)
    canvas = torch.randint(0, size.model.vocab_size, (1, size.canvas), device=device)
    with torch.inference_mode():
        kept = model.model.encoder(input_ids=prompt, use_cache=True).past_key_values
        previous = torch.zeros(1, size.canvas, size.model.vocab_size, dtype=torch.bfloat16, device=device)
        found = milliseconds(
            lambda: model(decoder_input_ids=canvas, past_key_values=kept, self_conditioning_logits=previous),
            device,
            10 if device.type == "cuda" else 2,
        )
    import transformers

    return {"step_ms": found["ms"], "transformers": transformers.__version__}


def _text(size: Size) -> Any:
    from transformers import DiffusionGemmaTextConfig

    config = size.model
    sliding, full = config.layers[0], config.layers[5]
    kinds: list[LayerConfig] = list(config.layers)
    return DiffusionGemmaTextConfig(
        vocab_size=config.vocab_size,
        hidden_size=config.hidden_size,
        intermediate_size=config.intermediate_size,
        num_hidden_layers=len(kinds),
        num_attention_heads=config.num_attention_heads,
        num_key_value_heads=sliding.kv_heads,
        head_dim=sliding.head_dim,
        global_head_dim=full.head_dim,
        num_global_key_value_heads=full.kv_heads,
        sliding_window=config.sliding_window,
        layer_types=["sliding_attention" if kind.sliding else "full_attention" for kind in kinds],
        num_experts=config.num_experts,
        top_k_experts=config.top_k_experts,
        moe_intermediate_size=config.moe_intermediate_size,
        use_bidirectional_attention="vision",
    )
