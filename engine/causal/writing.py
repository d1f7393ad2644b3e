"""Middles written left to right for a request in text: its rules, its drafts, its steps.

Puts together what `engine.causal.verified` and `engine.causal.beams` say in tokens; knows nothing of locks or
of who asks.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence

from engine.caches.prefix import PrefixCache
from engine.causal.beams import search
from engine.causal.line_end import LineEnd
from engine.causal.middles import FromText, Rules, no_draft
from engine.causal.ngram_cache import NgramCache
from engine.causal.verified import write
from engine.denoising.denoiser import Draft, Plan
from engine.denoising.typed import Typed
from engine.networks.network import Network
from engine.request import Decoding, DenoiseRequest
from engine.text.tokenizer import Tokenizer


def write_middles(
    network: Network,
    cache: PrefixCache,
    tokenizer: Tokenizer,
    request: DenoiseRequest,
    cancelled: threading.Event,
    *,
    candidates: int,
    width: int,
    decoding: Decoding,
    started: float,
    ngrams: NgramCache,
    informed: bool,
) -> Iterator[Draft]:
    """Write `candidates` middles behind the prompt that is in `cache`: a draft a forward.

    `decoding` says how: greedily, or along `width` beams, which may find less than `candidates`. The text
    around, whose `ngrams` these are, gives drafts unless tokens are to come one by one, and has its say in
    what is likeliest where the request is to be `informed` by it. `started` is a reading of
    `time.perf_counter`.

    Raises:
        InvalidRequest: prompt and canvas are longer than the model has positions for.
    """
    prompt = request.prompt
    rules = Rules(
        allowed=Typed(prompt.typed, tokenizer).allowed if prompt.typed else Rules.allowed,
        end=LineEnd(prompt.typed, tokenizer) if request.one_line else Rules.end,
        barred=_holding(request.avoid, tokenizer) if request.avoid else Rules.barred,
    )
    plan = Plan(
        length=request.canvas_tokens,
        batch=candidates,
        deadline_ms=request.deadline_ms,
        started=started,
        frame_ms=request.frame_ms,
    )
    drafts = no_draft if decoding is Decoding.CAUSAL else FromText(ngrams)
    said = ngrams if informed else None
    if decoding is Decoding.SEARCH:
        return search(network, cache, plan, rules, drafts, cancelled, said, width=width, wide=request.wide)
    return write(network, cache, plan, rules, drafts, cancelled, said)


def _holding(texts: Sequence[str], tokenizer: Tokenizer) -> Callable[[Sequence[int]], bool]:
    def holds(written: Sequence[int]) -> bool:
        decoded = tokenizer.decode(written)
        return any(text in decoded for text in texts)

    return holds
