"""The path of a request through `infill`: hole, context, denoise, postprocess.

It knows neither an editor nor a model: an engine is whatever has the shape of `engine.request.Engine`.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass, replace
from functools import partial

from engine.request import Canvas, Decoding, DenoiseRequest, Engine, Step, Stop
from infill.checks import Verdict, check_confidence
from infill.code.brackets import Balance
from infill.code.document import Document
from infill.context import build_context
from infill.hole import Hole, HoleKind, canvas_tokens, choose_hole, may_span_lines
from infill.outcomes import Candidate, Outcome, better_of, judged, sound_first
from infill.postprocess import Kept, postprocess
from infill.repair.blame import Hurt
from infill.repair.repair import repair_suggestion
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

_MENDED = 4
"""How many outcomes are mended in vain before nothing is shown: each takes a tenth of a second or more."""

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
    work = _Work(engine, document, request, cancelled, on_step)
    ask = work.ask(work.hole)
    if shape is not None:
        ask = shape(ask)
    lines_too = shape is None and may_span_lines(work.hole)
    found: dict[str, Suggestion] = {}
    broken: list[Rejected] = []
    for outcome in work.outcomes(ask, wanted, lines_too=lines_too):
        if found and wanted is None and not outcome.sound:  # mending takes its time
            break
        answer = work.answer(outcome, ask)
        if isinstance(answer, Suggestion):
            if bodies:
                answer = _with_body(work, answer)
            found.setdefault(answer.text, answer)
        else:
            broken.append(answer)
        if len(found) == wanted or len(broken) == _MENDED or cancelled.is_set():
            break
    return tuple(found.values()) or (broken[0] if broken else Rejected(reason=Reason.EMPTY))


class _Work:
    """What is done for one request, and how long it has taken so far."""

    def __init__(
        self,
        engine: Engine,
        document: Document,
        request: FillRequest,
        cancelled: threading.Event,
        on_step: OnStep | None,
    ) -> None:
        self.began = time.perf_counter()
        self.engine, self.document, self.request, self.cancelled = engine, document, request, cancelled
        self.hole = choose_hole(document, request.offset, request.end)
        self.info = engine.info()
        self._on_step = on_step
        self._context = build_context(document, self.hole, self.info, request.snippets, request.nearby)
        self._balance = Balance(document, self.hole.start, self.hole.end)
        self._hurts: dict[int, Hurt] = {}

    @property
    def spent_ms(self) -> float:
        """Milliseconds since it began."""
        return (time.perf_counter() - self.began) * 1000

    @property
    def left_ms(self) -> float | None:
        """Milliseconds left of it; None without a deadline."""
        deadline_ms = self.request.deadline_ms
        return None if deadline_ms is None else max(0.0, deadline_ms - self.spent_ms)

    def has_time(self, times: float = 1.0) -> bool:
        """Whether so many times what it has taken so far is left."""
        left_ms = self.left_ms
        return left_ms is None or left_ms > times * self.spent_ms

    def ask(self, hole: Hole) -> DenoiseRequest:
        """What to ask the engine for a reading of the hole."""
        request = self.request
        return DenoiseRequest(
            prompt=self._context.prompt,
            canvas_tokens=request.canvas_tokens or canvas_tokens(hole),
            candidates=request.candidates,
            seed=request.seed,
            max_steps=request.max_steps,
            deadline_ms=self.left_ms,
            one_line=hole.one_line,
            decoding=request.decoding,
            avoid=request.avoid,
            frame_ms=_FRAME_MS,
        )

    def outcomes(self, ask: DenoiseRequest, wanted: int | None, *, lines_too: bool) -> list[Outcome]:
        """What becomes of a request, the best first; `lines_too` asks for lines in the same place as well."""
        searches = self.info.searches and ask.one_line and ask.decoding in (None, Decoding.SEARCH)
        outcomes = self._look(ask, wanted, others=searches, lines_too=lines_too)
        if searches and self._is_worth_another_look(outcomes[0]):
            wider = replace(ask, wide=True, deadline_ms=self.left_ms)
            outcomes = better_of(outcomes, self._look(wider, wanted, others=True, lines_too=False))
        return outcomes

    def _look(
        self, ask: DenoiseRequest, wanted: int | None, *, others: bool, lines_too: bool
    ) -> list[Outcome]:
        """What becomes of what the engine finds; `others` says that there are more to be had than these."""
        step = self._denoise(ask, self.hole)
        if isinstance(step, Verdict):
            return [Outcome(result=step)]
        found, steps = self._candidates(step, self.hole), step.number
        if lines_too and self.has_time():
            lines = replace(self.hole, one_line=False)
            more = self._denoise(self.ask(lines), lines)
            if not isinstance(more, Verdict):
                found = sorted(found + self._candidates(more, lines), key=lambda pair: -pair[0].total)
                steps += more.number
            elif more.reason is Reason.CANCELLED:
                return [Outcome(result=more, steps=steps)]
        outcomes = judged(found, steps, self.cancelled)
        if len(found) == 1 and not others:  # whether it is sound changes nothing
            return [*outcomes]
        return sound_first(outcomes, self._is_sound, self.cancelled, wanted=wanted)

    def _denoise(self, ask: DenoiseRequest, hole: Hole) -> Step | Verdict:
        """The last step, or why there is none."""
        last: Step | None = None
        if not self.cancelled.is_set() and ask.deadline_ms != 0:
            with contextlib.ExitStack() as at_end:
                steps = self.engine.denoise(ask, self.cancelled)
                if isinstance(steps, Generator):  # it may hold a lock for as long as it is not closed
                    at_end.callback(steps.close)
                for last in steps:
                    if self._on_step is not None:
                        self._on_step(Progress(step=last, hole=hole, start=self._context.typed_start))
        if self.cancelled.is_set() or (last is not None and last.stop is Stop.CANCELLED):
            return Verdict(Reason.CANCELLED)
        return Verdict(Reason.TOO_SLOW) if last is None else last

    def _candidates(self, step: Step, hole: Hole) -> list[Candidate]:
        judge = partial(self._judge, hole=hole, late=step.stop is Stop.DEADLINE)
        return [(canvas, judge) for canvas in step.canvases]

    def _judge(self, canvas: Canvas, hole: Hole, late: bool) -> Kept | Verdict:
        """What is kept of a canvas, provided that the model is sure enough of it; or what is against it.

        Where the deadline came first, `late`, it is to blame for what is not whole.
        """
        result = postprocess(
            canvas,
            self.document,
            hole,
            self._context,
            inside_word=self.request.inside_word,
            balance=self._balance,
        )
        if isinstance(result, Verdict):
            cut_short = late and result.reason is Reason.UNFINISHED
            return Verdict(Reason.CUT_SHORT, result.detail) if cut_short else result
        return check_confidence(_confidence(canvas, result), self.request.min_confidence) or result

    def _hurt(self, start: int) -> Hurt:
        """What fills that begin at `start` do to the text."""
        if start not in self._hurts:
            typed = self.document.text[start : self.hole.start]
            self._hurts[start] = Hurt(self.document, start, self.hole.end, typed)
        return self._hurts[start]

    def _is_sound(self, kept: Kept) -> bool:
        return self._hurt(kept.start).is_sound(kept.text)

    def _is_worth_another_look(self, first: Outcome) -> bool:
        """Whether nothing found is sound, something else might be, and there is time to look for it."""
        if first.sound or first.canvas is None or not self.has_time(_LOOK_TIMES):
            return False
        return not isinstance(first.result, Kept) or self._hurt(first.result.start).least == 0

    def answer(self, outcome: Outcome, ask: DenoiseRequest) -> Suggestion | Rejected:
        """What the user gets of an outcome, mended where that is wanted and needed."""
        canvas, result = outcome.canvas, outcome.result
        if not isinstance(result, Kept) or canvas is None:
            assert isinstance(result, Verdict)
            return Rejected(
                reason=result.reason,
                detail=result.detail,
                text=canvas.text if canvas is not None else "",
                steps=outcome.steps,
                canvas_tokens=ask.canvas_tokens,
                elapsed_ms=self.spent_ms,
                model=self.info.model,
            )
        suggestion = Suggestion(
            text=result.text,
            start=result.start,
            end=self.hole.end,
            confidence=_confidence(canvas, result),
            steps=outcome.steps,
            canvas_tokens=ask.canvas_tokens,
            elapsed_ms=self.spent_ms,
            model=self.info.model,
        )
        if not self.request.repair:
            return suggestion
        return repair_suggestion(
            self.engine,
            self.document,
            self.hole,
            self._context.prompt,
            suggestion,
            seed=self.request.seed,
            deadline_ms=self.left_ms,
            cancelled=self.cancelled,
            hurt=self._hurt(suggestion.start),
            lenient=self.request.lenient,
        )


def _with_body(work: _Work, header: Suggestion) -> Suggestion:
    """A suggested line, and the body of the block it opens where the text has none; Python reads no other."""
    document, hole = work.document, work.hole
    if hole.kind is not HoleKind.LINE or document.language != "python" or not header.text.endswith(":"):
        return header
    filled, end = document.filled(header.start, hole.end, header.text), header.start + len(header.text)
    if choose_hole(filled, end).kind is not HoleKind.BLOCK:
        return header
    ask = replace(work.request, offset=end, end=None, canvas_tokens=None, deadline_ms=work.left_ms)
    found = fill_all(work.engine, filled, ask, cancelled=work.cancelled, wanted=1, bodies=False)
    if isinstance(found, Rejected) or found[0].start < header.start:
        return header
    body = found[0]
    return replace(
        header,
        text=header.text[: body.start - header.start] + body.text,
        confidence=min(header.confidence, body.confidence),
        steps=header.steps + body.steps,
        elapsed_ms=work.spent_ms,
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
