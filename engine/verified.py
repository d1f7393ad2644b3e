"""Writing with the causal direction, several tokens at a time: one forward verifies what a draft proposes.

The text is exactly what greedy causal decoding writes, whatever is proposed; a proposal only saves
forwards where it is right. Each row but the first begins with another first token, which is how
alternatives come about. What is likeliest may be for the text around to say as well as for the model (see
`engine.ngram_cache`). Speaks token ids; text rules and drafts come as callables.

Source: Leviathan et al., "Fast inference from transformers via speculative decoding", arXiv 2211.17192, for
the greedy case; drafts from the prompt as in Saxena, "Prompt lookup decoding" (2023).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from engine.cache import PrefixCache, last_state
from engine.continuation import Continuation
from engine.denoiser import Draft, Plan
from engine.errors import InvalidRequest
from engine.network import Network
from engine.ngram_cache import LONGEST, NgramCache, interpolate
from engine.request import Stop
from engine.sampler import largest
from engine.special import Special

Propose = Callable[[Sequence[int], Sequence[int]], Sequence[int]]
"""(text before the middle, written) -> what may come next, in order; empty where there is no idea."""

_LENGTHS = (1, 4, 8)
"""How many tokens of a row go through one forward: every new shape costs the libraries memory they keep."""

LONGEST_DRAFT = _LENGTHS[-1] - 1
"""Tokens of a draft that are looked at."""
_ENDS = [int(special) for special in Special]  # any of them ends a middle
_SPECIAL = frozenset(_ENDS)


@dataclass(frozen=True, kw_only=True)
class Rules:
    """What text asks of the tokens written.

    `allowed` gives the ids that may come next, None where any may; `end` the index at which the middle has
    ended by itself, such as with its line, None where it goes on.
    """

    allowed: Callable[[Sequence[int]], Sequence[int] | None] = lambda _written: None
    end: Callable[[Sequence[int]], int | None] = lambda _written: None


@dataclass
class _Row:
    """One middle being written; `probabilities` are those of its tokens, the last one that of its end."""

    ids: list[int] = field(default_factory=list)
    probabilities: list[float] = field(default_factory=list)
    forced: list[bool] = field(default_factory=list)
    ended: bool = False
    full: bool = False

    @property
    def done(self) -> bool:
        return self.ended or self.full

    def add(self, token: int, probability: float, *, forced: bool) -> None:
        self.ids.append(token)
        self.probabilities.append(probability)
        self.forced.append(forced)
        self.ended = token in _SPECIAL


@torch.inference_mode()
def write(
    model: Network,
    cache: PrefixCache,
    plan: Plan,
    rules: Rules,
    propose: Propose,
    cancelled: threading.Event,
    ngrams: NgramCache | None = None,
) -> Iterator[Draft]:
    """Write `plan.batch` middles of less than `plan.length` tokens behind the prefix in `cache`.

    Yields a draft after every forward, the first after the one that encoded the prefix; the cache keeps what
    it has. Steps, temperatures and pins of `plan` do not count here. With `ngrams` the model's distributions
    are interpolated with what followed the same tokens there.

    Raises:
        InvalidRequest: prompt and canvas are longer than the model has positions for.
    """
    started = time.perf_counter() if plan.started is None else plan.started
    if len(cache) + plan.length > model.config.max_position_embeddings:
        raise InvalidRequest(
            f"{len(cache)} prompt tokens and a canvas of {plan.length} exceed the model's "
            f"{model.config.max_position_embeddings} positions"
        )
    run: _Run | None = None
    number = 0
    while True:
        if cancelled.is_set():
            if run is not None:
                yield _draft(run.rows, plan, number, _ms_since(started), Stop.CANCELLED)
            return
        forward_started = time.perf_counter()
        if run is None:
            run = _Run(model, cache, plan, rules, propose, ngrams)
        else:
            run.forward()
        number += 1
        elapsed_ms, forward_ms = _ms_since(started), _ms_since(forward_started)
        stop = _stop(run.rows, plan, elapsed_ms, forward_ms)
        yield _draft(run.rows, plan, number, elapsed_ms, stop)
        if stop is not None:
            return


class _Run:
    """Middles on their way. What each has written is encoded once: a forward takes the last token of every
    open row and its draft, and what of the draft was wrong is overwritten by the next."""

    def __init__(
        self,
        model: Network,
        cache: PrefixCache,
        plan: Plan,
        rules: Rules,
        propose: Propose,
        ngrams: NgramCache | None,
    ) -> None:
        self._model, self._plan, self._rules, self._propose = model, plan, rules, propose
        self._ngrams = ngrams
        self._before = _text_before(cache.tokens)
        logits = model.logits(last_state(model, cache))[0, 0]
        self.rows = _branch(self._informed(logits, []), plan.batch, rules)
        for row in self.rows:
            _settle(row, rules, plan.length)
        self._open = [row for row in self.rows if not row.done]
        self._written = Continuation(cache, len(cache), len(self._open), plan.length + _LENGTHS[-1])

    def forward(self) -> None:
        """Have every open row's draft verified."""
        rows = self._open
        drafts = [self._proposed(row) for row in rows]
        wanted = 1 + max(len(draft) for draft in drafts)
        count = next(length for length in _LENGTHS if length >= wanted)
        inputs = [[row.ids[-1], *draft] for row, draft in zip(rows, drafts, strict=True)]
        at = [len(row.ids) - 1 for row in rows]
        padded = [known + [Special.PAD.value] * (count - len(known)) for known in inputs]
        ids = torch.tensor(padded, device=self._model.device)
        states = self._model.encode(ids, self._written.positions(at, count), self._written.attend(at, count))
        logits = self._model.logits(states)
        likeliest = largest(logits.flatten(0, 1)).view(logits.shape[:2])
        top = logits.gather(-1, likeliest[..., None])[..., 0]
        probabilities = (top - logits.logsumexp(-1)).exp()
        found = zip(rows, drafts, logits, likeliest.tolist(), probabilities.tolist(), strict=True)
        for row, draft, row_logits, tokens, sure in found:
            allowed = self._rules.allowed(row.ids)
            if allowed is None:
                self._verify(row, draft, row_logits, list(zip(tokens, sure, strict=True)))
            else:
                _choose(row, self._informed(row_logits[0], row.ids), allowed)
            _settle(row, self._rules, self._plan.length)
        still = [index for index, row in enumerate(rows) if not row.done]
        if still and len(still) < len(rows):
            self._written.keep(still)
        self._open = [rows[index] for index in still]

    def _proposed(self, row: _Row) -> list[int]:
        """A draft for a row: none where rules bind it."""
        if self._rules.allowed(row.ids) is not None:
            return []
        room = self._plan.length - 1 - len(row.ids)
        return list(self._propose(self._before, row.ids))[: max(0, min(room, LONGEST_DRAFT))]

    def _verify(
        self, row: _Row, draft: Sequence[int], logits: Tensor, likeliest: Sequence[tuple[int, float]]
    ) -> None:
        """Take the draft's tokens for as long as they are the likeliest, and the likeliest one after them.

        `logits` (at least draft + 1, vocab) and the `likeliest` token of each with its probability are the
        model's own.
        """
        for at, choice in enumerate(likeliest):
            if row.done or len(row.ids) >= self._plan.length - 1:
                return
            own = logits[at]
            informed = self._informed(own, row.ids)
            token, probability = choice if informed is own else _likeliest(informed)
            row.add(token, probability, forced=False)
            if at >= len(draft) or draft[at] != token:
                return

    def _informed(self, logits: Tensor, written: Sequence[int]) -> Tensor:
        """The logits (vocab,) of what follows `written`, those given where the text around has no say."""
        if self._ngrams is None:
            return logits
        found = self._ngrams.continuations([*self._before[-LONGEST:], *written])
        if not found:
            return logits
        probabilities = logits.softmax(-1).float().cpu().numpy()
        # Where a middle ends is for the model to say: the text around never does, it only goes on.
        ends = probabilities[_ENDS]
        probabilities[_ENDS] = 0.0
        going_on = 1.0 - ends.sum()
        probabilities /= max(going_on, 1e-9)
        interpolate(probabilities, found)
        probabilities *= going_on
        probabilities[_ENDS] = ends
        return torch.from_numpy(probabilities).log()


def _text_before(prompt: Sequence[int]) -> Sequence[int]:
    """The prompt without the special tokens it ends with: a middle goes on from the text before them."""
    end = len(prompt)
    while end and prompt[end - 1] in _SPECIAL:
        end -= 1
    return prompt[:end]


def _likeliest(logits: Tensor) -> tuple[int, float]:
    token = int(logits.argmax())
    return token, float(logits[token].exp() / logits.exp().sum())


def _branch(logits: Tensor, count: int, rules: Rules) -> list[_Row]:
    """Rows that begin with the likeliest `count` first tokens; `logits` (vocab,)."""
    masked, allowed = _masked(logits, rules.allowed([]))
    top = masked.topk(min(count, logits.shape[-1] if allowed is None else len(allowed)))
    normal = masked.logsumexp(-1)
    rows = []
    for value, token in zip(top.values, top.indices.tolist(), strict=True):
        row = _Row()
        row.add(token, float((value - normal).exp()), forced=allowed is not None and len(allowed) == 1)
        rows.append(row)
    return rows


def _choose(row: _Row, logits: Tensor, allowed: Sequence[int]) -> None:
    """Take the likeliest of the `allowed` tokens; `logits` (vocab,)."""
    masked, _ = _masked(logits, allowed)
    token = int(masked.argmax())
    row.add(token, float(masked.softmax(-1)[token]), forced=len(allowed) == 1)


def _settle(row: _Row, rules: Rules, length: int) -> None:
    """End a row that has ended by itself, or that has filled its canvas."""
    if row.done:
        return
    end = rules.end(row.ids)
    if end is not None:
        # The token that began what comes after is the end's own: its probability is how sure the end is.
        row.ids[end:] = [Special.EOM.value]
        del row.probabilities[end + 1 :], row.forced[end + 1 :]
        row.ended = True
    elif len(row.ids) >= length - 1:
        row.full = True


def _masked(logits: Tensor, allowed: Sequence[int] | None) -> tuple[Tensor, Sequence[int] | None]:
    if allowed is None:
        return logits, None
    masked = torch.full_like(logits, -torch.inf)
    masked[list(allowed)] = logits[list(allowed)]
    return masked, allowed


def _stop(rows: Sequence[_Row], plan: Plan, elapsed_ms: float, forward_ms: float) -> Stop | None:
    if all(row.done for row in rows):
        return Stop.CONFIDENT if all(row.ended for row in rows) else Stop.STEPS
    if plan.deadline_ms is not None and elapsed_ms + forward_ms > plan.deadline_ms:
        return Stop.DEADLINE
    return None


def _draft(rows: Sequence[_Row], plan: Plan, number: int, elapsed_ms: float, stop: Stop | None) -> Draft:
    """The rows as canvases: what is not written yet is padding without a probability."""

    def padded(values: Sequence[float], fill: float) -> list[float]:
        return [*values, *[fill] * (plan.length - len(values))]

    return Draft(
        number=number,
        tokens=torch.tensor([[int(i) for i in padded(row.ids, Special.PAD)] for row in rows]),
        confidence=torch.tensor([padded(row.probabilities, 0.0) for row in rows]),
        free=torch.tensor(
            [[*(not f for f in row.forced), *[False] * (plan.length - len(row.ids))] for row in rows]
        ),
        steps=torch.tensor([number] * len(rows)),
        elapsed_ms=elapsed_ms,
        stop=stop,
    )


def _ms_since(started: float) -> float:
    return 1e3 * (time.perf_counter() - started)
