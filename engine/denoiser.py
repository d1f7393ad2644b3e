"""The denoising loop: from noise to a canvas of tokens, one step at a time.

Speaks token ids and probabilities; knows nothing of text, prompts or files. The loop yields after every
step, so that a caller can show it, stop it, or stop listening.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from engine import sampler
from engine.cache import PrefixCache, over_cache
from engine.config import SamplerConfig
from engine.model import DiffusionGemma
from engine.request import Stop

Constrain = Callable[[Tensor], Tensor]
"""Logits (batch, canvas, vocab) -> logits of the same shape with what may not be chosen turned off."""


@dataclass(frozen=True, kw_only=True)
class Draft:
    """The canvases after step `number` (from 1); `stop` is set on the last.

    `tokens` (batch, canvas) is the argmax, which is what gets committed; `confidence` of the same shape
    is its probability at temperature 1. `steps` (batch,) counts the steps each canvas needed.
    """

    number: int
    tokens: Tensor
    confidence: Tensor
    steps: Tensor
    elapsed_ms: float
    stop: Stop | None


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What to denoise: `batch` canvases of `length` tokens, from `seed`.

    `pins` (length,) or (batch, length) holds token ids, `sampler.FREE` where the model chooses.
    `constrain` is applied to the logits of every step. `deadline_ms` counts from `started`, a
    `time.perf_counter()` value.
    """

    length: int
    batch: int = 1
    seed: int = 0
    max_steps: int | None = None
    pins: Tensor | None = None
    constrain: Constrain | None = None
    deadline_ms: float | None = None
    started: float | None = None


@torch.inference_mode()
def denoise(
    model: DiffusionGemma,
    cache: PrefixCache,
    config: SamplerConfig,
    plan: Plan,
    cancelled: threading.Event,
) -> Iterator[Draft]:
    """Denoise a batch of canvases that continue the prefix in `cache`, which is only read.

    `cancelled` and the deadline are checked at every step. Draws come from one generator in a fixed
    order (canvas, then per step: samples, fresh noise), so that a seed gives one result, and the same
    one as the reference implementation's.
    """
    started = time.perf_counter() if plan.started is None else plan.started
    steps = plan.max_steps or config.max_denoising_steps
    generator = torch.Generator(device=cache.device).manual_seed(plan.seed)
    shape, vocab = (plan.batch, plan.length), model.config.vocab_size
    positions = torch.arange(len(cache), len(cache) + plan.length, device=cache.device)[None]
    attend = over_cache(cache)
    soft_dtype = model.embed_tokens.weight.dtype
    canvas = sampler.pin_tokens(sampler.random_canvas(shape, vocab, generator), plan.pins)
    state = _State.start(canvas)
    for remaining in range(steps, 0, -1):
        if cancelled.is_set():
            if state.draft is not None:
                yield _ended(state.draft, Stop.CANCELLED)
            return
        step_started = time.perf_counter()
        raw = model.logits(model.denoise(state.canvas, positions, attend, state.soft(model)))
        if plan.constrain is not None:
            raw = plan.constrain(raw)
        raw = sampler.pin_logits(raw, plan.pins)
        state = _advance(state, raw, remaining, steps, config, plan.pins, generator, soft_dtype)
        now = time.perf_counter()
        stop = _stop(state, remaining, plan.deadline_ms, 1e3 * (now - started), 1e3 * (now - step_started))
        state.draft = Draft(
            number=steps - remaining + 1,
            tokens=state.argmax,
            confidence=_probability(state.raw, state.argmax),
            steps=state.steps,
            elapsed_ms=1e3 * (now - started),
            stop=stop,
        )
        yield state.draft
        if stop is not None:
            return


@dataclass
class _State:
    """What one step hands to the next; tensors are replaced, never changed in place."""

    canvas: Tensor
    argmax: Tensor
    history: list[Tensor]
    finished: Tensor
    steps: Tensor
    logits: Tensor | None = None  # temperature-scaled, in the embedding's dtype: the self-conditioning
    raw: Tensor | None = None
    draft: Draft | None = None

    @classmethod
    def start(cls, canvas: Tensor) -> _State:
        batch = canvas.shape[0]
        return cls(
            canvas=canvas,
            argmax=canvas,
            history=[],
            finished=torch.zeros(batch, dtype=torch.bool, device=canvas.device),
            steps=torch.zeros(batch, dtype=torch.int64, device=canvas.device),
        )

    def soft(self, model: DiffusionGemma) -> Tensor | None:
        return None if self.logits is None else model.soft_embed(self.logits)


def _advance(
    old: _State,
    raw: Tensor,
    remaining: int,
    steps: int,
    config: SamplerConfig,
    pins: Tensor | None,
    generator: torch.Generator,
    soft_dtype: torch.dtype,
) -> _State:
    """One step of the sampler; canvases that have finished keep everything as it is."""
    scaled = raw / sampler.temperature(config, remaining, steps)
    sampled = sampler.sample(scaled, generator)
    argmax = scaled.argmax(-1)
    entropies = sampler.entropy(scaled)
    accepted = sampler.accept(entropies, config.entropy_bound)
    noise = sampler.random_canvas((raw.shape[0], raw.shape[1]), raw.shape[2], generator)
    canvas = sampler.pin_tokens(torch.where(accepted, sampled, noise), pins)
    done = old.finished[:, None]
    if old.logits is not None and old.raw is not None:
        argmax = torch.where(done, old.argmax, argmax)
        canvas = torch.where(done, old.canvas, canvas)
        scaled = torch.where(done[..., None], old.logits, scaled)
        raw = torch.where(done[..., None], old.raw, raw)
        # Entropies of finished canvases are not recomputed: they were confident, and stay finished.
    threshold = config.confidence_threshold
    finished = old.finished
    if threshold is not None and config.stability_threshold is not None:
        stable = _stable(old.history, argmax, config.stability_threshold)
        finished = finished | (stable & sampler.confident(entropies, pins, threshold))
    return _State(
        canvas=canvas,
        argmax=argmax,
        history=[*old.history, argmax][-max(1, config.stability_threshold or 1) :],
        finished=finished,
        steps=old.steps + ~old.finished,
        logits=scaled.to(soft_dtype),
        raw=raw,
    )


def _stable(history: list[Tensor], argmax: Tensor, threshold: int) -> Tensor:
    """Whether each canvas's argmax equals that of the last `threshold` steps: (batch,)."""
    if len(history) < threshold:
        return torch.zeros(argmax.shape[0], dtype=torch.bool, device=argmax.device)
    same = [(past == argmax).all(-1) for past in history[len(history) - threshold :]]
    return torch.stack(same).all(0) if same else torch.ones_like(argmax[:, 0], dtype=torch.bool)


def _stop(
    state: _State, remaining: int, deadline_ms: float | None, elapsed_ms: float, step_ms: float
) -> Stop | None:
    if bool(state.finished.all()):  # the one synchronisation with the device
        return Stop.CONFIDENT
    if remaining == 1:
        return Stop.STEPS
    # Ends before the step that would overrun: an answer on time beats a better one late.
    if deadline_ms is not None and elapsed_ms + step_ms > deadline_ms:
        return Stop.DEADLINE
    return None


def _probability(raw: Tensor | None, tokens: Tensor) -> Tensor:
    assert raw is not None
    chosen = raw.gather(-1, tokens[..., None])[..., 0]
    return (chosen - raw.logsumexp(-1)).exp()


def _ended(draft: Draft, stop: Stop) -> Draft:
    return Draft(
        number=draft.number,
        tokens=draft.tokens,
        confidence=draft.confidence,
        steps=draft.steps,
        elapsed_ms=draft.elapsed_ms,
        stop=stop,
    )
