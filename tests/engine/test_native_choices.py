"""A step's choices in C: what is said of rows of logits, and draws among them, as torch does both."""

from __future__ import annotations

import pytest
import torch

from engine.denoising.sampler import choose
from engine.native import library, sampling, why_not
from engine.networks.network import OFF

pytestmark = pytest.mark.skipif(library() is None, reason=f"not built: {why_not()}")


@pytest.mark.parametrize("temperature", [0.4, 0.8, 1.0])
def test_what_is_said_of_logits(temperature: float, monkeypatch: pytest.MonkeyPatch) -> None:
    generator = torch.Generator().manual_seed(5)
    logits = torch.randn(37, 256, generator=generator) * torch.linspace(0.1, 12, 37)[:, None]
    logits[3, 5:] = OFF
    logits[4] = OFF
    logits[4, 17] = -3.0
    logits[5] = 2.0  # all alike: the first of them
    chosen = []
    for library_too in (True, False):
        if not library_too:
            monkeypatch.setattr(sampling, "can_choose", lambda _rows: False)
        chosen.append(choose(logits.clone(), temperature, lambda p: p.argmax(-1)))
    ours, torchs = chosen
    assert ours.argmax.equal(torchs.argmax)
    for name in ("confidence", "entropy", "probabilities"):
        torch.testing.assert_close(getattr(ours, name), getattr(torchs, name), atol=2e-5, rtol=2e-5)
    assert (ours.probabilities[3, 5:] == 0).all()


def test_draws_invert_the_cumulative_distribution() -> None:
    generator = torch.Generator().manual_seed(6)
    p = (torch.randn(2000, 128, generator=generator) * 3).softmax(-1)
    p[:, ::3] = 0.0
    p[7] = 0.0
    p[7, 126] = 1.0
    uniform = torch.rand(2000, generator=generator)
    uniform[:2] = torch.tensor([0.0, 1.0 - 2**-24])
    drawn = sampling.draw(p, uniform)
    own = p.gather(-1, drawn[:, None])[:, 0]
    assert (own > 0).all()
    upto = p.double().cumsum(-1)
    target = uniform.double() * upto[:, -1]
    end = upto.gather(-1, drawn[:, None])[:, 0]
    assert (target < end + 1e-5).all()
    assert (target >= end - own - 1e-5).all()


def test_logits_that_do_not_lie_in_one_piece_are_torchs() -> None:
    assert sampling.can_choose(torch.zeros(4, 64))
    assert not sampling.can_choose(torch.zeros(4, 128)[:, :64])
    assert not sampling.can_choose(torch.zeros(4, 60))
    assert not sampling.can_choose(torch.zeros(4, 64, dtype=torch.float64))
