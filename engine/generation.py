"""A hole's way from a request to the steps it shows: how its middles come about, and which are the best.

Puts together what denoising, writing and choosing say in tokens; knows nothing of locks or of who asks.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace

import torch

from engine.caches.prefill import Prefill
from engine.caches.prefix import PrefixCache
from engine.causal.following import by_what_follows, rest_of_line, unseen
from engine.causal.scores import score
from engine.causal.surroundings import Surroundings
from engine.causal.writing import write_middles
from engine.config import SamplerConfig
from engine.denoising.canvases import Spans, by_score, canvases_of, middles_of
from engine.denoising.denoiser import Draft, Plan, denoise
from engine.denoising.layout import arrange
from engine.denoising.typed import Typed
from engine.request import Canvas, Decoding, DenoiseRequest, Step, Stop


class Generation:
    """The middles of one request. `started` is a reading of `time.perf_counter`."""

    def __init__(
        self,
        prefill: Prefill,
        sampler: SamplerConfig,
        surroundings: Surroundings,
        request: DenoiseRequest,
        cancelled: threading.Event,
        started: float,
    ) -> None:
        self._prefill, self._sampler, self._surroundings = prefill, sampler, surroundings
        self._network, self._tokenizer, self._prompts = prefill.network, prefill.tokenizer, prefill.prompts
        self._request, self._cancelled, self._started = request, cancelled, started
        self._rest = rest_of_line(request.prompt)
        self._spans: Spans = ()  # where each candidate's segments lie

    def steps(self, cache: PrefixCache) -> Iterator[Step]:
        """See `engine.request.Engine.denoise`; `cache` has the prompt."""
        drafts = self._denoised(cache) if self._decoding is Decoding.DENOISE else self._written(cache)
        for draft in drafts:
            canvases = canvases_of(draft, self._tokenizer, self._spans)
            elapsed_ms = draft.elapsed_ms
            if draft.stop is not None and draft.stop is not Stop.CANCELLED:
                canvases = self._ordered(draft, canvases, cache)
                elapsed_ms = 1000 * (time.perf_counter() - self._started)
            yield Step(number=draft.number, canvases=(*canvases,), elapsed_ms=elapsed_ms, stop=draft.stop)

    @property
    def _decoding(self) -> Decoding:
        request = self._request
        if request.layouts:
            return Decoding.DENOISE
        if request.decoding is not None:
            return request.decoding
        if request.canvas_tokens > self._prompts.verified_tokens:
            return Decoding.DENOISE
        return Decoding.SEARCH if request.one_line and self._prompts.beams > 1 else Decoding.VERIFY

    def _written(self, cache: PrefixCache) -> Iterator[Draft]:
        """Middles left to right; see `engine.causal.writing`."""
        request, beams = self._request, self._prompts.beams
        own = self._prompts.verified_candidates
        if self._decoding is Decoding.SEARCH:
            own = beams * (2 if request.wide else 1)
        return write_middles(
            self._network,
            cache,
            self._tokenizer,
            request,
            self._cancelled,
            candidates=request.candidates or own,
            # Where the line goes on there is more to choose by than how likely a middle is.
            width=beams * (2 if request.wide or self._rest else 1),
            decoding=self._decoding,
            started=self._started,
            ngrams=self._surroundings.ngrams(request.prompt, cache.tokens),
            informed=self._prompts.far_tokens > 0,
        )

    def _denoised(self, cache: PrefixCache) -> Iterator[Draft]:
        """Canvases as a whole; see `engine.denoising.denoiser`."""
        request, typed = self._request, self._request.prompt.typed
        plan = Plan(
            length=request.canvas_tokens,
            batch=request.candidates or self._prompts.candidates,
            seed=request.seed,
            max_steps=request.max_steps,
            constrain=Typed(typed, self._tokenizer) if typed else None,
            deadline_ms=request.deadline_ms,
            started=self._started,
            frame_ms=request.frame_ms,
        )
        if request.layouts:
            generator = torch.Generator(device=cache.device).manual_seed(request.seed)
            arranged = arrange(request.layouts, request.canvas_tokens, self._tokenizer, generator)
            self._spans = arranged.spans
            plan = replace(
                plan,
                batch=len(request.layouts),
                pins=arranged.pins,
                start=arranged.start,
                constrain=arranged.constrain,
            )
        return denoise(self._network, cache, self._sampler, plan, self._cancelled)

    def _ordered(self, draft: Draft, canvases: list[Canvas], cache: PrefixCache) -> list[Canvas]:
        """What the last step shows, the best first."""
        request, rows = self._request, middles_of(draft, self._tokenizer)
        if self._decoding is Decoding.DENOISE and len(canvases) > 1:
            # By what the causal direction, which wrote none of them, makes of each.
            scores = score(self._network, cache, rows, self._tokenizer.end)
            canvases = [replace(canvas, score=own) for canvas, own in zip(canvases, scores, strict=True)]
        some = self._decoding is Decoding.SEARCH or len(canvases) > 1  # to choose among
        has_time = request.deadline_ms is None or 2 * draft.elapsed_ms < request.deadline_ms
        if self._rest and some and has_time and not request.layouts:
            return self._going_on(canvases, rows)
        return canvases if self._decoding is Decoding.SEARCH else by_score(canvases)

    def _going_on(self, canvases: list[Canvas], rows: Sequence[Sequence[int]]) -> list[Canvas]:
        """Those from which the line goes on; see `engine.causal.following`."""
        cache = self._prefill.encode(unseen(self._request.prompt), self._cancelled)
        if cache is None:
            return canvases
        best = by_what_follows(
            self._network,
            cache,
            self._tokenizer,
            canvases,
            rows,
            self._request.prompt,
            anywhere=self._decoding is Decoding.SEARCH,
        )
        return best[: self._request.candidates]
