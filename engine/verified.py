"""Writing with the causal direction, several tokens at a time: one forward verifies what a draft proposes.

The text is exactly what greedy causal decoding writes, whatever is proposed; a proposal only saves
forwards where it is right. Each row but the first begins with another first token, which is how
alternatives come about. Speaks token ids; text rules and drafts come as callables.

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

from engine.cache import PrefixCache, after_cache
from engine.denoiser import Draft, Plan
from engine.errors import InvalidRequest
from engine.network import Network
from engine.request import Stop
from engine.special import Special

Propose = Callable[[Sequence[int], Sequence[int]], Sequence[int]]
"""(prompt, written) -> what may come next, in order; empty where there is no idea."""

_LONGEST_DRAFT = 8
_BLOCK = 16  # rows are padded to a multiple: every new shape costs the libraries memory that they keep
_SPECIAL = frozenset(int(special) for special in Special)


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
        self.ended = token in _SPECIAL  # any of them ends a middle


@torch.inference_mode()
def write(
    model: Network,
    cache: PrefixCache,
    plan: Plan,
    rules: Rules,
    propose: Propose,
    cancelled: threading.Event,
) -> Iterator[Draft]:
    """Write `plan.batch` middles of less than `plan.length` tokens behind the prefix in `cache`.

    Yields a draft after every forward; the cache is only read. Steps, temperatures and pins of `plan` do
    not count here.

    Raises:
        InvalidRequest: prompt and canvas are longer than the model has positions for.
    """
    started = time.perf_counter() if plan.started is None else plan.started
    if len(cache) + plan.length > model.config.max_position_embeddings:
        raise InvalidRequest(
            f"{len(cache)} prompt tokens and a canvas of {plan.length} exceed the model's "
            f"{model.config.max_position_embeddings} positions"
        )
    rows: list[_Row] = [_Row()]
    number = 0
    while True:
        if cancelled.is_set():
            if number:
                yield _draft(rows, plan, number, _ms_since(started), Stop.CANCELLED)
            return
        forward_started = time.perf_counter()
        open_rows = [row for row in rows if not row.done]
        drafts = [_proposed(cache, row, rules, propose, plan.length) for row in open_rows]
        logits = _logits(model, cache, open_rows, drafts)
        if number == 0 and plan.batch > 1:
            rows = _branch(logits[0, 0], plan.batch, rules)
        else:
            for row, draft, row_logits in zip(open_rows, drafts, logits, strict=True):
                _verify(row, draft, row_logits, rules, plan.length)
        number += 1
        for row in rows:
            _settle(row, rules, plan.length)
        elapsed_ms, forward_ms = _ms_since(started), _ms_since(forward_started)
        stop = _stop(rows, plan, elapsed_ms, forward_ms)
        yield _draft(rows, plan, number, elapsed_ms, stop)
        if stop is not None:
            return


def repeat_context(prompt: Sequence[int], written: Sequence[int]) -> Sequence[int]:
    """What followed the last time the same three, two or one tokens stood in the text; the newest first."""
    text = [*prompt, *written]
    for length in (3, 2, 1):
        tail = text[-length:]
        for start in range(len(text) - length - 1, -1, -1):
            if text[start : start + length] == tail:
                return text[start + length : start + length + _LONGEST_DRAFT]
    return ()


def _proposed(cache: PrefixCache, row: _Row, rules: Rules, propose: Propose, length: int) -> list[int]:
    """A draft for a row: none at its start, where rules bind it and a batch may branch."""
    if not row.ids or rules.allowed(row.ids) is not None:
        return []
    room = length - 1 - len(row.ids)
    return list(propose(cache.tokens, row.ids))[: max(0, min(room, _LONGEST_DRAFT))]


def _logits(
    model: Network, cache: PrefixCache, rows: Sequence[_Row], drafts: Sequence[Sequence[int]]
) -> Tensor:
    """Logits (rows, longest draft + 1, vocab) of what follows each row, and each token of its draft."""
    last = len(cache) - 1  # the state that predicts a middle's first token is the last prefix token's
    inputs = [[cache.tokens[last], *row.ids, *draft] for row, draft in zip(rows, drafts, strict=True)]
    longest = -(-max(len(ids) for ids in inputs) // _BLOCK) * _BLOCK
    ids = torch.tensor([i + [Special.PAD.value] * (longest - len(i)) for i in inputs], device=cache.device)
    positions = torch.arange(last, last + longest, device=cache.device)[None]
    states = model.encode(ids, positions, after_cache(cache, last, longest))
    first = torch.tensor([len(row.ids) for row in rows], device=cache.device)[:, None]
    wanted = first + torch.arange(1 + max(len(draft) for draft in drafts), device=cache.device)
    index = wanted.clamp(max=longest - 1)[..., None].expand(-1, -1, states.shape[-1])
    logits: Tensor = model.logits(states.gather(1, index))
    return logits


def _branch(logits: Tensor, count: int, rules: Rules) -> list[_Row]:
    """Rows that begin with the likeliest `count` first tokens; `logits` (vocab,)."""
    masked, allowed = _masked(logits, rules.allowed([]))
    top = masked.topk(min(count, logits.shape[-1] if allowed is None else len(allowed)))
    normal = masked.logsumexp(-1)
    rows = []
    for value, token in zip(top.values, top.indices.tolist(), strict=True):
        row = _Row()
        row.add(token, float((value - normal).exp()), forced=False)
        rows.append(row)
    return rows


def _verify(row: _Row, draft: Sequence[int], logits: Tensor, rules: Rules, length: int) -> None:
    """Take the draft's tokens for as long as they are the likeliest, and the likeliest one after them.

    `logits` (at least draft + 1, vocab).
    """
    free = logits[: len(draft) + 1]
    likeliest = free.argmax(-1).tolist()
    probabilities = free.softmax(-1).gather(-1, free.argmax(-1, keepdim=True))[:, 0].tolist()
    allowed = rules.allowed(row.ids)
    if allowed is not None:
        masked, _ = _masked(logits[0], allowed)
        token = int(masked.argmax())
        row.add(token, float(masked.softmax(-1)[token]), forced=len(allowed) == 1)
        return
    for at, token in enumerate(likeliest):
        if row.done or len(row.ids) >= length - 1:
            return
        row.add(token, probabilities[at], forced=False)
        if at < len(draft) and draft[at] != token:
            return


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
