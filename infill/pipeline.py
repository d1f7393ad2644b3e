"""The path of a request through `infill`: hole, context, denoise, postprocess.

It knows neither an editor nor a model: an engine is whatever has the shape of `engine.request.Engine`.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass, replace
from functools import cache, partial

from engine.request import Breadth, Canvas, Decoding, DenoiseRequest, Engine, Step, Stop
from infill.blame import Hurt
from infill.brackets import Balance
from infill.checks import Verdict, check_confidence
from infill.context import Context, build_context
from infill.document import Document
from infill.following import rest_of_line
from infill.hole import Hole, HoleKind, canvas_tokens, choose_hole, may_span_lines
from infill.outcomes import Outcome, better_of, joined, judged, ordered, sound_first
from infill.postprocess import Kept, postprocess
from infill.repair import repair_suggestion
from infill.request import FillRequest, Reason, Rejected, Suggestion


@dataclass(frozen=True, kw_only=True)
class Progress:
    """A step, and where to draw its canvases: they replace the code points `start` to `hole.end`."""

    step: Step
    hole: Hole
    start: int


_FRAME_MS = 33.0
"""Steps that come faster are not seen by anybody."""

_LOOK_TIMES = 4
"""How many times what a search took has to be left for a wider one."""

OnStep = Callable[[Progress], None]
Shape = Callable[[DenoiseRequest], DenoiseRequest]


def fill(
    engine: Engine,
    document: Document,
    request: FillRequest,
    *,
    cancelled: threading.Event,
    on_step: OnStep | None = None,
) -> Suggestion | Rejected:
    """Fill the request's hole in `document`, whose text and language count in place of the request's.

    Setting `cancelled` ends it within one denoising step. `on_step` is called on this thread.

    Raises:
        InvalidHole: the request's offsets do not lie within the text.
        EngineError: the engine cannot serve the request.
    """
    found = fill_all(engine, document, request, cancelled=cancelled, on_step=on_step, wanted=1)
    return found if isinstance(found, Rejected) else found[0]


def fill_all(
    engine: Engine,
    document: Document,
    request: FillRequest,
    *,
    cancelled: threading.Event,
    on_step: OnStep | None = None,
    wanted: int | None = None,
    shape: Shape | None = None,
    bodies: bool = True,
) -> tuple[Suggestion, ...] | Rejected:
    """`fill` with every candidate that is kept, best first and no two alike; at most `wanted`.

    `shape` may change what the engine is asked, to lay its canvases out say. With `bodies` a line that opens
    a block in Python is shown with the block's body, where the text has none and one can be had in time.
    """
    began = time.perf_counter()
    hole = choose_hole(document, request.offset, request.end)
    info = engine.info()
    context = build_context(document, hole, info, request.snippets, request.nearby)
    ask = _ask(request, hole, context, _ms_since(began))
    if shape is not None:
        ask = shape(ask)
    balance = Balance(document, hole.start, hole.end)
    hurt = cache(lambda start: Hurt(document, start, hole.end, document.text[start : hole.start]))
    searched = info.searches and ask.one_line and ask.decoding in (None, Decoding.SEARCH)

    def look(ask: DenoiseRequest, hole: Hole) -> list[Outcome]:
        denoised = _denoise(engine, ask, cancelled, partial(_report, on_step, hole, context))
        judge = partial(
            _judge, document=document, hole=hole, context=context, request=request, balance=balance
        )
        return judged(denoised, judge, cancelled)

    def choose(outcomes: list[Outcome]) -> list[Outcome]:
        if not cancelled.is_set() and _is_affordable(request, began):  # it takes less than what was done
            outcomes = ordered(engine, context.prompt, outcomes, cancelled)
        if len(outcomes) == 1 and not searched:  # nothing to choose among
            return outcomes
        return sound_first(
            outcomes, lambda kept: hurt(kept.start).is_sound(kept.text), cancelled, wanted=wanted
        )

    outcomes = look(ask, hole)
    if may_span_lines(hole) and shape is None and not cancelled.is_set() and _is_affordable(request, began):
        lines = replace(hole, one_line=False)
        more = _ask(request, lines, context, _ms_since(began))
        outcomes = joined(outcomes, look(more, lines))
    outcomes = choose(outcomes)
    if searched and _is_worth_another_look(outcomes, hurt, _left(request, began), began):
        more = replace(ask, breadth=Breadth.WIDEST, deadline_ms=_left(request, began))
        outcomes = better_of(outcomes, choose(look(more, hole)))
    mend = partial(repair_suggestion, engine, document, hole, context.prompt, cancelled=cancelled)
    found: dict[str, Suggestion] = {}
    broken: Rejected | None = None
    for outcome in outcomes:
        if found and wanted is None and not outcome.sound:  # mending takes its time
            break
        answer = _answer(outcome, hole, ask, info.model, _ms_since(began))
        if isinstance(answer, Suggestion) and request.repair:
            answer = mend(
                answer,
                seed=request.seed,
                deadline_ms=_left(request, began),
                hurt=hurt(answer.start),
                lenient=request.lenient,
            )
        if isinstance(answer, Suggestion):
            if bodies:
                answer = _with_body(engine, document, request, hole, answer, cancelled, began)
            found.setdefault(answer.text, answer)
        else:
            broken = broken or answer
        if len(found) == wanted or cancelled.is_set():
            break
    return tuple(found.values()) or broken or Rejected(reason=Reason.EMPTY)


def _with_body(
    engine: Engine,
    document: Document,
    request: FillRequest,
    hole: Hole,
    header: Suggestion,
    cancelled: threading.Event,
    began: float,
) -> Suggestion:
    """A suggested line, and the body of the block it opens where the text has none; Python reads no other."""
    if hole.kind is not HoleKind.LINE or document.language != "python" or not header.text.endswith(":"):
        return header
    filled, end = document.filled(header.start, hole.end, header.text), header.start + len(header.text)
    if choose_hole(filled, end).kind is not HoleKind.BLOCK:
        return header
    ask = replace(request, offset=end, end=None, canvas_tokens=None, deadline_ms=_left(request, began))
    found = fill_all(engine, filled, ask, cancelled=cancelled, wanted=1, bodies=False)
    if isinstance(found, Rejected) or found[0].start < header.start:
        return header
    body = found[0]
    return replace(
        header,
        text=header.text[: body.start - header.start] + body.text,
        confidence=min(header.confidence, body.confidence),
        steps=header.steps + body.steps,
        elapsed_ms=_ms_since(began),
    )


def fill_text(
    engine: Engine,
    request: FillRequest,
    *,
    cancelled: threading.Event | None = None,
    on_step: OnStep | None = None,
) -> Suggestion | Rejected:
    """`fill` for a text that is not kept as a document."""
    document = Document(request.text, request.language)
    return fill(engine, document, request, cancelled=cancelled or threading.Event(), on_step=on_step)


def _ask(request: FillRequest, hole: Hole, context: Context, spent_ms: float) -> DenoiseRequest:
    deadline = None if request.deadline_ms is None else max(0.0, request.deadline_ms - spent_ms)
    return DenoiseRequest(
        prompt=context.prompt,
        canvas_tokens=request.canvas_tokens or canvas_tokens(hole),
        candidates=request.candidates,
        seed=request.seed,
        max_steps=request.max_steps,
        deadline_ms=deadline,
        one_line=hole.one_line,
        decoding=request.decoding,
        avoid=request.avoid,
        breadth=Breadth.WIDE if rest_of_line(context.prompt).strip() else Breadth.NARROW,
        frame_ms=_FRAME_MS,
    )


def _denoise(
    engine: Engine, ask: DenoiseRequest, cancelled: threading.Event, report: Callable[[Step], None]
) -> Step | Verdict:
    """The last step, or why there is none."""
    last: Step | None = None
    if not cancelled.is_set() and ask.deadline_ms != 0:
        with contextlib.ExitStack() as at_end:
            steps = engine.denoise(ask, cancelled)
            if isinstance(steps, Generator):  # it may hold a lock for as long as it is not closed
                at_end.callback(steps.close)
            for last in steps:
                report(last)
    if cancelled.is_set() or (last is not None and last.stop is Stop.CANCELLED):
        return Verdict(Reason.CANCELLED)
    return Verdict(Reason.TOO_SLOW) if last is None else last


def _report(on_step: OnStep | None, hole: Hole, context: Context, step: Step) -> None:
    if on_step is not None:
        on_step(Progress(step=step, hole=hole, start=context.typed_start))


def _is_worth_another_look(
    outcomes: list[Outcome], hurt: Callable[[int], Hurt], left_ms: float | None, began: float
) -> bool:
    """Whether nothing found is sound, something else might be, and there is time to look for it."""
    first = outcomes[0]
    if first.sound or first.canvas is None:
        return False
    if left_ms is not None and left_ms < _LOOK_TIMES * _ms_since(began):
        return False
    return not isinstance(first.result, Kept) or hurt(first.result.start).least == 0


def _judge(
    canvas: Canvas,
    document: Document,
    hole: Hole,
    context: Context,
    request: FillRequest,
    balance: Balance,
) -> Kept | Verdict:
    """What is kept of a canvas, provided that the model is sure enough of it; or what is against it."""
    result = postprocess(canvas, document, hole, context, inside_word=request.inside_word, balance=balance)
    if isinstance(result, Verdict):
        return result
    return check_confidence(_confidence(canvas, result), request.min_confidence) or result


def _answer(
    outcome: Outcome, hole: Hole, ask: DenoiseRequest, model: str, ms: float
) -> Suggestion | Rejected:
    canvas, result = outcome.canvas, outcome.result
    if isinstance(result, Kept) and canvas is not None:
        return Suggestion(
            text=result.text,
            start=result.start,
            end=hole.end,
            confidence=_confidence(canvas, result),
            steps=outcome.steps,
            canvas_tokens=ask.canvas_tokens,
            elapsed_ms=ms,
            model=model,
        )
    assert isinstance(result, Verdict)
    return Rejected(
        reason=result.reason,
        detail=result.detail,
        text=canvas.text if canvas is not None else "",
        steps=outcome.steps,
        canvas_tokens=ask.canvas_tokens,
        elapsed_ms=ms,
        model=model,
    )


def _confidence(canvas: Canvas, kept: Kept) -> float:
    """The mean probability of the tokens that the kept text comes from.

    Those that only repeat what was typed do not count, unless there are no others: they had no choice.
    """
    of_all: list[float] = []
    of_added: list[float] = []
    end = 0
    for token in canvas.tokens:
        if end >= kept.chars:
            break
        end += len(token.text)
        of_all.append(token.confidence)
        if end > kept.typed:
            of_added.append(token.confidence)
    counted = of_added or of_all
    return sum(counted) / len(counted) if counted else 0.0


def _left(request: FillRequest, began: float) -> float | None:
    """How many milliseconds are left of a request that was begun then; None without a deadline."""
    return None if request.deadline_ms is None else max(0.0, request.deadline_ms - _ms_since(began))


def _is_affordable(request: FillRequest, began: float) -> bool:
    """Whether as much time is left of a request as it has taken so far."""
    left_ms = _left(request, began)
    return left_ms is None or left_ms > _ms_since(began)


def _ms_since(began: float) -> float:
    return (time.perf_counter() - began) * 1000
