"""The engine inside this process: loads a model and denoises in the calling thread.

The one client that touches tensors. One request at a time (callers that share it are made to wait), since
they share the prefix cache. Importing this module does not import torch; loading does.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from engine.causal.surroundings import Surroundings
from engine.errors import BrokenCheckpoint, InvalidRequest
from engine.networks.heap import give_back_freed_memory
from engine.request import (
    CANVAS_LENGTHS,
    MOST_AT_ONCE,
    DenoiseRequest,
    EngineInfo,
    Reading,
    ReadRequest,
    Scored,
    ScoreRequest,
    Step,
    TokenScore,
)

if TYPE_CHECKING:
    from pathlib import Path

    from engine.caches.pool import CachePool
    from engine.caches.prefix import PrefixCache
    from engine.config import PromptConfig, SamplerConfig
    from engine.networks.network import Network
    from engine.text.tokenizer import Tokenizer


SCORED_AT_ONCE = MOST_AT_ONCE * CANVAS_LENGTHS[-1]
"""Tokens of middles that are scored in one forward, padding included: what canvases come to at most."""

LONGEST_READ = CANVAS_LENGTHS[-1] - 2
"""Tokens read at once: those of the longest canvas, less its end marker and one for safety."""


CACHE_BYTES = {"cpu": 16 * 2**20, "gpu": 2 * 2**30}
"""Of prefix caches kept, by where they are: some 14 places of the embedded model on a CPU."""


def load_engine(model: str | None, on_progress: Callable[[str], None] | None = None) -> InProcessEngine:
    """Load `model` (None: the embedded one; else a directory or a hub id), ready to denoise.

    `on_progress` gets a line now and then. Takes seconds the first time: torch is imported here.

    Raises:
        EngineError: the model is not to be had, not of our architecture, or broken.
    """
    from engine.checkpoints.config_json import read_model_config, read_sampler_config
    from engine.checkpoints.hub import resolve

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

    from engine.checkpoints.memory import holding_for
    from engine.checkpoints.open_tokenizer import open_tokenizer, prompts_of
    from engine.checkpoints.weights import load_model
    from engine.networks.hardware import fastest

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
        BrokenCheckpoint: the tokenizer has more ids than the model has embeddings. It may have fewer: those
            of the model that have no text are never chosen.
    """

    def __init__(
        self,
        name: str,
        folder: Path,
        network: Network,
        tokenizer: Tokenizer,
        sampler: SamplerConfig,
        prompts: PromptConfig,
        pool: CachePool | None = None,
    ) -> None:
        from engine.caches.pool import CachePool
        from engine.caches.prefill import Prefill

        if tokenizer.size > network.config.vocab_size:
            raise BrokenCheckpoint(
                f"{folder}: the tokenizer has {tokenizer.size} ids, the model {network.config.vocab_size}"
            )
        network.use_ids(tokenizer.size)
        self._name, self._folder, self._sampler = name, folder, sampler
        if pool is None:  # an empty one is False
            pool = CachePool(network, CACHE_BYTES["cpu" if network.device.type == "cpu" else "gpu"])
        self.prefill = Prefill(network, tokenizer, prompts, pool)
        self._surroundings = Surroundings(
            tokenizer.encode,
            tokenizer.begins_line,
            far_tokens=prompts.far_tokens,
            nearby_tokens=prompts.nearby_tokens,
        )

    @property
    def network(self) -> Network:
        """The network, for whoever runs several engines on the same weights."""
        return self.prefill.network

    def sibling(self, network: Network | None = None, pool: CachePool | None = None) -> InProcessEngine:
        """Another engine of the same weights with prefix caches of its own, those of `pool` if there is one;
        `network` stands in for ours."""
        other = InProcessEngine(
            self._name,
            self._folder,
            network or self.network,
            self.prefill.tokenizer,
            self._sampler,
            self.prefill.prompts,
            pool,
        )
        other._surroundings = self._surroundings
        return other

    def info(self) -> EngineInfo:
        """What model this is and how much text it wants."""
        prompts = self.prefill.prompts
        per_token = prompts.chars_per_token
        return EngineInfo(
            model=self._name,
            parameters=self.network.size,
            device=str(self.network.device),
            dtype=str(self.network.dtype).removeprefix("torch."),
            prefix_chars=int(prompts.prefix_tokens * per_token),
            suffix_chars=int(prompts.suffix_tokens * per_token),
            candidates=prompts.candidates,
            snippet_chars=int(prompts.snippet_tokens * per_token),
            far_chars=int(prompts.far_tokens * per_token),
            nearby_chars=int(prompts.nearby_tokens * per_token),
            warm_starts=prompts.verified_tokens == 0,
            searches=prompts.verified_tokens > 0 and prompts.beams > 1,
        )

    def denoise(self, request: DenoiseRequest, cancelled: threading.Event) -> Iterator[Step]:
        """Denoise one hole, a step at a time; see `engine.request.Engine.denoise`."""
        if self.prefill.prompts.format == "gemma-chat" and not request.layouts:
            from engine.text import gemma_chat

            yield from gemma_chat.denoise(lambda one: self._denoise(one, cancelled), request)
        else:
            yield from self._denoise(request, cancelled)

    def _denoise(self, request: DenoiseRequest, cancelled: threading.Event) -> Iterator[Step]:
        from engine.generation import Generation

        started = time.perf_counter()
        with self.prefill.of(request.prompt, cancelled) as cache:
            if cache is not None:
                yield from Generation(
                    self.prefill, self._sampler, self._surroundings, request, cancelled, started
                ).steps(cache)

    def score(self, request: ScoreRequest, cancelled: threading.Event) -> tuple[Scored, ...]:
        """The causal direction's log-probabilities; see `engine.request.Engine.score`."""
        from engine.causal.scores import token_scores

        middles = [self.prefill.tokenizer.encode(request.prompt.typed + middle) for middle in request.middles]
        rows: list[list[float]] = []
        with self.prefill.of(request.prompt, cancelled) as cache:
            if cache is None or not middles:
                return ()
            longest = max(map(len, middles))
            self._check_room(cache, longest, "a middle")
            count = max(1, SCORED_AT_ONCE // (longest + 1))
            for first in range(0, len(middles), count):
                if cancelled.is_set():
                    return ()
                some = middles[first : first + count]
                rows += token_scores(self.network, cache, some, self.prefill.tokenizer.end)
        return tuple(
            Scored(
                tokens=tuple(
                    TokenScore(text=text, log_probability=value)
                    for text, value in zip(self.prefill.tokenizer.texts(ids), row, strict=False)
                ),
                end=row[-1],
            )
            for ids, row in zip(middles, rows, strict=True)
        )

    def read(self, request: ReadRequest, cancelled: threading.Event) -> tuple[Reading, ...]:
        """What the denoiser makes of a text; see `engine.request.Engine.read`."""
        from engine.denoising.reading import read

        tokenizer = self.prefill.tokenizer
        ids = tokenizer.encode(request.text)
        texts = iter(tokenizer.texts(ids))
        out: list[Reading] = []
        start, prompt = 0, request.prompt
        for part in tokenizer.parts(ids, LONGEST_READ):
            with self.prefill.of(prompt, cancelled) as cache:
                if cache is None:
                    return ()
                self._check_room(cache, len(part) + 1, "a text")
                own, others, found = read(
                    self.network,
                    cache,
                    part,
                    views=request.views,
                    seed=request.seed,
                    end=tokenizer.end,
                )
            for p, other, q in zip(own, others, found, strict=True):
                text = next(texts)
                out.append(
                    Reading(
                        start=start,
                        text=text,
                        probability=p,
                        other=tokenizer.decode([other]),
                        other_probability=q,
                    )
                )
                start += len(text)
            prompt = replace(prompt, prefix=request.prompt.prefix + request.text[:start])
        return tuple(out)

    def _check_room(self, cache: PrefixCache, tokens: int, what: str) -> None:
        positions = self.network.config.max_position_embeddings
        if len(cache) + tokens > positions:
            raise InvalidRequest(
                f"{len(cache)} prompt tokens and {what} of {tokens} exceed the model's {positions} positions"
            )
