"""The step of fixed shapes computes what the plain one does; recording it needs a GPU and is not seen."""

from __future__ import annotations

import threading

import pytest
import torch

from engine.caches.prefix import PrefixCache, encode_prefix, over_cache
from engine.checkpoints.weights import load_model
from engine.config import SamplerConfig
from engine.denoising.denoiser import Plan, denoise
from engine.denoising.reading import read
from engine.networks.graphs import GraphedGemma, attention_by_products, bucket_of, fused_attention
from engine.networks.model import DiffusionGemma
from engine.networks.network import Network
from tests.engine.checkpoints import write_reference_checkpoint

IDS = torch.randint(0, 120, (300,), generator=torch.Generator().manual_seed(0)).tolist()


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> DiffusionGemma:
    folder = tmp_path_factory.mktemp("model")
    write_reference_checkpoint(folder)
    return load_model(folder)


def _cache(model: DiffusionGemma, length: int) -> PrefixCache:
    cache = PrefixCache(model.config, dtype=torch.float32, device=torch.device("cpu"))
    with torch.inference_mode():
        encode_prefix(model, cache, IDS[:length])
    return cache


def _logits(
    network: Network, cache: PrefixCache, canvas: torch.Tensor, soft: torch.Tensor | None
) -> torch.Tensor:
    positions = torch.arange(len(cache), len(cache) + canvas.shape[1])[None]
    with torch.inference_mode():
        return network.logits(network.denoise(canvas, positions, over_cache(cache), soft))


def test_a_step_of_fixed_shape_is_the_plain_step(model: DiffusionGemma) -> None:
    """Prefixes shorter and longer than the window of 8, in one bucket and beyond it, in any order."""
    network = GraphedGemma(model)
    for length, batch in ((5, 1), (40, 2), (300, 2), (300, 1), (7, 2), (7, 1)):
        cache = _cache(model, length)
        canvas = torch.randint(0, 120, (batch, 16), generator=torch.Generator().manual_seed(length))
        soft = torch.randn(batch, 16, 64, generator=torch.Generator().manual_seed(1))
        for given in (None, soft):
            found, plain = _logits(network, cache, canvas, given), _logits(model, cache, canvas, given)
            torch.testing.assert_close(found, plain, atol=1e-4, rtol=0)


def test_canvases_are_denoised_alike(model: DiffusionGemma) -> None:
    """Two documents whose steps alternate, as those of two lanes do: each sees its own prefix."""
    config = SamplerConfig(max_denoising_steps=6, stability_threshold=None, confidence_threshold=None)

    def runs(network: Network) -> list[list[torch.Tensor]]:
        caches = [_cache(model, 30), _cache(model, 12)]
        plan = Plan(length=32, batch=2, seed=3)
        loops = [denoise(network, cache, config, plan, threading.Event()) for cache in caches]
        return [[draft.confidence for draft in drafts] for drafts in zip(*loops, strict=True)]

    for found, plain in zip(runs(GraphedGemma(model)), runs(model), strict=True):
        torch.testing.assert_close(found, plain, atol=1e-4, rtol=0)


def test_a_part_of_a_canvas_is_read_alike(model: DiffusionGemma) -> None:
    """A text that does not fill its canvas is not recorded: what is seen of it has any length."""
    own, _, _ = read(GraphedGemma(model), _cache(model, 30), IDS[30:50], views=2, seed=0)
    plain, _, _ = read(model, _cache(model, 30), IDS[30:50], views=2, seed=0)
    assert own == pytest.approx(plain, abs=1e-5)


def test_what_a_bucket_masks_is_no_nan(model: DiffusionGemma) -> None:
    """Whatever the memory held before: torch fills what is left uninitialised with NaN in this mode."""
    torch.use_deterministic_algorithms(True)
    try:
        network, cache = GraphedGemma(model), _cache(model, 5)
        found = _logits(network, cache, torch.zeros(1, 16, dtype=torch.int64), None)
    finally:
        torch.use_deterministic_algorithms(False)
    assert found.isfinite().all()


def test_buckets_are_powers_of_two() -> None:
    assert [bucket_of(n) for n in (0, 1, 256, 257, 2048, 6000)] == [256, 256, 256, 512, 2048, 8192]


def test_both_attentions_are_one() -> None:
    generator = torch.Generator().manual_seed(0)
    q, k, v = (torch.randn(2, heads, n, 32, generator=generator) for heads, n in ((8, 5), (2, 9), (2, 9)))
    mask = torch.arange(9) != 3
    torch.testing.assert_close(attention_by_products(q, k, v, mask), fused_attention(q, k, v, mask))
