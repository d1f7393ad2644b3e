"""The likeliest next tokens of middles being written: the model's word, and that of the text around.

What the text says (see `engine.causal.ngram_cache`) is interpolated with the model's distribution, but never
where a middle ends: that is for the model to say. Speaks token ids; knows nothing of how a search goes on.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from engine.causal import likeliest_in_c as compiled
from engine.causal.likeliest_in_c import Chooser
from engine.causal.ngram_cache import LONGEST, Mixture, NgramCache
from engine.native.sampling import can_choose
from engine.text.special import Special

Found = tuple[float, int, int]
"""(log-probability in nats, index of the row, token id)."""

ENDS = [int(special) for special in Special]
"""Any of them ends a middle."""

_LEAST = 1e-30


@dataclass(frozen=True, kw_only=True)
class Open:
    """A row whose next token is asked for: the index `at` of its logits, the tokens `written` so far, their
    log-probability `total`, and the ids that are `allowed` next; None is any."""

    at: int
    written: Sequence[int] = ()
    total: float = 0.0
    allowed: Sequence[int] | None = None


class Around:
    """What comes next behind a prompt, special tokens included, by the model and by the text around it."""

    def __init__(self, prompt: Sequence[int], ngrams: NgramCache | None) -> None:
        end = len(prompt)
        while end and prompt[end - 1] in ENDS:  # a middle goes on from the text before them
            end -= 1
        self.before = prompt[:end]
        self._ngrams, self._context = ngrams, self.before[-LONGEST:]
        self._chooser: Chooser | None = None

    def chooser(self, logits: Tensor) -> Chooser | None:
        """What chooses in C, among logits (rows, vocab) such as these; None where that is for torch to do."""
        if not can_choose(logits):
            return None
        if self._chooser is None:
            texts = self._ngrams.texts_in_c if self._ngrams is not None else []
            self._chooser = Chooser(texts, logits.shape[-1], ENDS)
        return self._chooser

    def likeliest(self, logits: Tensor, rows: Sequence[Open], count: int) -> list[Found]:
        """The `count` likeliest next tokens of all `rows`, the best first; fewer where fewer are allowed.

        `logits` (.., vocab) float32 are the model's; they count as laid out in rows.
        """
        return self._likeliest(logits, rows, count, apart=False)[0]

    def likeliest_of_each(self, logits: Tensor, rows: Sequence[Open], count: int) -> list[list[Found]]:
        """The `count` likeliest next tokens of each of `rows`; see `likeliest`."""
        return self._likeliest(logits, rows, count, apart=True)

    def _likeliest(
        self, logits: Tensor, rows: Sequence[Open], count: int, *, apart: bool
    ) -> list[list[Found]]:
        vocab = logits.shape[-1]
        logits = logits.reshape(-1, vocab)
        contexts = [self._before(row) for row in rows]
        chooser = self.chooser(logits)
        if chooser is not None:
            return chooser.likeliest(logits, rows, contexts, count, apart=apart)
        said = self._ngrams.said if self._ngrams is not None else _nothing
        return _in_torch(logits, rows, [said(context) for context in contexts], count, apart=apart)

    def _before(self, row: Open) -> Sequence[int]:
        """The last tokens before the row's next one; none where nobody asks for them."""
        if self._ngrams is None:
            return ()
        return [*self._context, *row.written[-LONGEST:]][-LONGEST:]


def log_probabilities(logits: Tensor, ids: Sequence[int]) -> list[float]:
    """The log-probability in nats of each of `ids` under its row of `logits`, laid out as in `likeliest`."""
    logits = logits.reshape(-1, logits.shape[-1])
    if can_choose(logits):
        return compiled.log_probabilities(logits, ids)
    chosen = torch.tensor(ids, device=logits.device)[:, None]
    values: list[float] = logits.log_softmax(-1).gather(-1, chosen)[:, 0].tolist()
    return values


def _nothing(_context: Sequence[int]) -> None:
    return None


def _in_torch(
    logits: Tensor, rows: Sequence[Open], said: Sequence[Mixture | None], count: int, *, apart: bool
) -> list[list[Found]]:
    own = logits[torch.tensor([row.at for row in rows], device=logits.device)].log_softmax(-1)
    for log_p, row, mixture in zip(own, rows, said, strict=True):
        if mixture is not None:
            _mix_in(log_p, *mixture)
        if row.allowed is not None:
            _only(log_p, row.allowed)
    own += torch.tensor([row.total for row in rows], device=own.device)[:, None]
    vocab = own.shape[1]
    best = (own if apart else own.view(1, -1)).topk(min(count, vocab if apart else own.numel()))
    out = []
    for index, (values, places) in enumerate(zip(best.values.tolist(), best.indices.tolist(), strict=True)):
        pairs = zip(values, places, strict=True)
        first = index * vocab if apart else 0
        out.append([(value, *divmod(first + place, vocab)) for value, place in pairs if value > -math.inf])
    return out


def _mix_in(log_p: Tensor, share: float, added: dict[int, float]) -> None:
    """Have what was said in log-probabilities (vocab,), in place."""
    ends = log_p[ENDS]
    going_on = 1.0 - float(ends.exp().sum())
    tokens = list(added)
    more = torch.tensor([*added.values()], device=log_p.device) * going_on
    mixed = (log_p[tokens].exp() * share + more).clamp_min_(_LEAST).log_()
    log_p += math.log(share)
    log_p[tokens] = mixed
    log_p[ENDS] = ends


def _only(log_p: Tensor, allowed: Sequence[int]) -> None:
    """Have only the allowed tokens in log-probabilities (vocab,), in place."""
    kept = log_p[list(allowed)].log_softmax(-1)
    log_p.fill_(-torch.inf)
    log_p[list(allowed)] = kept
