"""The step of fixed shapes computes what the plain one does; recording it needs a GPU and is not seen."""

from __future__ import annotations

import pytest
import torch

from engine.cache import PrefixCache, encode_prefix, over_cache
from engine.graphs import DenoiseGraphs, attention_by_products, bucket_of, fused_attention
from engine.model import DiffusionGemma
from engine.weights import load_model
from tests.engine.checkpoints import write_reference_checkpoint


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> DiffusionGemma:
    folder = tmp_path_factory.mktemp("model")
    write_reference_checkpoint(folder)
    return load_model(folder)


def _plain(
    model: DiffusionGemma, cache: PrefixCache, canvas: torch.Tensor, soft: torch.Tensor | None
) -> torch.Tensor:
    positions = torch.arange(len(cache), len(cache) + canvas.shape[1])[None]
    with torch.inference_mode():
        return model.logits(model.denoise(canvas, positions, over_cache(cache), soft))


def test_a_step_of_fixed_shape_is_the_plain_step(model: DiffusionGemma) -> None:
    """Prefixes shorter and longer than the window of 8, in one bucket and beyond it, in any order."""
    cache = PrefixCache(model.config, dtype=torch.float32, device=torch.device("cpu"))
    graphs = DenoiseGraphs(model, cache)
    ids = torch.randint(0, 120, (300,), generator=torch.Generator().manual_seed(0)).tolist()
    for length, batch in ((5, 1), (40, 2), (300, 2), (7, 2)):
        with torch.inference_mode():
            encode_prefix(model, cache, ids[:length])
        canvas = torch.randint(0, 120, (batch, 16), generator=torch.Generator().manual_seed(length))
        soft = torch.randn(batch, 16, 64, generator=torch.Generator().manual_seed(1))
        for given in (None, soft):
            found = model.logits(graphs(canvas, given))
            torch.testing.assert_close(found, _plain(model, cache, canvas, given), atol=1e-4, rtol=0)


def test_what_a_bucket_masks_is_no_nan(model: DiffusionGemma) -> None:
    """Whatever the memory held before: torch fills what is left uninitialised with NaN in this mode."""
    torch.use_deterministic_algorithms(True)
    try:
        cache = PrefixCache(model.config, dtype=torch.float32, device=torch.device("cpu"))
        cache.reserve(600)
    finally:
        torch.use_deterministic_algorithms(False)
    for layer in range(len(model.config.layers)):
        for part in cache.first(layer, 600):
            assert part.isfinite().all()


def test_buckets_are_powers_of_two() -> None:
    assert [bucket_of(n) for n in (0, 1, 256, 257, 2048, 6000)] == [256, 256, 256, 512, 2048, 8192]


def test_both_attentions_are_one() -> None:
    generator = torch.Generator().manual_seed(0)
    q, k, v = (torch.randn(2, heads, n, 32, generator=generator) for heads, n in ((8, 5), (2, 9), (2, 9)))
    mask = torch.arange(9) != 3
    torch.testing.assert_close(attention_by_products(q, k, v, mask), fused_attention(q, k, v, mask))
