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
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from engine.cache import PrefixCache, last_state
from engine.continuation import Continuation
from engine.denoiser import Draft, Plan
from engine.middles import (
    LONGEST_DRAFT,
    Drafts,
    NextToken,
    Propose,
    Row,
    Rules,
    drive,
    forward_length,
    masked,
)
from engine.network import Network
from engine.ngram_cache import NgramCache
from engine.sampler import largest
from engine.special import Special


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
    longest = model.config.max_position_embeddings
    yield from drive(
        lambda: _Greedy(model, cache, plan, rules, propose, ngrams), cache, longest, plan, cancelled
    )


class _Greedy:
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
        self._model, self._plan, self._rules = model, plan, rules
        self._next = NextToken(cache.tokens, ngrams)
        self._drafts = Drafts(propose, self._next.before, rules, plan.length)
        log_p = model.logits(last_state(model, cache))[0, 0].log_softmax(-1)
        self.rows = _branch(self._next.informed(log_p, []), plan.batch, rules)
        for row in self.rows:
            row.settle(rules, plan.length)
        self._open = [row for row in self.rows if not row.done]
        self._written = Continuation(cache, len(cache), len(self._open), plan.length + 1 + LONGEST_DRAFT)

    @property
    def done(self) -> bool:
        """Whether every row is."""
        return not self._open

    def forward(self) -> None:
        """Have every open row's draft verified."""
        rows = self._open
        drafts = [self._drafts.of(row) for row in rows]
        count = forward_length(self._model, drafts)
        inputs = [[row.ids[-1], *draft] for row, draft in zip(rows, drafts, strict=True)]
        at = [len(row.ids) - 1 for row in rows]
        padded = [known + [Special.PAD.value] * (count - len(known)) for known in inputs]
        ids = torch.tensor(padded, device=self._model.device)
        states = self._model.encode(ids, self._written.positions(at, count), self._written.attend(at, count))
        log_p = self._model.logits(states).log_softmax(-1)
        likeliest = largest(log_p.flatten(0, 1)).view(log_p.shape[:2])
        probabilities = log_p.gather(-1, likeliest[..., None])[..., 0].exp()
        found = zip(rows, drafts, log_p, likeliest.tolist(), probabilities.tolist(), strict=True)
        for row, draft, row_log_p, tokens, sure in found:
            allowed = self._rules.allowed(row.ids)
            if allowed is None:
                self._verify(row, draft, row_log_p, list(zip(tokens, sure, strict=True)))
            else:
                _choose(row, self._next.informed(row_log_p[0], row.ids), allowed)
            row.settle(self._rules, self._plan.length)
        still = [index for index, row in enumerate(rows) if not row.done]
        if still and len(still) < len(rows):
            self._written.keep(still, max(len(row.ids) for row in rows))
        self._open = [rows[index] for index in still]

    def _verify(
        self, row: Row, draft: Sequence[int], log_p: Tensor, likeliest: Sequence[tuple[int, float]]
    ) -> None:
        """Take the draft's tokens for as long as they are the likeliest, and the likeliest one after them.

        `log_p` (at least draft + 1, vocab) and the `likeliest` token of each with its probability are the
        model's own.
        """
        for at, choice in enumerate(likeliest):
            if row.done or len(row.ids) >= self._plan.length - 1:
                return
            own = log_p[at]
            informed = self._next.informed(own, row.ids)
            token, probability = choice if informed is own else _likeliest(informed)
            row.add(token, probability, forced=False)
            if at >= len(draft) or draft[at] != token:
                return


def _likeliest(log_p: Tensor) -> tuple[int, float]:
    token = int(log_p.argmax())
    return token, float(log_p[token].exp())


def _branch(log_p: Tensor, count: int, rules: Rules) -> list[Row]:
    """Rows that begin with the likeliest `count` first tokens; `log_p` (vocab,)."""
    allowed = rules.allowed([])
    options = masked(log_p, allowed)
    top = options.topk(min(count, log_p.shape[-1] if allowed is None else len(allowed)))
    normal = options.logsumexp(-1)
    rows = []
    for value, token in zip(top.values, top.indices.tolist(), strict=True):
        row = Row()
        row.add(token, float((value - normal).exp()), forced=allowed is not None and len(allowed) == 1)
        rows.append(row)
    return rows


def _choose(row: Row, log_p: Tensor, allowed: Sequence[int]) -> None:
    """Take the likeliest of the `allowed` tokens; `log_p` (vocab,)."""
    options = masked(log_p, allowed)
    token = int(options.argmax())
    row.add(token, float(options.softmax(-1)[token]), forced=len(allowed) == 1)
