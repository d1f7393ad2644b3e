"""The denoising loop: from noise to a canvas of tokens, one step at a time.

Speaks token ids and probabilities; knows nothing of text, prompts or files. The loop yields after every
step, so that a caller can show it, stop it, or stop listening.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from engine import sampler
from engine.cache import PrefixCache, over_cache
from engine.config import SamplerConfig
from engine.errors import InvalidRequest
from engine.model import DiffusionGemma
from engine.request import Stop

Constrain = Callable[[Tensor], tuple[Tensor, Tensor]]
"""Logits (batch, canvas, vocab) -> the same with what may not be chosen turned off, and a boolean
(batch, canvas) of the positions that are left without a choice."""


@dataclass(frozen=True, kw_only=True)
class Draft:
    """The canvases after step `number` (from 1); `stop` is set on the last.

    `tokens` (batch, canvas) is the argmax, which is what gets committed, and at a deadline the argmax the
    model was surest of so far; `confidence` of the same shape is its probability at temperature 1, `free`
    where the model had a choice. `steps` (batch,) counts the steps each canvas needed.
    """

    number: int
    tokens: Tensor
    confidence: Tensor
    free: Tensor
    steps: Tensor
    elapsed_ms: float
    stop: Stop | None


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What to denoise: `batch` canvases of `length` tokens, from `seed`.

    `pins` (length,) or (batch, length) holds token ids, `sampler.FREE` where the model chooses; `start`
    (batch, length) likewise the tokens the canvas begins with where it does not begin as noise.
    `constrain` is applied to the logits of every step. `deadline_ms` counts from `started`, a
    `time.perf_counter()` value.
    """

    length: int
    batch: int = 1
    seed: int = 0
    max_steps: int | None = None
    pins: Tensor | None = None
    start: Tensor | None = None
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

    Raises:
        InvalidRequest: prompt and canvas are longer than the model has positions for.
    """
    started = time.perf_counter() if plan.started is None else plan.started
    steps = plan.max_steps or config.max_denoising_steps
    if len(cache) + plan.length > model.config.max_position_embeddings:
        raise InvalidRequest(
            f"{len(cache)} prompt tokens and a canvas of {plan.length} exceed the model's "
            f"{model.config.max_position_embeddings} positions"
        )
    generator = torch.Generator(device=cache.device).manual_seed(plan.seed)
    positions = torch.arange(len(cache), len(cache) + plan.length, device=cache.device)[None]
    attend = over_cache(cache)
    state = _State.start(plan, model.config.vocab_size, generator)
    draft: Draft | None = None
    best: Draft | None = None
    for remaining in range(steps, 0, -1):
        if cancelled.is_set():
            if draft is not None:
                yield replace(draft, stop=Stop.CANCELLED)
            return
        step_started = time.perf_counter()
        soft = None if state.logits is None else model.soft_embed(state.logits)
        raw = model.logits(model.denoise(state.canvas, positions, attend, soft))
        schedule = _Schedule(config=config, remaining=remaining, steps=steps)
        state = _advance(state, raw, plan, schedule, generator, model.embed_tokens.weight.dtype)
        now = time.perf_counter()
        elapsed_ms, step_ms = 1e3 * (now - started), 1e3 * (now - step_started)
        stop = _stop(state, remaining, plan.deadline_ms, elapsed_ms, step_ms)
        draft = state.draft(steps - remaining + 1, elapsed_ms, stop)
        best = draft if best is None else _surer(best, draft)
        yield best if stop is Stop.DEADLINE else draft
        if stop is not None:
            return


@dataclass(frozen=True, kw_only=True)
class _Schedule:
    """Where in the schedule a step is: `remaining` of `steps` are left, this one included."""

    config: SamplerConfig
    remaining: int
    steps: int


@dataclass(frozen=True, kw_only=True)
class _State:
    """What one step hands to the next; `logits` are temperature-scaled, for the self-conditioning."""

    canvas: Tensor
    argmax: Tensor
    free: Tensor
    finished: Tensor
    steps: Tensor
    history: tuple[Tensor, ...] = ()
    logits: Tensor | None = None
    raw: Tensor | None = None

    @classmethod
    def start(cls, plan: Plan, vocab: int, generator: torch.Generator) -> _State:
        """Noise with the pins in it."""
        shape = (plan.batch, plan.length)
        canvas = sampler.pin_tokens(sampler.random_canvas(shape, vocab, generator), plan.start)
        canvas = sampler.pin_tokens(canvas, plan.pins)
        return cls(
            canvas=canvas,
            argmax=canvas,
            free=torch.ones_like(canvas, dtype=torch.bool),
            finished=torch.zeros(plan.batch, dtype=torch.bool, device=canvas.device),
            steps=torch.zeros(plan.batch, dtype=torch.int64, device=canvas.device),
        )

    def draft(self, number: int, elapsed_ms: float, stop: Stop | None) -> Draft:
        """What a caller gets to see of it."""
        assert self.raw is not None
        chosen = self.raw.gather(-1, self.argmax[..., None])[..., 0]
        return Draft(
            number=number,
            tokens=self.argmax,
            confidence=(chosen - self.raw.logsumexp(-1)).exp(),
            free=self.free,
            steps=self.steps,
            elapsed_ms=elapsed_ms,
            stop=stop,
        )


def _advance(
    old: _State,
    raw: Tensor,
    plan: Plan,
    schedule: _Schedule,
    generator: torch.Generator,
    soft_dtype: torch.dtype,
) -> _State:
    """One step of the sampler; canvases that have finished keep everything as it is."""
    config = schedule.config
    raw, free = _constrained(raw, plan)
    scaled = raw / sampler.temperature(config, schedule.remaining, schedule.steps)
    sampled = sampler.sample(scaled, generator)
    argmax = scaled.argmax(-1)
    entropies = sampler.entropy(scaled)
    accepted = sampler.accept(entropies, config.entropy_bound)
    noise = sampler.random_canvas((raw.shape[0], raw.shape[1]), raw.shape[2], generator)
    canvas = sampler.pin_tokens(torch.where(accepted, sampled, noise), plan.pins)
    if old.logits is not None and old.raw is not None:
        done = old.finished[:, None]
        argmax = torch.where(done, old.argmax, argmax)
        canvas = torch.where(done, old.canvas, canvas)
        free = torch.where(done, old.free, free)
        scaled = torch.where(done[..., None], old.logits, scaled)
        raw = torch.where(done[..., None], old.raw, raw)
    finished = old.finished
    if config.confidence_threshold is not None and config.stability_threshold is not None:
        stable = _stable(old.history, argmax, config.stability_threshold)
        finished = finished | (stable & sampler.confident(entropies, free, config.confidence_threshold))
    return _State(
        canvas=canvas,
        argmax=argmax,
        free=free,
        finished=finished,
        steps=old.steps + ~old.finished,
        history=(*old.history, argmax)[-max(1, config.stability_threshold or 1) :],
        logits=scaled.to(soft_dtype),
        raw=raw,
    )


def _constrained(raw: Tensor, plan: Plan) -> tuple[Tensor, Tensor]:
    """The logits with constraints and pins applied, and where that leaves the model a choice."""
    free = torch.ones(raw.shape[:-1], dtype=torch.bool, device=raw.device)
    if plan.constrain is not None:
        raw, forced = plan.constrain(raw)
        free = free & ~forced
    if plan.pins is not None:
        free = free & (plan.pins == sampler.FREE)
    return sampler.pin_logits(raw, plan.pins), free


def _surer(best: Draft, latest: Draft) -> Draft:
    """`latest`, with the canvases of `best` wherever those have the higher mean log-probability."""
    better = _score(best) > _score(latest)
    keep = better[:, None]
    return replace(
        latest,
        tokens=torch.where(keep, best.tokens, latest.tokens),
        confidence=torch.where(keep, best.confidence, latest.confidence),
        free=torch.where(keep, best.free, latest.free),
    )


def _score(draft: Draft) -> Tensor:
    """Mean log-probability of each canvas's free positions: (batch,)."""
    log_p = draft.confidence.clamp(min=1e-9).log()
    return (log_p * draft.free).sum(-1) / draft.free.sum(-1).clamp(min=1)


def _stable(history: tuple[Tensor, ...], argmax: Tensor, threshold: int) -> Tensor:
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
