"""A step's choices in C: what `engine.denoising.sampler` says of rows of logits, each read once while it is
near."""

from __future__ import annotations

from ctypes import byref

import torch
from torch import Tensor

from engine.native.compiled import LANES, Choices, Draws, library


def can_choose(rows: Tensor) -> bool:
    """Whether there is a library, and rows (rows, vocab) lie in memory as it wants them."""
    return (
        rows.device.type == "cpu"
        and rows.dtype == torch.float32
        and rows.is_contiguous()
        and not rows.requires_grad
        and rows.shape[-1] % LANES == 0
        and library() is not None
    )


def choose(logits: Tensor, inverse_temperature: float) -> tuple[Tensor, Tensor, Tensor]:
    """Makes probabilities at the temperature of `logits` (rows, vocab); each row's argmax, its probability at
    temperature 1, and the entropy in nats at the temperature: (rows,) each."""
    code = library()
    assert code is not None
    rows, vocab = logits.shape
    argmax = torch.empty(rows, dtype=torch.int64)
    confidence, entropy = torch.empty(rows), torch.empty(rows)
    choices = Choices(
        logits=logits.data_ptr(),
        argmax=argmax.data_ptr(),
        confidence=confidence.data_ptr(),
        entropy=entropy.data_ptr(),
        inverse_temperature=inverse_temperature,
        rows=rows,
        vocab=vocab,
    )
    code.choose(byref(choices), code.best, code.threads)
    return argmax, confidence, entropy


def draw(probabilities: Tensor, uniform: Tensor) -> Tensor:
    """An id (rows,) for each row of `probabilities` (rows, vocab), by inversion of `uniform` (rows,)."""
    code = library()
    assert code is not None
    rows, vocab = probabilities.shape
    uniform = uniform.contiguous()
    drawn = torch.empty(rows, dtype=torch.int64)
    draws = Draws(
        probabilities=probabilities.data_ptr(),
        uniform=uniform.data_ptr(),
        drawn=drawn.data_ptr(),
        rows=rows,
        vocab=vocab,
    )
    code.draw(byref(draws), code.best, code.threads)
    return drawn
