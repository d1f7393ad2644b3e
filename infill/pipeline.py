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

from engine.request import Canvas, Decoding, DenoiseRequest, Engine, Step, Stop
from infill.blame import Hurt
from infill.brackets import Balance
from infill.checks import Verdict, check_confidence
from infill.context import Context, build_context
from infill.document import Document
from infill.following import CLOSE, by_what_follows, log_probability
from infill.hole import Hole, HoleKind, canvas_tokens, choose_hole
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
"""How many times what a search took has to be left for a thorough one."""

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
    denoised = _denoise(engine, ask, cancelled, partial(_report, on_step, hole, context))
    balance = Balance(document, hole.start, hole.end)
    judge = partial(_judge, document=document, hole=hole, context=context, request=request, balance=balance)
    hurt = cache(lambda start: Hurt(document, start, hole.end, document.text[start : hole.start]))

    def is_sound(kept: Kept) -> bool:
        return hurt(kept.start).is_sound(kept.text)

    mend = partial(repair_suggestion, engine, document, hole, context.prompt, cancelled=cancelled)
    found: dict[str, Suggestion] = {}
    broken: Rejected | None = None
    searched = info.searches and ask.one_line and ask.decoding in (None, Decoding.SEARCH)
    choose = partial(
        _kept,
        judge=judge,
        is_sound=is_sound,
        cancelled=cancelled,
        wanted=wanted,
        close=CLOSE if ask.one_line else 0.0,
        others=searched,
    )
    outcomes = choose(denoised)
    if searched and _is_worth_another_look(outcomes, hurt, _left(request, began), began):
        more = replace(ask, thorough=True, deadline_ms=_left(request, began))
        again = _denoise(engine, more, cancelled, partial(_report, on_step, hole, context))
        outcomes = _better_of(outcomes, choose(again))
    left_ms = _left(request, began)
    if ask.one_line and (left_ms is None or left_ms > _ms_since(began)):  # it takes less than what was done
        outcomes = _ranked(engine, context, outcomes, cancelled)
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


@dataclass(frozen=True, kw_only=True)
class _Outcome:
    """What became of a request: a kept text, or a verdict; `canvas` is the one it is about, if any.

    `sound` says that nothing is wrong with the text around, or nothing that the kept one is to blame for.
    """

    result: Kept | Verdict
    canvas: Canvas | None = None
    steps: int = 0
    sound: bool = False


def _ask(request: FillRequest, hole: Hole, context: Context, spent_ms: float) -> DenoiseRequest:
    deadline = None if request.deadline_ms is None else max(0.0, request.deadline_ms - spent_ms)
    return DenoiseRequest(
        prompt=context.prompt,
        canvas_tokens=request.canvas_tokens or canvas_tokens(hole),
        candidates=request.candidates,
        seed=request.seed,
        max_steps=request.max_steps,
        deadline_ms=deadline,
        one_line=hole.kind in (HoleKind.LINE, HoleKind.EXPRESSION),
        decoding=request.decoding,
        avoid=request.avoid,
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


def _kept(
    denoised: Step | Verdict,
    *,
    judge: Callable[[Canvas], Kept | Verdict],
    is_sound: Callable[[Kept], bool],
    cancelled: threading.Event,
    wanted: int | None,
    close: float,
    others: bool,
) -> list[_Outcome]:
    """The candidates that survive, those with which the text is sound before the others.

    `others` says that there are more to be had than these.

    No more are looked at than it takes to find `wanted` such, and those within `close` nats of the first.
    If none survives, the best and what is against it.
    """
    if isinstance(denoised, Verdict):
        return [_Outcome(result=denoised)]
    sound: list[_Outcome] = []
    kept: list[_Outcome] = []
    rejected: list[_Outcome] = []
    for canvas in denoised.canvases:
        if wanted is not None and len(sound) >= wanted and not _is_close(canvas, sound[0], close):
            break
        outcome = _Outcome(result=judge(canvas), canvas=canvas, steps=denoised.number)
        if cancelled.is_set():  # in a text that is hard to parse, each takes its time
            return [_Outcome(result=Verdict(Reason.CANCELLED), steps=denoised.number)]
        if not isinstance(outcome.result, Kept):
            rejected.append(outcome)
        # Where there is nothing to choose among, whether it is sound changes nothing.
        elif (len(denoised.canvases) == 1 and not others) or is_sound(outcome.result):
            sound.append(replace(outcome, sound=True))
        else:
            kept.append(outcome)
    return sound + kept or rejected[:1]


def _is_worth_another_look(
    outcomes: list[_Outcome], hurt: Callable[[int], Hurt], left_ms: float | None, began: float
) -> bool:
    """Whether nothing found is sound, something else might be, and there is time to look for it."""
    first = outcomes[0]
    if first.sound or first.canvas is None:
        return False
    if left_ms is not None and left_ms < _LOOK_TIMES * _ms_since(began):
        return False
    return not isinstance(first.result, Kept) or hurt(first.result.start).least == 0


def _better_of(outcomes: list[_Outcome], others: list[_Outcome]) -> list[_Outcome]:
    """The others if they are sound, or kept where none was; a request that is called off says so."""
    then, now = others[0], outcomes[0]
    called_off = isinstance(then.result, Verdict) and then.result.reason is Reason.CANCELLED
    kept_at_last = isinstance(then.result, Kept) and not isinstance(now.result, Kept)
    if not (then.sound or kept_at_last or called_off):
        return outcomes
    return [replace(each, steps=now.steps + each.steps) for each in others]


def _is_close(canvas: Canvas, first: _Outcome, close: float) -> bool:
    assert first.canvas is not None
    return close > 0 and log_probability(canvas) > log_probability(first.canvas) - close


def _ranked(
    engine: Engine, context: Context, outcomes: list[_Outcome], cancelled: threading.Event
) -> list[_Outcome]:
    """The outcomes, those that are sound and close to the first ordered by what follows them."""
    near: list[tuple[_Outcome, str, float]] = []
    for each in outcomes:
        if not each.sound or each.canvas is None or not _is_close(each.canvas, outcomes[0], CLOSE):
            break
        assert isinstance(each.result, Kept)
        near.append((each, each.result.text, log_probability(each.canvas)))
    order = by_what_follows(engine, context.prompt, [(text, own) for _, text, own in near], cancelled)
    return [*(near[index][0] for index in order), *outcomes[len(near) :]]


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
    outcome: _Outcome, hole: Hole, ask: DenoiseRequest, model: str, ms: float
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


def _ms_since(began: float) -> float:
    return (time.perf_counter() - began) * 1000
