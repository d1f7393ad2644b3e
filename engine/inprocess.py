"""The engine inside this process: loads a model and denoises in the calling thread.

The one client that touches tensors. One request at a time (callers that share it are made to wait), since
they share the prefix cache. Importing this module does not import torch; loading does.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from engine.canvases import Spans, by_score, canvases_of, middles_of
from engine.heap import give_back_freed_memory
from engine.request import (
    CANVAS_LENGTHS,
    Breadth,
    Canvas,
    Decoding,
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
from engine.surroundings import Surroundings

if TYPE_CHECKING:
    from pathlib import Path

    from engine.cache_pool import CachePool
    from engine.config import PromptConfig, SamplerConfig
    from engine.denoiser import Draft, Plan
    from engine.network import Network
    from engine.tokenizer import Tokenizer


LONGEST_READ = CANVAS_LENGTHS[-1] - 2
"""Tokens read at once: those of the longest canvas, less its end marker and one for safety."""

CACHE_BYTES = {"cpu": 16 * 2**20, "gpu": 2 * 2**30}
"""Of prefix caches kept, by where they are: some 14 places of the embedded model on a CPU."""

_TIMES = {Breadth.NARROW: (1, 1), Breadth.WIDE: (2, 1), Breadth.WIDEST: (2, 2)}
"""How many times the model's beams a search follows, and how many times as many middles it finds."""

_GIVE_BACK_EVERY = 250
"""Prompts between two times that freed memory is returned to the system, which takes a millisecond or two.
Prompts of all lengths leave a hundred megabytes of holes."""

_LOOK_S = 0.05
"""How long a request waits for another before it looks again whether it is still wanted."""


def load_engine(model: str | None, on_progress: Callable[[str], None] | None = None) -> InProcessEngine:
    """Load `model` (None: the embedded one; else a directory or a hub id), ready to denoise.

    `on_progress` gets a line now and then. Takes seconds the first time: torch is imported here.

    Raises:
        EngineError: the model is not to be had, not of our architecture, or broken.
    """
    from engine.config_json import read_model_config, read_sampler_config
    from engine.hub import resolve

    report = on_progress or (lambda _line: None)
    folder = resolve(model, report)
    read_model_config(folder)  # what cannot be loaded is said before anything is waited for
    sampler = read_sampler_config(folder)
    report("starting the tensor library")
    # Read by GNU's OpenMP as it starts: how long its threads spin at a barrier before they sleep. Its own
    # choice is milliseconds, which on cores shared with other programs are lost at every matrix product.
    os.environ.setdefault("GOMP_SPINCOUNT", "5000")
    # Read by oneDNN: how many products, each of its own shape, it keeps prepared. A thousand, its own choice,
    # are hundreds of megabytes, and prompts of all lengths have as many shapes.
    os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "64")
    import torch

    from engine.gemma_chat import prompts_of
    from engine.hardware import fastest
    from engine.memory import holding_for
    from engine.open_tokenizer import open_tokenizer
    from engine.weights import load_model

    tokenizer = open_tokenizer(folder)
    prompts = prompts_of(folder, tokenizer)
    report("reading the weights")
    device = "cuda" if torch.cuda.is_available() else "cpu"
    dtype = torch.bfloat16 if device == "cuda" else torch.float32
    held = holding_for(folder)
    loaded = load_model(folder, dtype=dtype, device=device, form=held.form, on_progress=report)
    network = fastest(loaded, fp8_prefixes=held.fp8_prefixes)
    give_back_freed_memory()
    return InProcessEngine(model or "embedded", folder, network, tokenizer, sampler, prompts)


class InProcessEngine:
    """A loaded model, its tokenizer and its prefix caches; see `engine.request.Engine`.

    Raises:
        BrokenCheckpoint: the tokenizer has more ids than the model has embeddings.
    """

    def __init__(
        self,
        name: str,
        folder: Path,
        network: Network,
        tokenizer: Tokenizer,
        sampler: SamplerConfig,
        prompts: PromptConfig,
    ) -> None:
        from engine.cache_pool import CachePool
        from engine.errors import BrokenCheckpoint

        if tokenizer.size > network.config.vocab_size:
            raise BrokenCheckpoint(
                f"{folder}: the tokenizer has {tokenizer.size} ids, the model {network.config.vocab_size}"
            )
        self._name, self._network, self._tokenizer = name, network, tokenizer
        self._sampler, self._prompts = sampler, prompts
        max_bytes = CACHE_BYTES["cpu" if network.device.type == "cpu" else "gpu"]
        self._pool = CachePool(network, max_bytes)
        self._cache = self._pool.best([])
        self._folder = folder
        self._surroundings = Surroundings(tokenizer.encode, tokenizer.begins_line, prompts.nearby_tokens)
        self._lock = threading.Lock()
        self._prompts_served = 0

    @property
    def network(self) -> Network:
        """The network, for whoever runs several engines on the same weights."""
        return self._network

    def sibling(self, network: Network | None = None, pool: CachePool | None = None) -> InProcessEngine:
        """Another engine of the same weights with prefix caches of its own, those of `pool` if there is one;
        `network` stands in for ours."""
        other = InProcessEngine(
            self._name,
            self._folder,
            network or self._network,
            self._tokenizer,
            self._sampler,
            self._prompts,
        )
        other._surroundings = self._surroundings
        if pool is not None:
            other._pool, other._cache = pool, pool.best([])
            pool.give_back()
        return other

    def info(self) -> EngineInfo:
        """What model this is and how much text it wants."""
        per_token = self._prompts.chars_per_token
        return EngineInfo(
            model=self._name,
            parameters=self._network.size,
            device=str(self._network.device),
            dtype=str(self._network.dtype).removeprefix("torch."),
            prefix_chars=int(self._prompts.prefix_tokens * per_token),
            suffix_chars=int(self._prompts.suffix_tokens * per_token),
            candidates=self._prompts.candidates,
            snippet_chars=int(self._prompts.snippet_tokens * per_token),
            far_chars=int(self._prompts.far_tokens * per_token),
            nearby_chars=int(self._prompts.nearby_tokens * per_token),
            warm_starts=self._prompts.verified_tokens == 0,
            searches=self._prompts.verified_tokens > 0 and self._prompts.beams > 1,
        )

    def denoise(self, request: DenoiseRequest, cancelled: threading.Event) -> Iterator[Step]:
        """Denoise one hole, a step at a time; see `engine.request.Engine.denoise`."""
        if self._prompts.format == "gemma-chat" and not request.layouts:
            from engine import gemma_chat

            yield from gemma_chat.denoise(lambda one: self._denoise(one, cancelled), request)
        else:
            yield from self._denoise(request, cancelled)

    def _denoise(self, request: DenoiseRequest, cancelled: threading.Event) -> Iterator[Step]:
        from engine.denoiser import denoise

        started = time.perf_counter()
        decoding = self._decoding(request)
        with self._prefix(request.prompt, cancelled) as ready:
            if not ready:
                return
            if decoding is not Decoding.DENOISE:
                yield from self._write(request, decoding, started, cancelled)
                return
            plan, spans = self._plan(request, started)
            for draft in denoise(self._network, self._cache, self._sampler, plan, cancelled):
                yield self._step(draft, spans)

    def _decoding(self, request: DenoiseRequest) -> Decoding:
        if request.layouts:
            return Decoding.DENOISE
        if request.decoding is not None:
            return request.decoding
        if request.canvas_tokens > self._prompts.verified_tokens:
            return Decoding.DENOISE
        return Decoding.SEARCH if request.one_line and self._prompts.beams > 1 else Decoding.VERIFY

    def _write(
        self, request: DenoiseRequest, decoding: Decoding, started: float, cancelled: threading.Event
    ) -> Iterator[Step]:
        """Middles left to right; see `engine.writing`."""
        from engine.writing import write_middles

        followed, found = (times * self._prompts.beams for times in _TIMES[request.breadth])
        own = found if decoding is Decoding.SEARCH else self._prompts.verified_candidates
        for draft, canvases in write_middles(
            self._network,
            self._cache,
            self._tokenizer,
            request,
            cancelled,
            candidates=request.candidates or own,
            width=followed,
            decoding=decoding,
            started=started,
            ngrams=self._surroundings.ngrams(request.prompt, self._cache.tokens),
            informed=self._prompts.far_tokens > 0,
        ):
            yield _as_step(draft, canvases)

    def score(self, request: ScoreRequest, cancelled: threading.Event) -> tuple[Scored, ...]:
        """The causal direction's log-probabilities; see `engine.request.Engine.score`."""
        from engine.causal import token_scores

        middles = [self._tokenizer.encode(request.prompt.typed + middle) for middle in request.middles]
        with self._prefix(request.prompt, cancelled) as ready:
            if not ready or not middles:
                return ()
            rows = token_scores(self._network, self._cache, middles, self._tokenizer.end)
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
                    self._network,
                    self._cache,
                    part,
                    views=request.views,
                    seed=request.seed,
                    end=self._tokenizer.end,
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
        """Has the caches to itself, with `prompt` in it; False where nobody waits any more."""
        import torch

        from engine.cache import encode_prefix
        from engine.prompts import lay_out

        while not self._lock.acquire(timeout=_LOOK_S):
            if cancelled.is_set():
                yield False
                return
        try:
            tokens = lay_out(prompt, self._tokenizer, self._prompts)
            self._cache = self._pool.best(tokens)
            with torch.inference_mode():
                encode_prefix(self._network, self._cache, tokens, cancelled)
            yield not cancelled.is_set()
        finally:
            self._pool.give_back()
            self._prompts_served += 1
            if self._prompts_served % _GIVE_BACK_EVERY == 0:
                give_back_freed_memory()
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
            batch=request.candidates or self._prompts.candidates,
            seed=request.seed,
            max_steps=request.max_steps,
            constrain=Typed(typed, self._tokenizer) if typed else None,
            deadline_ms=request.deadline_ms,
            started=started,
            frame_ms=request.frame_ms,
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
        from engine.causal import score

        canvases = canvases_of(draft, self._tokenizer, spans)
        if draft.stop is not None and len(canvases) > 1:
            # By what the causal direction, which wrote none of them, makes of each.
            middles = middles_of(draft, self._tokenizer)
            scores = score(self._network, self._cache, middles, self._tokenizer.end)
            canvases = [replace(c, score=s) for c, s in zip(canvases, scores, strict=True)]
            return _as_step(draft, by_score(canvases))
        return _as_step(draft, canvases)


def _as_step(draft: Draft, canvases: Sequence[Canvas]) -> Step:
    return Step(number=draft.number, canvases=tuple(canvases), elapsed_ms=draft.elapsed_ms, stop=draft.stop)
