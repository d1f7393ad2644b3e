"""The other direction of the same weights: the encoder as a left-to-right language model.

Scores finished middles given the prefix, and writes them greedily, which is the baseline the denoiser is
measured against. Speaks token ids; knows nothing of canvases or text.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain, count

import torch

from engine.cache import PrefixCache, encode_prefix, last_state
from engine.continuation import Continuation
from engine.network import Network, rows_for
from engine.next_token import log_probabilities
from engine.special import Special


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
    longest = rows_for(model, max(len(row) for row in rows))
    padded = [row + [Special.PAD.value] * (longest - len(row)) for row in rows]
    logits = Continuation(model, cache, last, len(rows), longest).read(padded, [0] * len(rows))
    # What follows the last one is not asked; it is given an id so that rows stay as long as they are.
    following = [[*row[1:], Special.PAD.value] for row in padded]
    chosen = log_probabilities(logits, [*chain.from_iterable(following)])
    return [chosen[first : first + len(row) - 1] for first, row in zip(count(0, longest), rows, strict=False)]


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
