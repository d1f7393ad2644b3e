"""The packed network computes what the plain one does, for every shape it is asked for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from engine.caches.prefix import PrefixCache, encode_prefix, over_cache
from engine.checkpoints.weights import load_model
from engine.networks.folded import can_fold
from engine.networks.model import DiffusionGemma
from engine.networks.network import Network
from engine.networks.packed import PackedGemma
from tests.engine.checkpoints import write_own_checkpoint, write_reference_checkpoint

DENSE: dict[str, Any] = {"num_experts": 1, "top_k_experts": 1}
LENGTH, CANVAS = 40, 16


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> DiffusionGemma:
    """Random in every weight, with sliding and full layers, several KV heads, and a window of 8."""
    folder = tmp_path_factory.mktemp("dense")
    write_reference_checkpoint(folder, **DENSE)
    return load_model(folder).requires_grad_(False)


def outputs(network: Network, batch: int, *, conditioned: bool) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits of the encoder over a prompt, and of the denoiser over a canvas behind it."""
    generator = torch.Generator().manual_seed(1)
    vocab = network.config.vocab_size
    prompt = torch.randint(0, vocab, (LENGTH,), generator=generator).tolist()
    canvas = torch.randint(0, vocab, (batch, CANVAS), generator=generator)
    p = torch.rand(batch * CANVAS, vocab, generator=generator).softmax(-1)
    cache = PrefixCache(network.config, dtype=network.dtype, device=network.device)
    with torch.inference_mode():
        states = encode_prefix(network, cache, prompt)
        assert states is not None
        soft = network.mean_embed(p).view(batch, CANVAS, -1) if conditioned else None
        positions = torch.arange(LENGTH, LENGTH + CANVAS)[None]
        denoised = network.denoise(canvas, positions, over_cache(cache), soft)
        return network.logits(states), network.logits(denoised)


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("conditioned", [False, True])
def test_in_float32_it_is_the_same_function(model: DiffusionGemma, batch: int, conditioned: bool) -> None:
    packed = PackedGemma(model, torch.float32)
    for ours, plain in zip(
        outputs(packed, batch, conditioned=conditioned),
        outputs(model, batch, conditioned=conditioned),
        strict=True,
    ):
        torch.testing.assert_close(ours, plain, atol=1e-4, rtol=0)


def test_in_bfloat16_it_is_as_close_as_the_plain_model_in_bfloat16(tmp_path: Path) -> None:
    model = write_own_checkpoint(tmp_path)
    exact = outputs(model, 2, conditioned=True)
    packed = outputs(PackedGemma(model, torch.bfloat16), 2, conditioned=True)
    plain = outputs(model.bfloat16(), 2, conditioned=True)
    for want, ours, theirs in zip(exact, packed, plain, strict=True):
        assert (ours - want).abs().mean() <= (theirs - want).abs().mean()


def test_without_the_matrix_library_it_is_the_same(
    model: DiffusionGemma, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_library = outputs(PackedGemma(model, torch.float32), 2, conditioned=True)
    monkeypatch.setattr("torch.backends.mkldnn.is_available", lambda: False)
    without = outputs(PackedGemma(model, torch.float32), 2, conditioned=True)
    for a, b in zip(with_library, without, strict=True):
        torch.testing.assert_close(a, b, atol=1e-4, rtol=0)


def test_positions_are_followed_when_they_change(model: DiffusionGemma) -> None:
    """The rotations of the last call are kept: they must not be those of other positions."""
    packed = PackedGemma(model, torch.float32)
    before = outputs(packed, 1, conditioned=False)
    canvas = torch.zeros(1, 4, dtype=torch.long)
    cache = PrefixCache(model.config, dtype=torch.float32, device=torch.device("cpu"))
    with torch.inference_mode():
        encode_prefix(packed, cache, [5] * 2100)  # past the first table of positions
        packed.denoise(canvas, torch.arange(30, 34)[None], over_cache(cache), None)
    for a, b in zip(before, outputs(packed, 1, conditioned=False), strict=True):
        assert a.equal(b)


def test_a_model_with_experts_to_choose_among_is_not_packed(tmp_path: Path) -> None:
    write_reference_checkpoint(tmp_path)
    assert not can_fold(load_model(tmp_path))
