"""One step's arithmetic, each rule on numbers small enough to check by hand."""

from __future__ import annotations

import math

import pytest
import torch

from engine.config import SamplerConfig
from engine.denoising import sampler
from engine.networks.network import OFF


def test_temperature_falls_linearly_from_t_max_towards_t_min() -> None:
    config = SamplerConfig(t_min=0.4, t_max=0.8)
    assert sampler.temperature(config, 48, 48) == pytest.approx(0.8)
    assert sampler.temperature(config, 24, 48) == pytest.approx(0.6)
    assert sampler.temperature(config, 1, 48) == pytest.approx(0.4 + 0.4 / 48)


def choice(logits: list[list[float]], temperature: float = 1.0) -> sampler.Choice:
    rows = torch.tensor(logits)
    at = torch.arange(len(rows))
    generator = torch.Generator().manual_seed(0)
    return sampler.choose(rows, temperature, lambda p: sampler.draw_by_inversion(p, at, len(rows), generator))


def test_what_is_chosen_from_known_distributions() -> None:
    of = choice([[0.0, 0.0, 0.0, 0.0], [50.0, 0.0, 0.0, 0.0], [0.0, math.log(3), OFF, OFF]])
    assert of.entropy.tolist() == pytest.approx([math.log(4), 0.0, 0.5623], abs=1e-4)
    assert of.confidence.tolist() == pytest.approx([0.25, 1.0, 0.75])
    assert of.argmax.tolist() == [0, 0, 1]
    assert of.probabilities[2].tolist() == pytest.approx([0.25, 0.75, 0.0, 0.0])


def test_temperature_sharpens_all_but_the_confidence() -> None:
    of = choice([[0.0, math.log(3), 0.0, 0.0]], temperature=0.5)
    assert of.confidence.tolist() == pytest.approx([0.5])
    assert of.probabilities[0].tolist() == pytest.approx([1 / 12, 9 / 12, 1 / 12, 1 / 12])
    nats = -(0.75 * math.log(0.75) + 0.25 * math.log(1 / 12))
    assert of.entropy.tolist() == pytest.approx([nats], abs=1e-5)


@pytest.mark.parametrize("vocab", [1, 7, 12, 4096])  # a prime has blocks of one
def test_the_largest_is_torchs_argmax(vocab: int) -> None:
    logits = torch.randint(0, 9, (50, vocab), generator=torch.Generator().manual_seed(1)).float()
    assert sampler.largest(logits).equal(logits.argmax(-1))  # ties too


@pytest.mark.parametrize("draw", [sampler.draw_by_inversion, sampler.draw_like_reference])
def test_draws_have_the_distribution_they_are_asked_for(draw: sampler.Draw) -> None:
    p = torch.tensor([0.0, 0.5, 0.0, 0.3, 0.2, 0.0])
    n = 20_000
    drawn = draw(p.expand(n, -1).contiguous(), torch.arange(n), n, torch.Generator().manual_seed(2))
    counts = torch.bincount(drawn, minlength=6) / n
    assert counts[p == 0].sum() == 0
    torch.testing.assert_close(counts, p, atol=0.02, rtol=0)


@pytest.mark.parametrize("draw", [sampler.draw_by_inversion, sampler.draw_like_reference])
def test_a_rows_draw_does_not_depend_on_which_others_are_drawn(draw: sampler.Draw) -> None:
    p = torch.rand(8, 12, generator=torch.Generator().manual_seed(3))
    every = draw(p, torch.arange(8), 8, torch.Generator().manual_seed(4))
    at = torch.tensor([1, 6])
    assert draw(p[at], at, 8, torch.Generator().manual_seed(4)).equal(every[at])


def test_the_highest_uniform_number_still_finds_a_token(monkeypatch: pytest.MonkeyPatch) -> None:
    p = torch.rand(300, 30, generator=torch.Generator().manual_seed(5))
    monkeypatch.setattr(torch, "rand", lambda n, **_: torch.full((n,), 1 - 2**-24))
    p[:, 17:] = 0
    drawn = sampler.draw_by_inversion(p, torch.arange(300), 300, torch.Generator())
    assert (p.gather(-1, drawn[:, None]) > 0).all()


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


def test_pinned_tokens_are_put_back() -> None:
    pins = torch.tensor([sampler.FREE, 3, sampler.FREE])
    assert sampler.pin_tokens(torch.zeros(2, 3, dtype=torch.long), pins).tolist() == [[0, 3, 0]] * 2


def test_confidence_counts_free_positions_only() -> None:
    entropies = torch.tensor([[0.8, 0.0, 0.0, 0.0]])
    everywhere = torch.ones(1, 4, dtype=torch.bool)
    first = torch.tensor([[True, False, False, False]])
    assert sampler.confident(entropies, everywhere, 0.5).tolist() == [True]  # the mean over all is 0.2
    assert sampler.confident(entropies, first, 0.5).tolist() == [False]
    assert sampler.confident(entropies, ~everywhere, 0.5).tolist() == [True]  # nothing left to choose


def test_the_reference_draws_are_those_of_exponential_noise() -> None:
    """To the bit, and the generator goes on from the same place."""
    ours, theirs = (torch.Generator().manual_seed(5) for _ in range(2))
    want = torch.empty(100, 512).exponential_(1, generator=theirs)
    assert sampler._exponential(100, 512, ours).equal(want)
    assert torch.rand(1, generator=ours).equal(torch.rand(1, generator=theirs))
