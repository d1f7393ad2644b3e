"""The other direction of the same weights: the encoder as a left-to-right language model.

Scores finished middles given the prefix, many that begin alike at once, and writes them greedily, which is
the baseline the denoiser is measured against. Speaks token ids; knows nothing of canvases or text.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from itertools import accumulate, chain, count

import torch
from torch import Tensor

from engine.caches.continuation import Continuation
from engine.caches.prefix import PrefixCache, encode_prefix, last_state
from engine.causal.next_token import log_probabilities
from engine.networks.network import Network, rows_for
from engine.text.special import Special


def score(
    model: Network, cache: PrefixCache, middles: Sequence[Sequence[int]], end: int = Special.EOM
) -> list[float]:
    """Mean log-probability per token of each middle after the prefix in `cache`, in nats, one forward.

    Each middle counts with `end`, the end-of-middle token, behind it. The cache is only read.
    """
    return [sum(row) / len(row) for row in token_scores(model, cache, middles, end)]


@torch.inference_mode()
def token_scores(
    model: Network, cache: PrefixCache, middles: Sequence[Sequence[int]], end: int = Special.EOM
) -> list[list[float]]:
    """The log-probability in nats of each token of each middle, and of the end behind it, one forward."""
    last = len(cache) - 1  # the state that predicts a middle's first token is the last prefix token's
    rows = [[cache.tokens[last], *middle, end] for middle in middles]
    padded, width = _padded(model, [row[:-1] for row in rows])
    logits = Continuation(model, cache, last, len(rows), width).read(padded, [0] * len(rows))
    return _of_next(logits, rows, width)


def _padded(model: Network, rows: Sequence[Sequence[int]]) -> tuple[list[list[int]], int]:
    """Rows of one length, and that."""
    width = rows_for(model, max(map(len, rows)))
    return [[*row, *[Special.PAD.value] * (width - len(row))] for row in rows], width


def _of_next(logits: Tensor, rows: Sequence[Sequence[int]], width: int) -> list[list[float]]:
    """The log-probability of each token of each row but the first, the one before it being where
    `logits` (rows, width, vocab) say what is next."""
    # What follows the last ones is not asked; they are given an id so that rows stay as long as they are.
    following = [[*row[1:], *[Special.PAD.value] * (width + 1 - len(row))] for row in rows]
    chosen = log_probabilities(logits, [*chain.from_iterable(following)])
    return [chosen[first : first + len(row) - 1] for first, row in zip(count(0, width), rows, strict=False)]


class Trunks:
    """Beginnings of middles behind the prefix in `cache`, read in one forward, each as often as it occurs
    alone; what branches off from them is read without them. The cache is only read.

    There is room for `branches` of `longest` tokens, beginning and rest together.
    """

    @torch.inference_mode()
    def __init__(
        self,
        model: Network,
        cache: PrefixCache,
        beginnings: Collection[tuple[int, ...]],
        *,
        branches: int,
        longest: int,
    ) -> None:
        self._model = model
        self._at: dict[tuple[int, ...], int] = {}  # the row of each beginning, and of what they begin with
        rows: list[tuple[int, ...]] = []
        for beginning in sorted({*beginnings}, key=len, reverse=True):
            if beginning not in self._at:
                self._at |= {beginning[:length]: len(rows) for length in range(len(beginning) + 1)}
                rows.append(beginning)
        last = len(cache) - 1
        read = [[cache.tokens[last], *row] for row in rows]
        self._room = Continuation(model, cache, last, max(branches, len(rows)), rows_for(model, longest + 1))
        padded, width = _padded(model, read)
        self._logits = self._room.read(padded, [0] * len(rows))
        of_rows = _of_next(self._logits, read, width)
        self._totals = [[0.0, *accumulate(scores)] for scores in of_rows]

    @torch.inference_mode()
    def first(self, beginnings: Sequence[tuple[int, ...]], tokens: Sequence[int]) -> list[float]:
        """The log-probability in nats of each beginning and the token behind it."""
        rows = [self._at[beginning] for beginning in beginnings]
        behind = self._logits[rows, [len(beginning) for beginning in beginnings]]
        read = [self._totals[row][len(each)] for row, each in zip(rows, beginnings, strict=True)]
        return [a + b for a, b in zip(read, log_probabilities(behind, tokens), strict=True)]

    @torch.inference_mode()
    def rest(self, beginnings: Sequence[tuple[int, ...]], tails: Sequence[Sequence[int]]) -> list[float]:
        """The log-probability in nats of each tail, less that of its first token, behind its beginning."""
        padded, width = _padded(self._model, [tail[:-1] for tail in tails])
        if not width:
            return [0.0] * len(tails)
        sources = [self._at[beginning] for beginning in beginnings]
        logits = self._room.read(padded, [len(beginning) + 1 for beginning in beginnings], sources)
        return [sum(row) for row in _of_next(logits, tails, width)]


@torch.inference_mode()
def write_greedily(
    model: Network, cache: PrefixCache, prefix: Sequence[int], limit: int, *, to_the_limit: bool = False
) -> list[int]:
    """Up to `limit` tokens after `prefix`, each the likeliest, ending before the end-of-middle token.

    Going on `to_the_limit` instead makes runs comparable. Leaves the cache with the prefix alone.
    """
    encode_prefix(model, cache, prefix)
    logits = model.logits(last_state(model, cache))
    room = Continuation(model, cache, len(cache), 1, limit)
    written: list[int] = []
    while len(written) < limit:
        token = int(logits.argmax())
        if token == Special.EOM and not to_the_limit:
            break
        logits = room.read([[token]], [len(written)])
        written.append(token)
    return written
