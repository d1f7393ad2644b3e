"""The engine inside this process: loads a model and denoises in the calling thread.

The one client that touches tensors. One request at a time (callers that share it are made to wait), since
they share the prefix cache. Importing this module does not import torch; loading does.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from engine.request import Canvas, CanvasToken, DenoiseRequest, EngineInfo, Step

if TYPE_CHECKING:
    from pathlib import Path

    from engine.config import PromptConfig, SamplerConfig
    from engine.denoiser import Draft
    from engine.model import DiffusionGemma
    from engine.tokenizer import Tokenizer


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
        )

    def denoise(self, request: DenoiseRequest, cancelled: threading.Event) -> Iterator[Step]:
        """Denoise one hole, a step at a time; see `engine.request.Engine.denoise`."""
        import torch

        from engine.cache import encode_prefix
        from engine.denoiser import Plan, denoise
        from engine.prompts import lay_out
        from engine.typed import Typed

        started = time.perf_counter()
        while not self._lock.acquire(timeout=_LOOK_S):
            if cancelled.is_set():
                return
        try:
            tokens = lay_out(request.prompt, self._tokenizer, self._prompts)
            with torch.inference_mode():
                encode_prefix(self._network, self._cache, tokens, cancelled)
            if cancelled.is_set():
                return
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
            for draft in denoise(self._network, self._cache, self._sampler, plan, cancelled):
                yield self._step(draft)
        finally:
            self._lock.release()

    def _step(self, draft: Draft) -> Step:
        rows = zip(draft.tokens.tolist(), draft.confidence.tolist(), draft.free.tolist(), strict=True)
        canvases = [self._canvas(*row) for row in rows]
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
