"""Middles on their way, written left to right: what rules ask of them, what is drafted, when to stop.

What `engine.causal.verified` and `engine.causal.beams` have in common. Speaks token ids; text rules come as
callables.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np
import torch

from engine.caches.prefix import PrefixCache
from engine.causal.next_token import ENDS
from engine.causal.ngram_cache import NgramCache
from engine.denoising.denoiser import Draft, Plan
from engine.errors import InvalidRequest
from engine.networks.network import Network
from engine.request import Stop
from engine.text.special import Special

Propose = Callable[[Sequence[int], Sequence[int]], Sequence[int]]
"""(text before the middle, written) -> what may come next, in order; empty where there is no idea."""

LONGEST_DRAFT = 11
"""Tokens of a draft that are looked at."""

_LENGTHS = (1, 4, 1 + LONGEST_DRAFT)
"""How many tokens of a row go through one forward where every new shape costs."""

_LONGEST_UNSEEN_MS = 5.0
"""For how long a run may go on before anybody looks whether it is still wanted."""

_SPECIAL = frozenset(ENDS)


@dataclass(frozen=True, kw_only=True)
class Rules:
    """What text asks of the tokens written.

    `allowed` gives the ids that may come next, None where any may; `end` the index at which the middle has
    ended by itself, such as with its line, None where it goes on; `barred` whether a middle is none to write,
    which only a search asks, having others to write instead; where there are none it is written.
    """

    allowed: Callable[[Sequence[int]], Sequence[int] | None] = lambda _written: None
    end: Callable[[Sequence[int]], int | None] = lambda _written: None
    barred: Callable[[Sequence[int]], bool] = lambda _written: False


@dataclass(kw_only=True)
class Row:
    """One middle being written; `probabilities` are those of its tokens, the last one that of its end.

    `forced` is where there was no choice; `ended` says that it is whole, `full` that there is no more room.
    """

    ids: list[int] = field(default_factory=list)
    probabilities: list[float] = field(default_factory=list)
    forced: list[bool] = field(default_factory=list)
    ended: bool = False
    full: bool = False

    @property
    def done(self) -> bool:
        """Whether nothing more is written."""
        return self.ended or self.full

    def add(self, token: int, probability: float, *, forced: bool) -> None:
        """Go on with a token."""
        self.ids.append(token)
        self.probabilities.append(probability)
        self.forced.append(forced)
        self.ended = token in _SPECIAL

    def settle(self, rules: Rules, length: int) -> None:
        """End where the middle has ended by itself, or has filled its canvas of `length` tokens."""
        if self.done:
            return
        end = rules.end(self.ids)
        if end is not None:
            # The token that began what comes after is the end's own: its probability is how sure the end is.
            self.ids[end:] = [Special.EOM.value]
            del self.probabilities[end + 1 :], self.forced[end + 1 :]
            self.ended = True
        elif len(self.ids) >= length - 1:
            self.full = True


@dataclass(frozen=True, kw_only=True)
class Beam:
    """A middle with its log-probability; `source` is the row of the last forward that read it so far."""

    row: Row
    total: float
    source: int

    def then(self, token: int, probability: float, *, forced: bool) -> Beam:
        row = Row(
            ids=[*self.row.ids],
            probabilities=[*self.row.probabilities],
            forced=[*self.row.forced],
        )
        row.add(token, probability, forced=forced)
        return Beam(row=row, total=self.total + _log(probability), source=self.source)

    def or_else(self, other: Beam) -> Beam:
        """This text, as likely as it and one that differs from it in its last token are together."""
        probability = self.row.probabilities[-1] + other.row.probabilities[-1]
        before = self.total - _log(self.row.probabilities[-1])
        self.row.probabilities[-1] = probability
        return replace(self, total=before + _log(probability))


def no_draft(_before: Sequence[int], _written: Sequence[int]) -> Sequence[int]:
    """Proposes nothing: tokens come one by one."""
    return ()


@dataclass(frozen=True)
class FromText:
    """Proposes what followed the same tokens in the text around, or in the middle; see `NgramCache.draft`."""

    ngrams: NgramCache

    def __call__(self, before: Sequence[int], written: Sequence[int]) -> Sequence[int]:
        return self.ngrams.draft(before, written, LONGEST_DRAFT)


class Drafts:
    """What may come next on a row, for a forward to verify; `before` is the text before the middle."""

    def __init__(self, propose: Propose, before: Sequence[int], rules: Rules, length: int) -> None:
        self._propose, self._before, self._rules, self._length = propose, before, rules, length

    def of(self, row: Row) -> list[int]:
        """Up to `LONGEST_DRAFT` tokens: none where rules bind the row, no more than there is room for."""
        if self._rules.allowed(row.ids) is not None:
            return []
        room = self._length - 1 - len(row.ids)
        return list(self._propose(self._before, row.ids))[: max(0, min(room, LONGEST_DRAFT))]


def forward_length(network: Network, drafts: Sequence[Sequence[int]]) -> int:
    """How many tokens of each row go through one forward: its last one, and the longest draft."""
    wanted = 1 + max(map(len, drafts))
    return next(length for length in _LENGTHS if length >= wanted) if network.pads else wanted


class Run(Protocol):
    """Middles being written; making one does the first forward."""

    @property
    def rows(self) -> Sequence[Row]:
        """The middles as they are now, the best first where there is a best."""

    @property
    def done(self) -> bool:
        """Whether there is nothing left to do."""

    def forward(self, seconds: float) -> int:
        """Go on by one forward, or by several for as long as `seconds`; how many it were."""


def drive(
    start: Callable[[], Run], cache: PrefixCache, longest: int, plan: Plan, cancelled: threading.Event
) -> Iterator[Draft]:
    """A draft after every forward of a run, or some (`Plan.frame_ms`); the last one says why it was the last.

    Raises:
        InvalidRequest: prompt and canvas are longer than `longest`, the positions the model has.
    """
    started = time.perf_counter() if plan.started is None else plan.started
    if len(cache) + plan.length > longest:
        raise InvalidRequest(
            f"{len(cache)} prompt tokens and a canvas of {plan.length} exceed the model's {longest} positions"
        )
    run: Run | None = None
    number, shown_ms = 0, 0.0
    while True:
        if cancelled.is_set():
            if run is not None:
                yield _draft(run.rows, plan, number, _ms_since(started), Stop.CANCELLED)
            return
        forward_started = time.perf_counter()
        if run is None:
            run, forwards = start(), 1
        else:
            forwards = run.forward(_unseen_s(plan, _ms_since(started), shown_ms))
        number += forwards
        elapsed_ms, forward_ms = _ms_since(started), _ms_since(forward_started) / forwards
        stop = _stop(run, plan, elapsed_ms, forward_ms)
        if stop is not None or elapsed_ms - shown_ms >= plan.frame_ms:
            shown_ms = elapsed_ms
            yield _draft(run.rows, plan, number, elapsed_ms, stop)
        if stop is not None:
            return


def _unseen_s(plan: Plan, elapsed_ms: float, shown_ms: float) -> float:
    """For how long nobody needs to look at how far a run has come."""
    left_ms = math.inf if plan.deadline_ms is None else plan.deadline_ms - elapsed_ms
    return min(left_ms, shown_ms + plan.frame_ms - elapsed_ms, _LONGEST_UNSEEN_MS) / 1000


def _stop(run: Run, plan: Plan, elapsed_ms: float, forward_ms: float) -> Stop | None:
    if run.done:
        return Stop.CONFIDENT if all(row.ended for row in run.rows) else Stop.STEPS
    if plan.deadline_ms is not None and elapsed_ms + forward_ms > plan.deadline_ms:
        return Stop.DEADLINE
    return None


def _draft(rows: Sequence[Row], plan: Plan, number: int, elapsed_ms: float, stop: Stop | None) -> Draft:
    """The rows as canvases: what is not written yet is padding without a probability."""

    def padded(values: Sequence[float], fill: float) -> list[float]:
        return [*values, *[fill] * (plan.length - len(values))]

    return Draft(
        number=number,
        # By way of numpy, which takes a tenth of the time for lists of lists.
        tokens=torch.from_numpy(np.array([padded(row.ids, Special.PAD.value) for row in rows], np.int64)),
        confidence=torch.from_numpy(np.array([padded(row.probabilities, 0.0) for row in rows], np.float32)),
        free=~torch.from_numpy(np.array([padded(row.forced, True) for row in rows], np.bool_)),
        steps=torch.tensor([number] * len(rows)),
        elapsed_ms=elapsed_ms,
        stop=stop,
        ended=[row.ended for row in rows],
    )


def _ms_since(started: float) -> float:
    return 1e3 * (time.perf_counter() - started)


def _log(probability: float) -> float:
    return math.log(max(probability, 1e-12))
