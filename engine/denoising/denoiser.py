"""The denoising loop: from noise to a canvas of tokens, one step at a time.

Speaks token ids and probabilities; knows nothing of text, prompts or files. The loop yields after every
step, so that a caller can show it, stop it, or stop listening.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from engine.caches.prefix import PrefixCache, over_cache
from engine.config import SamplerConfig
from engine.denoising import sampler
from engine.errors import InvalidRequest
from engine.networks.network import Network
from engine.request import Stop

Constrain = Callable[[Tensor, Tensor, Tensor], Tensor]
"""(logits (rows, vocab), canvases (rows,), positions (rows,)) -> boolean (rows,). Turns off in place what
may not be chosen (`engine.networks.network.OFF`) and returns which rows are left without a choice. Rows are
ordered by canvas and position; pinned positions and finished canvases have none."""


@dataclass(frozen=True, kw_only=True)
class Draft:
    """The canvases after step `number` (from 1); `stop` is set on the last.

    `tokens` (batch, canvas) is the argmax, which is what gets committed, and at a deadline the argmax the
    model was surest of so far; `confidence` of the same shape is its probability at temperature 1, `free`
    where the model had a choice. `steps` (batch,) counts the steps each canvas needed. `ended` says which
    middles have come to their end, None where an end in the canvas says so.
    """

    number: int
    tokens: Tensor
    confidence: Tensor
    free: Tensor
    steps: Tensor
    elapsed_ms: float
    stop: Stop | None
    ended: Sequence[bool] | None = None


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What to denoise: `batch` canvases of `length` tokens, from `seed`.

    `pins` (length,) or (batch, length) holds token ids, `sampler.FREE` where the model chooses; `start`
    (batch, length) likewise the tokens the canvas begins with where it does not begin as noise.
    `constrain` is applied to the logits of every step. `max_steps` lowers the sampler's own number and never
    raises it. `deadline_ms` counts from `started`, a `time.perf_counter()` value. `draw` is how tokens are
    sampled. Of drafts that come faster than one in `frame_ms` some are left out, never the last.
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
    frame_ms: float = 0.0
    draw: sampler.Draw = sampler.draw_by_inversion


@torch.inference_mode()
def denoise(
    network: Network,
    cache: PrefixCache,
    config: SamplerConfig,
    plan: Plan,
    cancelled: threading.Event,
) -> Iterator[Draft]:
    """Denoise a batch of canvases that continue the prefix in `cache`, which is only read.

    `cancelled` and the deadline are checked at every step. Draws come from one generator in a fixed
    order (canvas, then per step: samples, fresh noise), so that a seed gives one result; with
    `sampler.draw_like_reference` it is the reference implementation's.

    Raises:
        InvalidRequest: prompt and canvas are longer than the model has positions for.
    """
    started = time.perf_counter() if plan.started is None else plan.started
    steps = min(plan.max_steps or config.max_denoising_steps, config.max_denoising_steps)
    if len(cache) + plan.length > network.config.max_position_embeddings:
        raise InvalidRequest(
            f"{len(cache)} prompt tokens and a canvas of {plan.length} exceed the model's "
            f"{network.config.max_position_embeddings} positions"
        )
    run = _Run(network, cache, config, plan)
    draft: Draft | None = None
    best: Draft | None = None
    shown_ms = 0.0
    for remaining in range(steps, 0, -1):
        if cancelled.is_set():
            if draft is not None:
                yield replace(draft, stop=Stop.CANCELLED)
            return
        step_started = time.perf_counter()
        run.step(sampler.temperature(config, remaining, steps))
        all_finished = run.retire()  # the one synchronisation with the device
        now = time.perf_counter()
        elapsed_ms, step_ms = 1e3 * (now - started), 1e3 * (now - step_started)
        stop = _stop(all_finished, remaining, plan.deadline_ms, elapsed_ms, step_ms)
        draft = run.draft(steps - remaining + 1, elapsed_ms, stop)
        best = draft if best is None else _surer(best, draft)
        if stop is not None or elapsed_ms - shown_ms >= plan.frame_ms:
            shown_ms = elapsed_ms
            yield best if stop is Stop.DEADLINE else draft
        if stop is not None:
            return


class _Run:
    """A batch of canvases on their way; every tensor is replaced, not changed, once a draft may hold it.

    All are (batch, canvas) but `_active`, the canvases that still change, and `_rows`, the positions of
    those that the model chooses, as indices into the flat batch. Nothing is computed for the others behind
    the last layer: a pinned position is certain and conditions the next step with its own embedding.
    """

    def __init__(self, network: Network, cache: PrefixCache, config: SamplerConfig, plan: Plan) -> None:
        device = cache.device
        self._network, self._config, self._plan = network, config, plan
        self._generator = torch.Generator(device=device).manual_seed(plan.seed)
        self._positions = torch.arange(len(cache), len(cache) + plan.length, device=device)[None]
        self._attend = over_cache(cache)
        shape = (plan.batch, plan.length)
        canvas = sampler.random_canvas(shape, network.config.vocab_size, self._generator)
        self._canvas = sampler.pin_tokens(sampler.pin_tokens(canvas, plan.start), plan.pins)
        choosable = torch.ones(shape, dtype=torch.bool, device=device)
        self._choosable = choosable if plan.pins is None else choosable & (plan.pins == sampler.FREE)
        self._argmax, self._free = self._canvas, self._choosable
        self._confidence = torch.ones(shape, device=device)
        self._finished = torch.zeros(plan.batch, dtype=torch.bool, device=device)
        self._steps = torch.zeros(plan.batch, dtype=torch.int64, device=device)
        self._history: list[Tensor] = []
        self._probabilities: Tensor | None = None
        self._active = torch.arange(plan.batch, device=device)
        self._rows = torch.nonzero(self._choosable.flatten())[:, 0]

    def step(self, temperature: float) -> None:
        """One pass of the network and one round of acceptance."""
        plan, canvas = self._plan, self._canvas[self._active]
        states = self._network.denoise(canvas, self._positions, self._attend, self._soft(canvas))
        logits = self._network.logits(self._chosen(states))
        free = torch.ones_like(self._rows, dtype=torch.bool)
        if plan.constrain is not None:
            free = ~plan.constrain(logits, self._rows // plan.length, self._rows % plan.length)
        choice = sampler.choose(logits, temperature, self._draw)
        entropies = self._spread(torch.zeros_like(self._confidence), choice.entropy)
        accepted = sampler.accept(entropies, self._config.entropy_bound)
        shape = (plan.batch, plan.length)
        noise = sampler.random_canvas(shape, self._network.config.vocab_size, self._generator)
        renoised = torch.where(accepted, self._spread(self._canvas, choice.sampled), noise)
        self._canvas = self._spread(self._canvas, renoised.flatten()[self._rows])
        self._argmax = self._spread(self._argmax, choice.argmax)
        self._confidence = self._spread(self._confidence, choice.confidence)
        self._free = self._spread(self._free, free)
        self._probabilities = choice.probabilities
        self._steps = self._steps + ~self._finished
        self._finish(entropies)

    def retire(self) -> bool:
        """Drop the canvases that have finished; whether none is left."""
        active = torch.nonzero(~self._finished)[:, 0]
        if len(active) < len(self._active):
            keep = ~self._finished[self._rows // self._plan.length]
            self._active, self._rows = active, self._rows[keep]
            if self._probabilities is not None:
                self._probabilities = self._probabilities[keep]
        return len(active) == 0

    def draft(self, number: int, elapsed_ms: float, stop: Stop | None) -> Draft:
        """What a caller gets to see of it."""
        return Draft(
            number=number,
            tokens=self._argmax,
            confidence=self._confidence,
            free=self._free,
            steps=self._steps,
            elapsed_ms=elapsed_ms,
            stop=stop,
        )

    def _soft(self, canvas: Tensor) -> Tensor | None:
        """The mean embeddings (active, canvas, hidden) of the last step's probabilities."""
        if self._probabilities is None:
            return None
        mean = self._network.mean_embed(self._probabilities)
        if self._whole(canvas):
            return mean.view(*canvas.shape, -1)
        soft = self._network.embed(canvas).to(mean.dtype).flatten(0, 1)
        soft[self._local()] = mean
        return soft.view(*canvas.shape, -1)

    def _chosen(self, states: Tensor) -> Tensor:
        """The states (rows, hidden) of the positions that the model chooses."""
        flat = states.flatten(0, 1)
        return flat if self._whole(states[..., 0]) else flat[self._local()]

    def _whole(self, canvas: Tensor) -> bool:
        """Whether the model chooses all positions of the active canvases."""
        return len(self._rows) == canvas.numel()

    def _local(self) -> Tensor:
        """`_rows` as indices into the active canvases alone."""
        index = torch.cumsum(~self._finished, 0) - 1
        return index[self._rows // self._plan.length] * self._plan.length + self._rows % self._plan.length

    def _draw(self, probabilities: Tensor) -> Tensor:
        return self._plan.draw(probabilities, self._rows, self._canvas.numel(), self._generator)

    def _spread(self, over: Tensor, values: Tensor) -> Tensor:
        """A copy of `over` (batch, canvas) with `values` (rows,) at the positions the model chooses."""
        out = over.flatten().clone()
        out[self._rows] = values
        return out.view_as(over)

    def _finish(self, entropies: Tensor) -> None:
        """Note which canvases are stable and confident."""
        config = self._config
        if config.confidence_threshold is not None and config.stability_threshold is not None:
            stable = _stable(self._history, self._argmax, config.stability_threshold)
            sure = sampler.confident(entropies, self._free, config.confidence_threshold)
            self._finished = self._finished | (stable & sure)
            self._history = [*self._history, self._argmax][-max(1, config.stability_threshold) :]


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


def _stable(history: list[Tensor], argmax: Tensor, threshold: int) -> Tensor:
    """Whether each canvas's argmax equals that of the last `threshold` steps: (batch,)."""
    if len(history) < threshold:
        return torch.zeros(argmax.shape[0], dtype=torch.bool, device=argmax.device)
    same = [(past == argmax).all(-1) for past in history[len(history) - threshold :]]
    return torch.stack(same).all(0) if same else torch.ones_like(argmax[:, 0], dtype=torch.bool)


def _stop(
    all_finished: bool, remaining: int, deadline_ms: float | None, elapsed_ms: float, step_ms: float
) -> Stop | None:
    if all_finished:
        return Stop.CONFIDENT
    if remaining == 1:
        return Stop.STEPS
    # Ends before the step that would overrun: an answer on time beats a better one late.
    if deadline_ms is not None and elapsed_ms + step_ms > deadline_ms:
        return Stop.DEADLINE
    return None
