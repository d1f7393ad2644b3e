"""One step's arithmetic, each rule on numbers small enough to check by hand."""

from __future__ import annotations

import math

import pytest
import torch

from engine import sampler
from engine.config import SamplerConfig


def test_temperature_falls_linearly_from_t_max_towards_t_min() -> None:
    config = SamplerConfig(t_min=0.4, t_max=0.8)
    assert sampler.temperature(config, 48, 48) == pytest.approx(0.8)
    assert sampler.temperature(config, 24, 48) == pytest.approx(0.6)
    assert sampler.temperature(config, 1, 48) == pytest.approx(0.4 + 0.4 / 48)


def test_entropy_of_known_distributions() -> None:
    logits = torch.tensor([[[0.0, 0.0, 0.0, 0.0], [50.0, 0.0, 0.0, 0.0]]])
    assert sampler.entropy(logits)[0].tolist() == pytest.approx([math.log(4), 0.0], abs=1e-6)


@pytest.mark.parametrize(
    ("entropies", "bound", "accepted"),
    [
        ([0.3, 0.1, 0.2], 0.05, [False, True, False]),  # the surest is always taken
        ([0.3, 0.1, 0.2], 0.15, [False, True, True]),  # 0.2 comes while 0.1 <= 0.15
        ([0.3, 0.1, 0.2], 0.3, [True, True, True]),
        ([5.0, 4.0, 6.0], 0.1, [False, True, False]),
        ([0.0, 0.0, 9.0], 0.1, [True, True, True]),  # sums to nothing before the last
    ],
)
def test_acceptance(entropies: list[float], bound: float, accepted: list[bool]) -> None:
    assert sampler.accept(torch.tensor([entropies]), bound)[0].tolist() == accepted


def test_pins_are_certain_and_put_back() -> None:
    pins = torch.tensor([sampler.FREE, 3, sampler.FREE])
    logits = sampler.pin_logits(torch.zeros(2, 3, 5), pins)
    assert sampler.entropy(logits)[0].tolist() == pytest.approx([math.log(5), 0.0, math.log(5)], abs=1e-6)
    assert logits.argmax(-1)[:, 1].tolist() == [3, 3]
    # Still one-hot after the division by a small temperature.
    assert torch.isfinite(logits / 0.01).all()
    assert sampler.pin_tokens(torch.zeros(2, 3, dtype=torch.long), pins).tolist() == [[0, 3, 0]] * 2


def test_confidence_counts_free_positions_only() -> None:
    entropies = torch.tensor([[0.8, 0.0, 0.0, 0.0]])
    everywhere = torch.ones(1, 4, dtype=torch.bool)
    first = torch.tensor([[True, False, False, False]])
    assert sampler.confident(entropies, everywhere, 0.5).tolist() == [True]  # the mean over all is 0.2
    assert sampler.confident(entropies, first, 0.5).tolist() == [False]
    assert sampler.confident(entropies, ~everywhere, 0.5).tolist() == [True]  # nothing left to choose


def test_allow_only_ids_leaves_their_logits_alone() -> None:
    logits = torch.tensor([1.0, 2.0, 3.0])
    out = sampler.allow_only_ids(logits, [0, 1])
    assert out[:2].tolist() == [1.0, 2.0]
    assert out.argmax() == 1
    assert logits.tolist() == [1.0, 2.0, 3.0]
