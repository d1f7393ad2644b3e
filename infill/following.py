"""Of several likely middles, the one from which the rest of the line is likeliest to follow.

Middles are written by a model that has seen what comes after the hole, but reads only forwards. Whether the
line goes on from a middle is a question of its own, and one that the same model can answer: it scores the
middle together with the rest of the line, from a prompt that does not show it. What lies on the lines below
says nothing more: a line is then chosen for what it has in common with them.

Source: the noisy channel, as in Yee et al., "Simple and Effective Noisy Channel Modeling for Neural Machine
Translation", arXiv 1908.05731.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import replace

from engine.errors import InvalidRequest
from engine.request import Canvas, Engine, Prompt, ScoreRequest
from infill.lines import with_line_feeds

_WEIGHT = 0.4  # of the score with the rest of the line, beside the middle's own
_MOST_CHARS = 80


def rest_of_line(prompt: Prompt) -> str:
    """What follows the hole on its line, some of it where that is much."""
    return prompt.suffix.partition("\n")[0][:_MOST_CHARS]


def log_probability(canvas: Canvas) -> float:
    """How likely a canvas is as a whole, its end included, in nats."""
    return canvas.score * (len(canvas.tokens) + 1)


def by_what_follows(
    engine: Engine,
    prompt: Prompt,
    middles: Sequence[tuple[str, float]],
    cancelled: threading.Event,
) -> list[int]:
    """The indices of `middles`, the best first; each is a text and its log-probability in nats.

    They begin with the prompt's typed characters, save for an indentation. Where nothing follows, the
    engine gives no scores or it is called off, the order stays.

    Raises:
        EngineError: the engine cannot serve it.
    """
    order = list(range(len(middles)))
    following = rest_of_line(prompt)
    if len(middles) < 2 or not following.strip():
        return order
    indentation = prompt.typed if prompt.typed.startswith("\n") else ""
    unseen = replace(
        prompt,
        prefix=prompt.prefix + indentation,
        typed="",
        suffix=prompt.suffix[len(following) :],
        before="",
        after="",
        nearby=(),
    )
    texts = tuple(with_line_feeds(text) + following for text, _ in middles)
    try:
        scored = engine.score(ScoreRequest(prompt=unseen, middles=texts), cancelled)
    except InvalidRequest:  # not every engine gives scores
        return order
    if len(scored) < len(middles):  # called off
        return order
    totals = [
        own + _WEIGHT * sum(token.log_probability for token in of_text.tokens)
        for (_, own), of_text in zip(middles, scored, strict=True)
    ]
    return sorted(order, key=lambda index: -totals[index])
