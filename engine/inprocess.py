"""The engine inside this process: loads a model and denoises in the calling thread.

The one client that touches tensors. One request at a time (callers that share it are made to wait), since
they share the prefix cache. Importing this module does not import torch; loading does.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from engine.request import (
    CANVAS_LENGTHS,
    Canvas,
    CanvasToken,
    DenoiseRequest,
    EngineInfo,
    Prompt,
    Reading,
    ReadRequest,
    Scored,
    ScoreRequest,
    Step,
    TokenScore,
)

if TYPE_CHECKING:
    from pathlib import Path

    from engine.config import PromptConfig, SamplerConfig
    from engine.denoiser import Draft, Plan
    from engine.model import DiffusionGemma
    from engine.tokenizer import Tokenizer


Spans = tuple[tuple[tuple[int, int], ...], ...]
"""For each candidate, the canvas positions of its segments."""

LONGEST_READ = CANVAS_LENGTHS[-1] - 2
"""Tokens read at once: those of the longest canvas, less its end marker and one for safety."""

_LOOK_S = 0.05
"""How long a request waits for another before it looks again whether it is still wanted."""


def load_engine(model: str | None, on_progress: Callable[[str], None] | None = None) -> InProcessEngine:
    """Load `model` (None: the embedded one; else a directory or a hub id), ready to denoise.

    `on_progress` gets a line now and then. Takes seconds the first time: torch is imported here.

    Raises:
        EngineError: the model is not to be had, not of our architecture, or broken.
    """
    from engine.config_json import read_prompt_config, read_sampler_config
    from engine.hub import resolve

    report = on_progress or (lambda _line: None)
    folder = resolve(model, report)
    sampler, prompts = read_sampler_config(folder), read_prompt_config(folder)
    report("starting the tensor library")
    import torch

    from engine.tokenizer import Tokenizer
    from engine.weights import load_model

    report("reading the weights")
    device = "cuda" if torch.cuda.is_available() else "cpu"
    dtype = torch.bfloat16 if device == "cuda" else torch.float32
    network = load_model(folder, dtype=dtype, device=device)
    return InProcessEngine(model or "embedded", folder, network, Tokenizer(folder), sampler, prompts)


class InProcessEngine:
    """A loaded model, its tokenizer and its prefix cache; see `engine.request.Engine`.

    Raises:
        BrokenCheckpoint: the tokenizer has more ids than the model has embeddings.
    """

    def __init__(
        self,
        name: str,
        folder: Path,
        network: DiffusionGemma,
        tokenizer: Tokenizer,
        sampler: SamplerConfig,
        prompts: PromptConfig,
    ) -> None:
        from engine.cache import PrefixCache
        from engine.errors import BrokenCheckpoint

        if tokenizer.size > network.config.vocab_size:
            raise BrokenCheckpoint(
                f"{folder}: the tokenizer has {tokenizer.size} ids, the model {network.config.vocab_size}"
            )
        weight = network.embed_tokens.weight
        self._name, self._network, self._tokenizer = name, network, tokenizer
        self._sampler, self._prompts = sampler, prompts
        self._cache = PrefixCache(network.config, dtype=weight.dtype, device=weight.device)
        self._lock = threading.Lock()

    def info(self) -> EngineInfo:
        """What model this is and how much text it wants."""
        weight = self._network.embed_tokens.weight
        per_token = self._prompts.chars_per_token
        return EngineInfo(
            model=self._name,
            parameters=sum(p.numel() for p in self._network.parameters()),
            device=str(weight.device),
            dtype=str(weight.dtype).removeprefix("torch."),
            prefix_chars=int(self._prompts.prefix_tokens * per_token),
            suffix_chars=int(self._prompts.suffix_tokens * per_token),
            candidates=self._prompts.candidates,
            snippet_chars=int(self._prompts.snippet_tokens * per_token),
        )

    def denoise(self, request: DenoiseRequest, cancelled: threading.Event) -> Iterator[Step]:
        """Denoise one hole, a step at a time; see `engine.request.Engine.denoise`."""
        from engine.denoiser import denoise

        started = time.perf_counter()
        with self._prefix(request.prompt, cancelled) as ready:
            if not ready:
                return
            plan, spans = self._plan(request, started)
            for draft in denoise(self._network, self._cache, self._sampler, plan, cancelled):
                yield self._step(draft, spans)

    def score(self, request: ScoreRequest, cancelled: threading.Event) -> tuple[Scored, ...]:
        """The causal direction's log-probabilities; see `engine.request.Engine.score`."""
        from engine.causal import token_scores

        middles = [self._tokenizer.encode(request.prompt.typed + middle) for middle in request.middles]
        with self._prefix(request.prompt, cancelled) as ready:
            if not ready or not middles:
                return ()
            rows = token_scores(self._network, self._cache, middles)
        return tuple(
            Scored(
                tokens=tuple(
                    TokenScore(text=text, log_probability=value)
                    for text, value in zip(self._tokenizer.texts(ids), row, strict=False)
                ),
                end=row[-1],
            )
            for ids, row in zip(middles, rows, strict=True)
        )

    def read(self, request: ReadRequest, cancelled: threading.Event) -> tuple[Reading, ...]:
        """What the denoiser makes of a text; see `engine.request.Engine.read`."""
        from engine.reading import read

        ids = self._tokenizer.encode(request.text)
        out: list[Reading] = []
        start, prompt = 0, request.prompt
        for first in range(0, len(ids), LONGEST_READ):
            part = ids[first : first + LONGEST_READ]
            with self._prefix(prompt, cancelled) as ready:
                if not ready:
                    return ()
                own, others, found = read(
                    self._network, self._cache, part, views=request.views, seed=request.seed
                )
            texts = self._tokenizer.texts([*part])
            for text, p, other, q in zip(texts, own, others, found, strict=True):
                out.append(
                    Reading(
                        start=start,
                        text=text,
                        probability=p,
                        other=self._tokenizer.decode([other]),
                        other_probability=q,
                    )
                )
                start += len(text)
            prompt = replace(prompt, prefix=prompt.prefix + "".join(texts))
        return tuple(out)

    @contextlib.contextmanager
    def _prefix(self, prompt: Prompt, cancelled: threading.Event) -> Iterator[bool]:
        """Has the cache to itself, with `prompt` in it; False where nobody waits any more."""
        import torch

        from engine.cache import encode_prefix
        from engine.prompts import lay_out

        while not self._lock.acquire(timeout=_LOOK_S):
            if cancelled.is_set():
                yield False
                return
        try:
            tokens = lay_out(prompt, self._tokenizer, self._prompts)
            with torch.inference_mode():
                encode_prefix(self._network, self._cache, tokens, cancelled)
            yield not cancelled.is_set()
        finally:
            self._lock.release()

    def _plan(self, request: DenoiseRequest, started: float) -> tuple[Plan, Spans]:
        """What to denoise, and where each candidate's segments lie."""
        import torch

        from engine.denoiser import Plan
        from engine.layout import arrange
        from engine.typed import Typed

        typed = request.prompt.typed
        plan = Plan(
            length=request.canvas_tokens,
            batch=request.candidates,
            seed=request.seed,
            max_steps=request.max_steps,
            constrain=Typed(typed, self._tokenizer) if typed else None,
            deadline_ms=request.deadline_ms,
            started=started,
        )
        if not request.layouts:
            return plan, ()
        generator = torch.Generator(device=self._cache.device).manual_seed(request.seed)
        arranged = arrange(request.layouts, request.canvas_tokens, self._tokenizer, generator)
        plan = replace(
            plan,
            batch=len(request.layouts),
            pins=arranged.pins,
            start=arranged.start,
            constrain=arranged.constrain,
        )
        return plan, arranged.spans

    def _step(self, draft: Draft, spans: Spans) -> Step:
        rows = zip(draft.tokens.tolist(), draft.confidence.tolist(), draft.free.tolist(), strict=True)
        canvases = [self._canvas(*row) for row in rows]
        if spans:
            canvases = [
                replace(canvas, segments=self._segments(ids, of), candidate=index)
                for index, (canvas, ids, of) in enumerate(
                    zip(canvases, draft.tokens.tolist(), spans, strict=True)
                )
            ]
        if draft.stop is not None and len(canvases) > 1:
            canvases = self._ranked(canvases, draft.tokens.tolist())
        return Step(
            number=draft.number,
            canvases=tuple(canvases),
            elapsed_ms=draft.elapsed_ms,
            stop=draft.stop,
        )

    def _ranked(self, canvases: list[Canvas], tokens: list[list[int]]) -> list[Canvas]:
        """Best first by what the causal direction, which wrote none of them, makes of each."""
        from engine.causal import score

        middles = [ids[: self._end(ids)] for ids in tokens]
        scores = score(self._network, self._cache, middles)
        scored = [replace(c, score=s) for c, s in zip(canvases, scores, strict=True)]
        return sorted(scored, key=lambda canvas: canvas.score, reverse=True)

    def _segments(self, ids: list[int], spans: tuple[tuple[int, int], ...]) -> tuple[str, ...]:
        end = self._end(ids)
        return tuple(self._tokenizer.decode(ids[a : min(b, end)]) for a, b in spans)

    def _end(self, ids: list[int]) -> int:
        """Any special token ends the middle: the end marker, and the padding behind it."""
        pieces = self._tokenizer.pieces
        return next((index for index, token in enumerate(ids) if not pieces[token]), len(ids))

    def _canvas(self, ids: list[int], confidences: list[float], free: list[bool]) -> Canvas:
        import math

        end = self._end(ids)
        # The end marker is part of what the model claims, what it had to write is not.
        counted = [c for c, chosen in zip(confidences[: end + 1], free, strict=False) if chosen]
        return Canvas(
            text=self._tokenizer.decode(ids[:end]),
            tokens=tuple(
                CanvasToken(text=text, confidence=confidence)
                for text, confidence in zip(self._tokenizer.texts(ids[:end]), confidences, strict=False)
            ),
            ended=end < len(ids),
            score=sum(math.log(max(c, 1e-9)) for c in counted) / max(1, len(counted)),
        )
