"""A fill that knows how many tokens the answer has: what choosing the length costs, never a score.

The canvas has exactly the answer's tokens and its end behind them. Nothing is post-processed.
"""

from __future__ import annotations

import threading
from dataclasses import replace

from engine.request import CANVAS_LENGTHS, DenoiseRequest, Engine, ScoreRequest, Segment
from infill.code.document import Document
from infill.context import build_context
from infill.evaluate.holes import Hole
from infill.evaluate.score import Fill, put
from infill.hole import choose_hole


def fill_knowing_length(engine: Engine, hole: Hole, seed: int) -> Fill:
    """Denoise a canvas of the answer's own length; empty where that is longer than any canvas.

    Raises:
        EngineError: the engine cannot serve the request.
    """
    document = Document(hole.before + hole.after, "python")
    at_cursor = choose_hole(document, hole.start)
    context = build_context(document, at_cursor, engine.info()).prompt
    prompt = replace(context, prefix=context.prefix + context.typed, typed="")
    never = threading.Event()
    scored = engine.score(ScoreRequest(prompt=prompt, middles=(hole.gold,)), never)
    tokens = len(scored[0].tokens)
    canvas = next((length for length in CANVAS_LENGTHS if length > tokens), None)
    if canvas is None:
        return put(hole, "")
    layout = (Segment(free_tokens=tokens),)
    request = DenoiseRequest(
        prompt=prompt,
        canvas_tokens=canvas,
        seed=seed,
        layouts=(layout,) * engine.info().candidates,
    )
    *_, last = engine.denoise(request, never)
    filled = put(hole, last.canvases[0].text)
    return replace(filled, steps=last.number, elapsed_ms=last.elapsed_ms)
