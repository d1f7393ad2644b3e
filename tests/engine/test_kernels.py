"""The experts' three backends, and our kernels in Triton's interpreter, against float32."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor

from engine.denoising import sampler
from engine.kernels import choice
from engine.kernels.grouped import INTERPRETED, Tile, grouped_matmul, quantised_matmul
from engine.networks.moe import Groups, run_experts
from engine.networks.network import OFF
from engine.quant.weight import Code, QuantisedWeight, pack_nibbles, quantise

EXPERTS, OUT, WIDTH, TOKENS, TOP = 6, 40, 96, 21, 3


def _generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=_generator(seed))


def _fp4(shape: tuple[int, ...]) -> QuantisedWeight:
    codes = torch.randint(0, 16, shape, generator=_generator(), dtype=torch.uint8)
    scale = (_random(*shape[:-1], shape[-1] // 16, seed=1).abs() + 0.1).to(torch.float8_e4m3fn)
    outer = _random(*shape[:-1], seed=2).abs()
    return QuantisedWeight(Code.FP4, pack_nibbles(codes), scale=scale, outer=outer)


def _int4_with_bias(shape: tuple[int, ...]) -> QuantisedWeight:
    codes = torch.randint(0, 16, shape, generator=_generator(), dtype=torch.uint8)
    groups = (*shape[:-1], shape[-1] // 32)
    scale, bias = _random(*groups, seed=1).half(), _random(*groups, seed=2).half()
    return QuantisedWeight(Code.INT4, pack_nibbles(codes), scale=scale, bias=bias)


def _int8(shape: tuple[int, ...], *, biased: bool) -> QuantisedWeight:
    data = torch.randint(-128, 128, shape, generator=_generator(), dtype=torch.int8)
    groups = (*shape[:-1], shape[-1] // 16)
    bias = _random(*groups, seed=2) if biased else None
    return QuantisedWeight(Code.INT8, data, scale=_random(*groups, seed=1), bias=bias)


def _weight(form: str, shape: tuple[int, ...]) -> Tensor | QuantisedWeight:
    if form == "bf16":
        return _random(*shape).bfloat16()
    if form in ("fp8", "int4"):
        return quantise(_random(*shape), form)
    if form == "nvfp4":
        return _fp4(shape)
    return _int4_with_bias(shape) if form == "int4 bias" else _int8(shape, biased=form == "int8 bias")


FORMS = ("bf16", "fp8", "int4", "nvfp4", "int4 bias", "int8", "int8 bias")


def _values(weight: Tensor | QuantisedWeight) -> Tensor:
    return weight.dequantise() if isinstance(weight, QuantisedWeight) else weight.float()


def _error(found: Tensor, expected: Tensor) -> float:
    return float((found.float() - expected).norm() / expected.norm())


def _chosen() -> Tensor:
    """Uneven on purpose: expert 0 gets every token, expert 4 none."""
    rest = torch.stack([torch.randperm(4, generator=_generator(i))[: TOP - 1] + 1 for i in range(TOKENS)])
    rest[rest == 4] = 5
    return torch.cat((torch.zeros(TOKENS, 1, dtype=torch.long), rest), dim=1)


def test_kernels_are_interpreted_here() -> None:
    assert INTERPRETED


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_a_grouped_product_is_that_of_each_group(form: str, dtype: torch.dtype) -> None:
    weight, x = _weight(form, (EXPERTS, OUT, WIDTH)), _random(TOKENS, WIDTH).to(dtype)
    groups = Groups.of(_chosen(), EXPERTS)
    found = grouped_matmul(x, weight, groups, gather=True, tile=Tile(m=16, n=32, k=32))
    values, expected = _values(weight), torch.empty(len(groups.token), OUT)
    for expert in range(EXPERTS):
        own = slice(int(groups.offsets[expert]), int(groups.offsets[expert + 1]))
        expected[own] = x[groups.token[own]].float() @ values[expert].T
    assert found.dtype == dtype
    assert _error(found, expected) < (4e-3 if dtype == torch.bfloat16 else 1e-5)


@pytest.mark.parametrize("form", FORMS[1:])
def test_the_blocks_chosen_for_a_form_serve_it(form: str) -> None:
    weight, x = _weight(form, (OUT, WIDTH)), _random(2, 5, WIDTH).bfloat16()
    assert isinstance(weight, QuantisedWeight)
    expected = x.float() @ weight.dequantise().T
    found = quantised_matmul(x, weight)
    assert found.shape == expected.shape
    assert _error(found, expected) < 4e-3


def test_groups_lead_there_and_back() -> None:
    chosen = _chosen()
    groups = Groups.of(chosen, EXPERTS)
    sizes = (groups.offsets[1:] - groups.offsets[:-1]).tolist()
    assert sizes == [int((chosen == expert).sum()) for expert in range(EXPERTS)]
    assert (
        groups.token[groups.back]
        .view_as(chosen)
        .equal(torch.arange(TOKENS)[:, None].expand_as(chosen).contiguous())
    )


@pytest.mark.parametrize(("form", "backend"), [("bf16", "grouped_mm"), *((form, "triton") for form in FORMS)])
def test_every_backend_computes_what_the_loop_does(form: str, backend: str) -> None:
    hidden, wide = 64, 32
    gate_up, down = _weight(form, (EXPERTS, 2 * wide, hidden)), _weight(form, (EXPERTS, hidden, wide))
    x, weights = _random(TOKENS, hidden).bfloat16() * 0.05, _random(TOKENS, TOP).softmax(-1)
    expected = run_experts(gate_up, down, x, weights, _chosen(), "loop").float()
    found = run_experts(gate_up, down, x, weights, _chosen(), backend)  # type: ignore[arg-type]
    assert _error(found, expected) < 1e-2


def test_fewer_tokens_than_experts() -> None:
    weight, x = _weight("int4", (EXPERTS, OUT, WIDTH)), _random(1, WIDTH)
    groups = Groups.of(torch.tensor([[4, 2]]), EXPERTS)
    found = grouped_matmul(x, weight, groups, gather=True)
    expected = torch.stack([x[0] @ _values(weight)[e].T for e in (2, 4)])
    assert _error(found, expected) < 1e-5


def _logits(vocab: int) -> Tensor:
    """Rows as they come: random, all alike, sure of one token, with tokens that may not be chosen."""
    logits = _random(5, vocab, seed=vocab) * 5
    logits[1] = 0.25
    logits[2, 7] = 30
    logits[3, 100:] = OFF
    logits[4, [3, vocab - 1]] = 25  # two are likeliest: the first of them is meant
    return logits


@pytest.mark.parametrize("vocab", [100, 4096, 9001])
@pytest.mark.parametrize("temperature", [1.0, 0.4])
def test_choices_are_those_of_plain_operations(
    monkeypatch: pytest.MonkeyPatch, vocab: int, temperature: float
) -> None:
    monkeypatch.setattr(sampler, "_compiled", lambda _rows: None)
    expected = sampler.choose(_logits(vocab), temperature, sampler.largest)
    probabilities = _logits(vocab)
    argmax, confidence, entropy = choice.choose(probabilities, 1 / temperature)
    assert argmax.tolist() == expected.argmax.tolist()
    torch.testing.assert_close(confidence, expected.confidence, atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(entropy, expected.entropy, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(probabilities, expected.probabilities, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("vocab", [100, 9001])
def test_draws_are_by_inversion(vocab: int) -> None:
    probabilities = _logits(vocab)[[0, 1, 3]].softmax(-1)
    ends = probabilities.double().cumsum(-1)
    for target in (0.0, 0.3, 0.7, 1.0):
        drawn = choice.draw(probabilities, torch.full((3,), target))
        for row, at in enumerate(drawn.tolist()):
            assert probabilities[row, at] > 0
            begin = float(ends[row, at - 1]) if at else 0.0
            assert begin - 1e-5 <= target <= float(ends[row, at]) + 1e-5


def test_nothing_of_probability_zero_is_drawn() -> None:
    probabilities = torch.zeros(2, 5000)
    probabilities[0, [10, 4999]] = torch.tensor([1.0, 0.0])
    probabilities[1, [0, 4500]] = 0.5
    assert choice.draw(probabilities, torch.tensor([1.0, 0.0])).tolist() == [10, 0]
    assert choice.draw(probabilities, torch.tensor([0.0, 0.6])).tolist() == [10, 4500]


def test_the_soft_cap_is_the_plain_one() -> None:
    raw = _random(3, 7, 41) * 40
    torch.testing.assert_close(choice.softcapped(raw, 20.0), torch.tanh(raw / 20) * 20, atol=1e-5, rtol=0)
    raw[0, 0, :2] = torch.tensor([1e30, -1e30])
    assert choice.softcapped(raw, 20.0)[0, 0, :2].tolist() == [20, -20]


def test_every_variant_compiles_to_machine_code_of_a_gpu() -> None:
    """Down to the assembler, for a Hopper chip; that it also runs there is not seen here."""
    program = Path(__file__).with_name("compile_kernels.py")
    environment = {**os.environ, "TRITON_INTERPRET": "0", "PYTHONPATH": str(program.parents[2])}
    found = subprocess.run(
        [sys.executable, program, "90"], env=environment, capture_output=True, text=True, check=False
    )
    assert found.returncode == 0, found.stderr
    made = [line.split()[0] for line in found.stdout.splitlines()]
    assert made == ["bf16", "fp8", "fp4", "int4", "int4", "int8", "int8", "softcap", "choose", "draw"]
