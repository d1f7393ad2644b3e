"""Our model, sampler and files against the reference implementation, in float32 on random checkpoints."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from engine.caches.prefix import PrefixCache, encode_prefix, over_cache
from engine.checkpoints.weights import load_model
from engine.config import SamplerConfig
from engine.denoising.denoiser import Plan, denoise
from engine.denoising.sampler import draw_like_reference
from engine.networks.model import DiffusionGemma
from engine.request import Stop
from tests.engine.checkpoints import REFERENCE_TEXT, write_reference_checkpoint

CANVAS = 16
VOCAB = REFERENCE_TEXT["vocab_size"]
SHAPES: dict[str, dict[str, Any]] = {
    "several experts": {},
    "one expert": {"num_experts": 1, "top_k_experts": 1},
    "one layer": {"num_hidden_layers": 1, "layer_types": ["full_attention"]},
}


@pytest.fixture(scope="module", params=SHAPES)
def pair(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Any, DiffusionGemma]:
    folder = tmp_path_factory.mktemp("reference")
    reference = write_reference_checkpoint(folder, **SHAPES[request.param])
    return reference, load_model(folder)


@pytest.fixture(autouse=True)
def _no_grad() -> Iterator[None]:
    with torch.no_grad():
        yield


def _prompt(length: int, seed: int = 1) -> list[int]:
    return torch.randint(0, VOCAB, (length,), generator=torch.Generator().manual_seed(seed)).tolist()


def _cache(model: DiffusionGemma) -> PrefixCache:
    return PrefixCache(model.config, dtype=torch.float32, device=torch.device("cpu"))


@pytest.mark.parametrize("length", [1, 5, 8, 9, 40])  # shorter than, equal to and longer than the window of 8
def test_encoder_states(pair: tuple[Any, DiffusionGemma], length: int) -> None:
    reference, model = pair
    prompt = _prompt(length)
    expected = reference.model.encoder(input_ids=torch.tensor([prompt])).last_hidden_state
    states = encode_prefix(model, _cache(model), prompt)
    assert states is not None
    torch.testing.assert_close(states, expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize("length", [1, 7, 8, 9, 40])
@pytest.mark.parametrize("conditioned", [False, True])
def test_denoiser_logits(pair: tuple[Any, DiffusionGemma], length: int, conditioned: bool) -> None:
    reference, model = pair
    prompt, canvas = _prompt(length), torch.tensor([_prompt(CANVAS, 2), _prompt(CANVAS, 3)])
    previous = torch.randn(2, CANVAS, VOCAB, generator=torch.Generator().manual_seed(4)) * 3
    expected = reference(
        input_ids=torch.tensor([prompt, prompt]),
        decoder_input_ids=canvas,
        self_conditioning_logits=previous if conditioned else None,
    ).logits
    cache = _cache(model)
    encode_prefix(model, cache, prompt)
    positions = torch.arange(length, length + CANVAS)[None]
    soft = model.soft_embed(previous) if conditioned else None
    logits = model.logits(model.denoise(canvas, positions, over_cache(cache), soft))
    torch.testing.assert_close(logits, expected, atol=1e-4, rtol=0)


SAMPLERS = {
    "early stop": SamplerConfig(max_denoising_steps=24, entropy_bound=2.0, confidence_threshold=1.5),
    "all steps": SamplerConfig(max_denoising_steps=6, entropy_bound=0.1, confidence_threshold=1e-6),
    "two stable steps": SamplerConfig(
        max_denoising_steps=40, entropy_bound=4.0, stability_threshold=2, confidence_threshold=2.0
    ),
}


@pytest.mark.parametrize("name", SAMPLERS)
@pytest.mark.parametrize("batch", [1, 3])
def test_generate_under_the_same_draws(pair: tuple[Any, DiffusionGemma], name: str, batch: int) -> None:
    from transformers.models.diffusion_gemma.generation_diffusion_gemma import (
        DiffusionGemmaGenerationConfig,
        EntropyBoundSamplerConfig,
    )

    reference, model = pair
    ours, prompt = SAMPLERS[name], _prompt(20)
    for seed in range(3):
        torch.manual_seed(seed)
        expected = reference.generate(
            torch.tensor([prompt] * batch),
            generation_config=DiffusionGemmaGenerationConfig(
                max_new_tokens=CANVAS,
                max_denoising_steps=ours.max_denoising_steps,
                sampler_config=EntropyBoundSamplerConfig(entropy_bound=ours.entropy_bound),
                t_min=ours.t_min,
                t_max=ours.t_max,
                stability_threshold=ours.stability_threshold,
                confidence_threshold=ours.confidence_threshold,
            ),
        )
        cache = _cache(model)
        encode_prefix(model, cache, prompt)
        plan = Plan(length=CANVAS, batch=batch, seed=seed, draw=draw_like_reference)
        *_, last = denoise(model, cache, ours, plan, threading.Event())
        assert last.tokens.tolist() == expected.sequences[:, len(prompt) :].tolist()
        # No pad token is configured: tokens per forward is canvas / steps.
        assert last.steps.tolist() == (CANVAS / expected.tokens_per_forward).round().long().tolist()
        if name == "all steps":
            assert last.stop is Stop.STEPS
            assert last.number == ours.max_denoising_steps


def test_early_stop_stops_early(pair: tuple[Any, DiffusionGemma]) -> None:
    """Guards the test above: at least one of its samplers must end before the budget."""
    _, model = pair
    cache = _cache(model)
    encode_prefix(model, cache, _prompt(20))
    config = SAMPLERS["early stop"]
    ends = [
        list(denoise(model, cache, config, Plan(length=CANVAS, seed=seed), threading.Event()))[-1]
        for seed in range(3)
    ]
    assert any(end.stop is Stop.CONFIDENT and end.number < config.max_denoising_steps for end in ends)


def test_shards_load_like_one_file(tmp_path: Path) -> None:
    reference = write_reference_checkpoint(tmp_path, shards=True)
    assert (tmp_path / "model.safetensors.index.json").exists()
    model = load_model(tmp_path)
    torch.testing.assert_close(model.embed_tokens.weight, reference.model.decoder.embed_tokens.weight)
