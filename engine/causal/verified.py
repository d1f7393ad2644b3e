"""Writing with the causal direction, several tokens at a time: one forward verifies what a draft proposes.

The text is exactly what greedy causal decoding writes, whatever is proposed; a proposal only saves
forwards where it is right. Each row but the first begins with another first token, which is how
alternatives come about. Where the layers are C, writing goes on there; see `engine.causal.in_c`. What is
likeliest may be for the text around to say as well as for the model (see `engine.causal.ngram_cache`). Speaks
token ids; text rules and drafts come as callables.

Source: Leviathan et al., "Fast inference from transformers via speculative decoding", arXiv 2211.17192, for
the greedy case; drafts from the prompt as in Saxena, "Prompt lookup decoding" (2023).
"""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator, Sequence
from itertools import chain

import torch

from engine.caches.continuation import Continuation
from engine.caches.prefix import PrefixCache, last_state
from engine.causal.in_c import InC, given_to_c
from engine.causal.middles import LONGEST_DRAFT, Beam, Drafts, Propose, Row, Rules, drive, forward_length
from engine.causal.next_token import Around, Found, Open
from engine.causal.ngram_cache import NgramCache
from engine.causal.search_in_c import Given, SearchInC
from engine.denoising.denoiser import Draft, Plan
from engine.networks.network import Network
from engine.text.special import Special


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
        self._around = Around(cache.tokens, ngrams)
        self._drafts = Drafts(propose, self._around.before, rules, plan.length)
        first = self._asked([], 0)
        logits = model.logits(last_state(model, cache))
        self._rows: list[Row] = []
        for found in self._around.likeliest(logits, [first], plan.batch):
            self._rows.append(row := Row())
            _add(row, found, first)
            row.settle(rules, plan.length)
        self._open = [row for row in self._rows if not row.done]
        self._sources = list(range(len(self._open)))
        self._written = Continuation(
            model, cache, len(cache), len(self._open), plan.length + 1 + LONGEST_DRAFT
        )
        given = given_to_c(self._around, logits, plan, rules, propose, len(self._open), apart=True)
        self._in_c = InC(self._written, given, rules)

    @property
    def rows(self) -> list[Row]:
        """The middles as they are now, in the order of their first tokens."""
        if self._in_c.searching is None:
            return self._rows
        written = iter(self._in_c.searching.rows)
        return [row if row.done else next(written) for row in self._rows]

    @property
    def done(self) -> bool:
        """Whether every row is."""
        return self._in_c.searching.done if self._in_c.searching is not None else not self._open

    def forward(self, seconds: float) -> int:
        """Have every open row's draft verified, once or, in C, for as long as `seconds`; how often."""
        forwards = self._in_c.go_on(seconds, self._open, self._handed_over)
        if forwards is None:
            self._forward()
        return forwards or 1

    def _handed_over(self, given: Given) -> SearchInC:
        beams = [
            Beam(row=row, total=0.0, source=source)
            for row, source in zip(self._open, self._sources, strict=True)
        ]
        return SearchInC(beams, [], given, width=len(beams), batch=len(beams), apart=True)

    def _forward(self) -> None:
        rows = self._open
        drafts = [self._drafts.of(row) for row in rows]
        count = forward_length(self._model, drafts)
        inputs = [[row.ids[-1], *draft] for row, draft in zip(rows, drafts, strict=True)]
        at = [len(row.ids) - 1 for row in rows]
        ids = [known + [Special.PAD.value] * (count - len(known)) for known in inputs]
        logits = self._written.read(ids, at, self._sources)
        asked = [
            [
                self._asked([*row.ids, *draft[:depth]], index * count + depth)
                for depth in range(1 + len(draft))
            ]
            for index, (row, draft) in enumerate(zip(rows, drafts, strict=True))
        ]
        best = iter(self._around.likeliest_of_each(logits, [*chain.from_iterable(asked)], 1))
        for row, draft, of_row in zip(rows, drafts, asked, strict=True):
            self._verify(row, draft, [(one, next(best)[0]) for one in of_row])
            row.settle(self._rules, self._plan.length)
        self._sources = [index for index, row in enumerate(rows) if not row.done]
        self._open = [rows[index] for index in self._sources]

    def _asked(self, written: Sequence[int], at: int) -> Open:
        """What to ask of the logits `at` an index, which are of what follows `written`."""
        return Open(at=at, written=written, allowed=self._rules.allowed(written))

    def _verify(self, row: Row, draft: Sequence[int], likeliest: Sequence[tuple[Open, Found]]) -> None:
        """Take the draft's tokens for as long as they are the likeliest, and the likeliest one after them."""
        for depth, (asked, found) in enumerate(likeliest):
            if row.done or len(row.ids) >= self._plan.length - 1:
                return
            _add(row, found, asked)
            if draft[depth : depth + 1] != row.ids[-1:]:
                return


def _add(row: Row, found: Found, asked: Open) -> None:
    log_p, _, token = found
    row.add(token, math.exp(log_p), forced=asked.allowed is not None and len(asked.allowed) == 1)
