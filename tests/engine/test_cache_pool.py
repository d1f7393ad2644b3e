"""Which cache a prompt gets, what is thrown away for it, and that it never shows in the result."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
import torch

from engine.caches.pool import CachePool
from engine.caches.prefix import PrefixCache, encode_prefix
from engine.inprocess import load_engine
from engine.networks.model import DiffusionGemma
from engine.request import DenoiseRequest, Prompt
from tests.engine.checkpoints import write_own_checkpoint

ONE, OTHER = list(range(20, 220)), list(range(320, 520))
LARGE = 2**30


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> DiffusionGemma:
    return write_own_checkpoint(tmp_path_factory.mktemp("model"))


def make_pool(model: DiffusionGemma, max_bytes: int = LARGE) -> CachePool:
    return CachePool(model, max_bytes)


def encoded(pool: CachePool, model: DiffusionGemma, tokens: list[int]) -> PrefixCache:
    cache = pool.best(tokens)
    with torch.inference_mode():
        encode_prefix(model, cache, tokens)
    return cache


def test_each_document_keeps_its_cache(model: DiffusionGemma) -> None:
    pool = make_pool(model)
    one, other = encoded(pool, model, ONE), encoded(pool, model, OTHER)
    assert pool.best([*ONE, 7]) is one
    assert pool.best([*OTHER[:-3], 8]) is other
    assert len(pool) == 2
    assert one.tokens == ONE


def test_typing_rolls_back_and_jumping_away_does_not(model: DiffusionGemma) -> None:
    """Elsewhere in a document the prompt begins alike: what was cached for the first place must stay."""
    pool = make_pool(model)
    here = encoded(pool, model, ONE)
    assert pool.best([*ONE[:180], 9]) is here
    there = pool.best([*ONE[:30], *OTHER])
    assert there is not here
    assert there.tokens == ONE[:30]
    assert here.tokens == ONE


def test_the_least_recently_used_goes_first(model: DiffusionGemma) -> None:
    one_cache = encoded(make_pool(model), model, ONE).bytes
    pool = make_pool(model, max_bytes=2 * one_cache)
    one, other = encoded(pool, model, ONE), encoded(pool, model, OTHER)
    encoded(pool, model, ONE)  # used again
    encoded(pool, model, list(range(1000, 1200)))
    assert pool.bytes <= pool.max_bytes
    assert pool.best(ONE) is one
    assert pool.best(OTHER) is not other


def test_a_cache_that_outgrows_the_bound_drives_out_the_others(model: DiffusionGemma) -> None:
    one_cache = encoded(make_pool(model), model, ONE).bytes
    pool = make_pool(model, max_bytes=2 * one_cache)
    encoded(pool, model, ONE)
    long = encoded(pool, model, OTHER * 4)
    assert len(pool) == 1
    assert len(long) == len(OTHER) * 4


def test_the_number_of_caches_is_bounded_however_small_they_are(model: DiffusionGemma) -> None:
    pool = make_pool(model)
    for first in range(40):
        encoded(pool, model, [100 + first] * 70)
    assert len(pool) == 32


def test_kept_tokens_are_counted(model: DiffusionGemma) -> None:
    pool = make_pool(model)
    encoded(pool, model, ONE)
    encoded(pool, model, [*ONE[:190], 3, 4])
    assert (pool.asked_tokens, pool.kept_tokens) == (len(ONE) + 192, 190)


def test_a_pooled_cache_holds_what_a_fresh_one_holds(model: DiffusionGemma) -> None:
    """Three documents in turns, each typed into, deleted from and jumped about in."""
    pool = make_pool(model, max_bytes=4 * encoded(make_pool(model), model, ONE).bytes)
    generator = torch.Generator().manual_seed(0)
    texts = [[10 + n, *ONE] for n in range(3)]
    for turn in range(12):
        text = texts[turn % 3]
        keep = int(torch.randint(1, len(text) + 1, (), generator=generator))
        text[keep:] = torch.randint(16, 4096, (90,), generator=generator).tolist()
        kept = encoded(pool, model, text)
        fresh = encoded(make_pool(model), model, text)
        assert kept.tokens == fresh.tokens == text
        for layer in range(len(model.config.layers)):
            for a, b in zip(kept.read(layer), fresh.read(layer), strict=True):
                torch.testing.assert_close(a, b, atol=1e-5, rtol=0)


def test_answers_do_not_depend_on_what_is_cached(tmp_path: Path) -> None:
    """The packed engine in whatever precision this machine prefers, between two files and back."""
    write_own_checkpoint(tmp_path)
    engine = load_engine(str(tmp_path))
    asked = [
        DenoiseRequest(prompt=Prompt(prefix=prefix), canvas_tokens=32, candidates=2, max_steps=2)
        for prefix in ("def f(x):\n    ", "class A:\n    ", "def f(x):\n    re", "def f(x):\n    ")
    ]
    texts = [
        [canvas.text for step in engine.denoise(request, threading.Event()) for canvas in step.canvases]
        for request in asked
    ]
    fresh = load_engine(str(tmp_path))
    for request, text in zip(asked, texts, strict=True):
        fresh.prefill.pool.clear()
        answer = [c.text for step in fresh.denoise(request, threading.Event()) for c in step.canvases]
        assert answer == text
