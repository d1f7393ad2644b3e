"""From token ids back to text: what a draft's rows say, as the canvases a client of the engine gets.

Knows nothing of how a draft came about. Importing it does not import torch.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from engine.request import Canvas, CanvasToken

if TYPE_CHECKING:
    from engine.denoising.denoiser import Draft
    from engine.text.tokenizer import Tokenizer

Spans = tuple[tuple[tuple[int, int], ...], ...]
"""For each candidate, the canvas positions of its segments, ends exclusive."""


def canvases_of(draft: Draft, tokenizer: Tokenizer, spans: Spans = ()) -> list[Canvas]:
    """One canvas for each row of a draft, in order; with `spans` they have segments."""
    rows = zip(draft.tokens.tolist(), draft.confidence.tolist(), draft.free.tolist(), strict=True)
    canvases = [_canvas(tokenizer, *row) for row in rows]
    if draft.ended is not None:
        pairs = zip(canvases, draft.ended, strict=True)
        canvases = [replace(canvas, ended=ended) for canvas, ended in pairs]
    if not spans:
        return canvases
    parts = zip(canvases, middles_of(draft, tokenizer), spans, strict=True)
    return [
        replace(
            canvas,
            segments=tuple(tokenizer.decode(middle[start:end]) for start, end in own),
            candidate=index,
        )
        for index, (canvas, middle, own) in enumerate(parts)
    ]


def middles_of(draft: Draft, tokenizer: Tokenizer) -> list[list[int]]:
    """The token ids of each row's middle, without its end and what is behind it."""
    return [ids[: _end(ids, tokenizer)] for ids in draft.tokens.tolist()]


def by_score(canvases: Sequence[Canvas]) -> list[Canvas]:
    """The best first."""
    return sorted(canvases, key=lambda canvas: canvas.score, reverse=True)


def _canvas(tokenizer: Tokenizer, ids: list[int], confidences: list[float], free: list[bool]) -> Canvas:
    end = _end(ids, tokenizer)
    # The end marker is part of what the model claims, what it had to write is not.
    counted = [c for c, chosen in zip(confidences[: end + 1], free, strict=False) if chosen]
    return Canvas(
        text=tokenizer.decode(ids[:end]),
        tokens=tuple(
            CanvasToken(text=text, confidence=confidence)
            for text, confidence in zip(tokenizer.texts(ids[:end]), confidences, strict=False)
        ),
        ended=end < len(ids),
        score=sum(math.log(max(c, 1e-9)) for c in counted) / max(1, len(counted)),
    )


def _end(ids: list[int], tokenizer: Tokenizer) -> int:
    """Any special token ends the middle: the end marker, and the padding behind it."""
    return next((index for index, token in enumerate(ids) if not tokenizer.pieces[token]), len(ids))
