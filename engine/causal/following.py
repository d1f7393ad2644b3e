"""Where a line goes on behind its hole: the middle from which it is likeliest to go on.

Middles are written by a model that has seen what comes after the hole but reads only forwards: it may say
that once more, or stop too late. So a middle may end with any of the tokens that were written, and does where
they begin to say what follows anyway. From which of all these the line goes on is a question that the same
model can answer: it scores each together with the rest of the line, from a prompt that does not show it.
What lies on the lines below says nothing more: a line is then chosen for what it has in common with them.

Source: the noisy channel, as in Yee et al., "Simple and Effective Noisy Channel Modeling for Neural Machine
Translation", arXiv 1908.05731.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import accumulate
from typing import NamedTuple

from engine.caches.prefix import PrefixCache
from engine.causal.scores import Trunks
from engine.networks.network import Network
from engine.request import Canvas, Prompt
from engine.text.tokenizer import Tokenizer

_WEIGHT = 0.6  # of the score with the rest of the line, beside the middle's own
_STOPPED = 4.0  # nats: what it counts against a middle that went on when it was written
_MOST_CHARS = 80
_LEAST = 1e-12
_READ = 12
"""How many middles are read with all of the rest, after its first token has told the others not to be among
the best. Of these, whole ones are kept: what is written to its end more often fits the text around."""


def rest_of_line(prompt: Prompt) -> str:
    """What follows the hole on its line, some of it where that is much; "" where it is blank."""
    rest = prompt.suffix.partition("\n")[0][:_MOST_CHARS]
    return rest if rest.strip() else ""


def unseen(prompt: Prompt) -> Prompt:
    """The prompt without the rest of the line, and without what was typed: middles begin with it."""
    suffix = prompt.suffix[len(rest_of_line(prompt)) :]
    return replace(prompt, suffix=suffix, typed="", before="", after="", nearby=())


class Ending(NamedTuple):
    """A middle that ends in the token `last` of the row of that index, of which it has the text `tail`.

    `own` is its log-probability in nats, `ran_on` what the row went on with of what follows anyway. `whole`
    says that the row has nothing else behind it.
    """

    text: str
    row: int
    last: int
    tail: str
    own: float
    ran_on: str
    whole: bool


def endings(canvases: Sequence[Canvas], prompt: Prompt, *, anywhere: bool) -> list[Ending]:
    """All middles that rows begin with, no two alike, each with the likeliest reading of it; only whole rows,
    less what follows anyway, if they may not end `anywhere`. Words are not cut, unless the hole ends in one.
    """
    rest, found = rest_of_line(prompt), dict[str, Ending]()
    for row, canvas in enumerate(canvases):
        for each in _endings_of(canvas, row, rest, anywhere=anywhere):
            known = found.get(each.text)
            if known is not None:
                ran_on = max(known.ran_on, each.ran_on, key=len)
                each = max(known, each, key=lambda reading: reading.own)._replace(ran_on=ran_on)
            found[each.text] = each
    return [each for each in found.values() if each.text[len(prompt.typed) :].strip()]


def _endings_of(canvas: Canvas, row: int, rest: str, *, anywhere: bool) -> Iterator[Ending]:
    ends = [*accumulate(len(token.text) for token in canvas.tokens)]
    totals = [*accumulate(math.log(max(token.confidence, _LEAST)) for token in canvas.tokens)]
    whole = len(ends) - 1
    for at in range(0 if anywhere else max(0, whole), len(ends)):
        reached = ends[at]
        if _in_word(canvas.text, reached) and not _in_word(rest, 0):
            continue
        own = canvas.total if at == whole else totals[at] - _STOPPED
        for end in _cuts(canvas.text[:reached], rest):
            last = bisect_left(ends, end)
            start = ends[last - 1] if last else 0
            text, tail, ran_on = canvas.text[:end], canvas.text[start:end], canvas.text[end:reached]
            yield Ending(text, row, last, tail, own, ran_on, at == whole)


def _in_word(text: str, at: int) -> bool:
    """Whether a word goes on at this place of a text, or begins with it."""
    around = text[max(0, at - 1) : at + 1]
    return at < len(text) and all(char.isalnum() or char == "_" for char in around)


def _cuts(text: str, rest: str) -> Iterator[int]:
    """Where a text may end that may have begun to say the `rest`: before that, or, where these are but
    brackets and the like, which may be its own, behind it too."""
    for count in range(min(len(text), len(rest)), 0, -1):
        overlap = rest[:count]
        if text.endswith(overlap) and overlap.strip():
            yield len(text) - count
            if any(char.isalnum() for char in overlap):
                return
            break
    yield len(text)


def by_what_follows(
    network: Network,
    cache: PrefixCache,
    tokenizer: Tokenizer,
    canvases: Sequence[Canvas],
    rows: Sequence[Sequence[int]],
    prompt: Prompt,
    *,
    anywhere: bool,
) -> list[Canvas]:
    """The best middles that `canvases` begin with (see `endings`), the best first; the canvases as they are
    where nothing was written.

    `cache` has the prompt as `unseen` gives it, and is only read; `rows` are the canvases' token ids.
    """
    found = endings(canvases, prompt, anywhere=anywhere)
    if not found:
        return [*canvases]
    rest = rest_of_line(prompt)
    tails = {tail: tokenizer.encode(tail + rest, once=True) for tail in {each.tail for each in found}}
    heads = [(*rows[each.row][: each.last],) for each in found]
    longest = max(len(head) + len(tails[each.tail]) for head, each in zip(heads, found, strict=True))
    trunks = Trunks(network, cache, heads, branches=min(_READ, len(found)), longest=longest)
    begun = trunks.first(heads, [tails[each.tail][0] for each in found])
    at_most = [each.own + _WEIGHT * first for each, first in zip(found, begun, strict=True)]
    order = sorted(range(len(found)), key=lambda at: -at_most[at])
    read = order[:_READ]
    gone_on = trunks.rest([heads[at] for at in read], [tails[found[at].tail] for at in read])
    totals = [(at_most[at] + _WEIGHT * more, at) for at, more in zip(read, gone_on, strict=True)]
    totals.sort(reverse=True)
    least = totals[-1][0]
    totals += [(min(least, at_most[at]), at) for at in order[_READ:] if found[at].whole]
    return [_ended(canvases[found[at].row], found[at], total) for total, at in totals]


def _ended(canvas: Canvas, ending: Ending, total: float) -> Canvas:
    """The canvas with that ending and, as a whole, that log-probability."""
    last = replace(canvas.tokens[ending.last], text=ending.tail)
    return replace(
        canvas,
        text=ending.text,
        tokens=(*canvas.tokens[: ending.last], last),
        ended=canvas.ended or len(ending.text) < len(canvas.text),
        ran_on=ending.ran_on,
        score=total / (ending.last + 2),
    )
