"""Prefixes kept in fp8: half the memory, nearly the same distributions, whatever is cached and however."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest
import torch

from benchmarks import fp8_prefixes
from engine.caches.prefix import PrefixCache, encode_prefix, over_cache
from engine.causal.scores import token_scores
from engine.checkpoints.hub import EMBEDDED
from engine.checkpoints.open_tokenizer import open_tokenizer
from engine.checkpoints.weights import load_model
from engine.config import SamplerConfig
from engine.denoising.denoiser import Plan, denoise
from engine.inprocess import InProcessEngine
from engine.networks.graphs import GraphedGemma
from engine.networks.hardware import fastest
from engine.networks.model import DiffusionGemma

FP8 = torch.float8_e4m3fn
TEXT = (Path(__file__).parents[2] / "engine" / "caches" / "prefix.py").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def model() -> DiffusionGemma:
    """The embedded model: what trained keys and values lose is what counts."""
    return load_model(EMBEDDED, dtype=torch.float32)


@pytest.fixture(scope="module")
def tokens() -> list[int]:
    return open_tokenizer(EMBEDDED).encode(TEXT)[:300]


def test_the_benchmark_of_it_ends_with_one_json_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "prefix.py").write_text(TEXT, encoding="utf-8")
    monkeypatch.setattr("sys.argv", ["fp8_prefixes.py", str(tmp_path)])
    fp8_prefixes.main()
    report = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert report["canvases"] == 1
    assert report["bfloat16"]["divergence"] < report["fp8"]["divergence"] < 0.1
    (tmp_path / "prefix.py").write_text("pass\n", encoding="utf-8")
    with pytest.raises(SystemExit):
        fp8_prefixes.main()


def _cache(model: DiffusionGemma, tokens: list[int], kept: torch.dtype | None) -> PrefixCache:
    cache = PrefixCache(model.config, dtype=model.dtype, device=model.device, kept=kept)
    with torch.inference_mode():
        encode_prefix(model, cache, tokens)
    return cache


def _log_p(model: DiffusionGemma, cache: PrefixCache, canvas: torch.Tensor) -> torch.Tensor:
    positions = torch.arange(len(cache), len(cache) + canvas.shape[1])[None]
    with torch.inference_mode():
        return model.logits(model.denoise(canvas, positions, over_cache(cache), None)).log_softmax(-1)


@pytest.mark.parametrize("batch", [1, 2])
def test_the_denoiser_sees_nearly_the_same(model: DiffusionGemma, tokens: list[int], batch: int) -> None:
    canvas = torch.tensor([tokens[200:232]] * batch)
    plain = _log_p(model, _cache(model, tokens[:200], None), canvas)
    found = _log_p(model, _cache(model, tokens[:200], FP8), canvas)
    assert not torch.equal(found, plain)
    divergence = (plain.exp() * (plain - found)).sum(-1)
    assert 0 < float(divergence.mean()) < 0.01  # nats a token
    assert float((plain.argmax(-1) == found.argmax(-1)).float().mean()) > 0.9


def test_reading_on_is_nearly_the_same(model: DiffusionGemma, tokens: list[int]) -> None:
    with torch.inference_mode():
        caches = [_cache(model, tokens[:200], kept) for kept in (None, FP8)]
        plain, found = (token_scores(model, cache, [tokens[200:260]], 0)[0] for cache in caches)
    assert found != plain
    assert sum(found) / len(found) == pytest.approx(sum(plain) / len(plain), abs=0.02)


def test_it_takes_half_of_bfloat16(model: DiffusionGemma) -> None:
    sizes = {}
    for kept in (torch.bfloat16, FP8):
        cache = PrefixCache(model.config, dtype=torch.bfloat16, device=model.device, kept=kept)
        cache.reserve(1000)
        sizes[kept] = cache.bytes
    assert sizes[FP8] * 2 == sizes[torch.bfloat16]


def test_what_was_typed_again_is_what_was_typed_at_once(model: DiffusionGemma, tokens: list[int]) -> None:
    """Rolled back, gone on in small pieces, and copied: a prefix is what its tokens say."""
    whole, pieces = _cache(model, tokens[:120], FP8), _cache(model, [*tokens[:40], 5, 6, 7], FP8)
    with torch.inference_mode():
        for end in (41, 60, 61, 120):
            encode_prefix(model, pieces, tokens[:end])
    copied = PrefixCache(model.config, dtype=model.dtype, device=model.device, kept=FP8)
    copied.copy(pieces, 120)
    canvas = torch.tensor([tokens[120:152]])
    expected = _log_p(model, whole, canvas)
    for cache in (pieces, copied):
        torch.testing.assert_close(_log_p(model, cache, canvas), expected, atol=0.05, rtol=0)


def test_what_is_too_large_for_it_is_cut_off_and_no_nan(model: DiffusionGemma) -> None:
    cache = PrefixCache(model.config, dtype=model.dtype, device=model.device, kept=FP8)
    layer = model.config.layers[0]
    keys = torch.full((1, layer.kv_heads, 3, layer.head_dim), 1e4)
    found, _ = cache.write(0, 0, keys, -keys)
    assert found[:, :, :3].eq(448).all()


def test_recorded_steps_read_it(model: DiffusionGemma, tokens: list[int]) -> None:
    config = SamplerConfig(max_denoising_steps=4, stability_threshold=None, confidence_threshold=None)
    plan, cache = Plan(length=32, batch=2), _cache(model, tokens[:200], FP8)
    for found, plain in zip(
        denoise(GraphedGemma(model, FP8), cache, config, plan, threading.Event()),
        denoise(model, cache, config, plan, threading.Event()),
        strict=True,
    ):
        torch.testing.assert_close(found.confidence, plain.confidence, atol=1e-3, rtol=0)


def test_an_engine_keeps_what_its_network_says(model: DiffusionGemma) -> None:
    from engine.checkpoints.config_json import read_sampler_config
    from engine.checkpoints.open_tokenizer import prompts_of

    tokenizer, network = open_tokenizer(EMBEDDED), GraphedGemma(model, FP8)
    prompts = prompts_of(EMBEDDED, tokenizer)
    engine = InProcessEngine("here", EMBEDDED, network, tokenizer, read_sampler_config(EMBEDDED), prompts)
    cache = engine.prefill.pool.best([1, 2, 3])
    assert {part.dtype for part in (*cache._keys, *cache._values)} == {FP8}
    assert cache.read(0)[0].dtype == torch.float32
    assert fastest(model).kept_dtype != FP8
