"""Writing with the causal direction along several beams: the likeliest middle, not the likeliest next token.

All beams go through one forward together, which on small models costs little more than one of them alone. A
forward also takes what a draft proposes behind a beam's last token: where that turns out to be what the
search does anyway, the next forwards are spared. What is found is the same whatever is proposed. Texts that
end alike are one: a line may end with the end marker or with any token that begins the next line.

Where the layers are C the search goes on there (`engine/native/search.h`), without the interpreter, as soon
as only the model, the text around and the line's end have a say in it. Both find the same.

Source: beam search as in Sutskever et al., "Sequence to sequence learning with neural networks", arXiv
1409.3215; drafts as in `engine.causal.verified`.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator, Sequence
from itertools import islice

import torch
from torch import Tensor

from engine.caches.continuation import Continuation
from engine.caches.prefix import PrefixCache, last_state
from engine.causal.in_c import InC, given_to_c
from engine.causal.middles import LONGEST_DRAFT, Beam, Drafts, Propose, Row, Rules, drive, forward_length
from engine.causal.next_token import Around, Open
from engine.causal.ngram_cache import NgramCache
from engine.causal.search_in_c import Given, SearchInC
from engine.denoising.denoiser import Draft, Plan
from engine.networks.network import Network
from engine.text.special import Special

_MARGINS = 5.0, 3.0
"""Nats: a beam so much less likely than the best one is given up, and likewise once there are whole texts to
compare it with."""

_WIDE_MARGINS = 8.0, 8.0

_LOOKED_AT = 3
"""How many continuations are looked at for each beam: more than one, since some end a text alike."""


@torch.inference_mode()
def search(
    model: Network,
    cache: PrefixCache,
    plan: Plan,
    rules: Rules,
    propose: Propose,
    cancelled: threading.Event,
    ngrams: NgramCache | None = None,
    *,
    width: int,
    wide: bool = False,
) -> Iterator[Draft]:
    """Find up to `plan.batch` likely middles of less than `plan.length` tokens behind the prefix in `cache`.

    Rows are in order of their probability, the likeliest first; fewer than asked for where the others are
    far less likely. Yields a draft after every forward, as `engine.causal.verified.write` does, and takes the
    same arguments; `width` is how many beams are followed, of which less is given up in a `wide` search.

    Raises:
        InvalidRequest: prompt and canvas are longer than the model has positions for.
    """
    longest = model.config.max_position_embeddings
    yield from drive(
        lambda: _Beams(model, cache, plan, rules, propose, ngrams, width, wide),
        cache,
        longest,
        plan,
        cancelled,
    )


class _Beams:
    """The search on its way. All open beams are equally long, so that one forward takes them all."""

    def __init__(
        self,
        model: Network,
        cache: PrefixCache,
        plan: Plan,
        rules: Rules,
        propose: Propose,
        ngrams: NgramCache | None,
        width: int,
        wide: bool,
    ) -> None:
        self._model, self._plan, self._rules = model, plan, rules
        self._margin, self._finished_margin = _WIDE_MARGINS if wide else _MARGINS
        self._width = max(width, plan.batch)
        self._around = Around(cache.tokens, ngrams)
        self._drafts = Drafts(propose, self._around.before, rules, plan.length)
        self._finished: list[Beam] = []
        self._open = [Beam(row=Row(), total=0.0, source=0)]
        self._written = Continuation(model, cache, len(cache), self._width, plan.length + 1 + LONGEST_DRAFT)
        first = model.logits(last_state(model, cache))
        given = given_to_c(self._around, first, plan, rules, propose, self._width, apart=False)
        self._in_c = InC(self._written, given if rules.barred is Rules.barred else None, rules)
        if self._gone_on_in_c(0.0, first) is None:
            self._advance(first, [[]])

    @property
    def rows(self) -> list[Row]:
        """What is found so far, and behind it the open beams as far as there is room."""
        if self._in_c.searching is not None:
            return [*islice(self._in_c.searching.rows, self._plan.batch)]
        return [beam.row for beam in [*self._finished, *self._open][: self._plan.batch]]

    @property
    def done(self) -> bool:
        """Whether no open beam can change what is found."""
        return self._in_c.searching.done if self._in_c.searching is not None else not self._open

    def forward(self, seconds: float) -> int:
        """Go on by one forward or, in C, by several for as long as `seconds`; how many it were."""
        forwards = self._gone_on_in_c(seconds)
        if forwards is None:
            self._forward()
        return forwards or 1

    def _gone_on_in_c(self, seconds: float, first: Tensor | None = None) -> int | None:
        """By how many forwards the search has gone on in C, where it begins with the first token's logits
        `first`; None where it has not."""
        rows = [beam.row for beam in self._open]
        return self._in_c.go_on(seconds, rows, lambda given: self._handed_over(given, first))

    def _handed_over(self, given: Given, first: Tensor | None) -> SearchInC:
        return SearchInC(
            self._open,
            self._finished,
            given,
            first=first,
            width=self._width,
            looked_at=_LOOKED_AT * self._width,
            batch=self._plan.batch,
            margin=self._margin,
            finished_margin=self._finished_margin,
        )

    def _forward(self) -> None:
        """Read every open beam's last token and its draft, and go on for as far as that reaches."""
        beams = self._open
        alone = len(beams) == 1
        drafts = [self._drafts.of(beam.row) if alone else [] for beam in beams]
        count = forward_length(self._model, drafts)
        # One row or all of them where every new shape costs.
        idle = self._width - len(beams) if self._model.pads and not alone else 0
        rows = [*beams, *[beams[0]] * idle]
        inputs = [[row.row.ids[-1], *drafts[0]] if alone else row.row.ids[-1:] for row in rows]
        ids = [known + [Special.PAD.value] * (count - len(known)) for known in inputs]
        at = [len(beams[0].row.ids) - 1] * len(rows)
        logits = self._written.read(ids, at, [beam.source for beam in rows])
        self._open = [Beam(row=beam.row, total=beam.total, source=index) for index, beam in enumerate(beams)]
        self._advance(logits, drafts)

    def _advance(self, logits: Tensor, drafts: Sequence[Sequence[int]]) -> None:
        """Go on with what a forward says, `logits` (rows, count, vocab), for as long as every open beam is
        where its row's draft is."""
        for depth in range(logits.shape[1]):
            self._sort(self._grown(logits, depth))
            if not self._open:
                return
            if not all(drafts[beam.source][depth : depth + 1] == beam.row.ids[-1:] for beam in self._open):
                return

    def _grown(self, logits: Tensor, depth: int) -> list[Beam]:
        """The likeliest continuations of all open beams, whose next tokens' logits are those at `depth` of
        their rows in `logits` (rows, count, vocab); those that end one alike are one."""
        rows = [
            Open(
                at=beam.source * logits.shape[1] + depth,
                written=beam.row.ids,
                total=beam.total,
                allowed=self._rules.allowed(beam.row.ids),
            )
            for beam in self._open
        ]
        found: dict[tuple[int, bool, int], Beam] = {}
        barred: dict[tuple[int, bool, int], Beam] = {}  # what is better than nothing
        top = self._around.likeliest(logits, rows, _LOOKED_AT * self._width)
        first, best = top[0][0], -math.inf  # of all, and of those that are not barred
        for total, index, token in top:
            if total < best - self._margin:  # no use
                break
            beam, only = self._open[index], rows[index].allowed
            child = beam.then(token, math.exp(total - beam.total), forced=only is not None and len(only) == 1)
            is_barred = self._rules.barred(child.row.ids)
            if is_barred and total < first - self._margin:
                continue
            best = max(best, -math.inf if is_barred else total)
            child.row.settle(self._rules, self._plan.length)
            key = index, child.row.ended, 0 if child.row.ended else token
            into = barred if is_barred else found
            into[key] = into[key].or_else(child) if key in into else child
        return list((found or barred).values())

    def _sort(self, grown: list[Beam]) -> None:
        """Keep the best of all beams: those that are done, and those worth going on with."""
        grown.sort(key=lambda beam: -beam.total)
        kept = grown[: self._width]
        self._finished += [beam for beam in kept if beam.row.done]
        self._finished.sort(key=lambda beam: -beam.total)
        del self._finished[self._plan.batch :]
        best = max(beam.total for beam in [*self._finished, *kept])
        enough = len(self._finished) == self._plan.batch
        least = max(best - self._margin, self._finished[-1].total if enough else -math.inf)
        whole = [beam.total for beam in self._finished if len(beam.row.ids) > 1]
        if len(whole) > 1:  # something to choose among, for whoever knows more of what fits
            least = max(least, whole[0] - self._finished_margin)
        self._open = [beam for beam in kept if not beam.row.done and beam.total > least]
