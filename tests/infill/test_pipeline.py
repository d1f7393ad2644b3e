"""The whole path with a scripted engine: candidates, cancelling, deadlines and what is reported."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

import infill.pipeline
from engine.errors import InvalidRequest
from engine.request import Canvas, CanvasToken, DenoiseRequest, Step, Stop
from infill.code.document import Document
from infill.errors import InvalidHole
from infill.pipeline import Progress, fill, fill_text
from infill.postprocess import postprocess
from infill.request import FillRequest, Reason, Rejected, Suggestion
from tests.fakes.engine import ScriptedEngine
from tests.infill.marked import added, request_for


def test_suggestion_has_everything() -> None:
    engine = ScriptedEngine(["foo(1)\nbar"], steps=4)
    request = request_for("x = fo█\n", seed=3, max_steps=7)
    answer = fill_text(engine, request)
    assert isinstance(answer, Suggestion)
    assert (answer.text, answer.start, answer.end) == (" fofoo(1)", 3, 6)
    assert (answer.steps, answer.canvas_tokens, answer.model) == (4, 32, "scripted")
    assert answer.confidence == pytest.approx(0.9)
    assert answer.elapsed_ms > 0
    asked = engine.requests[0]
    assert (asked.prompt.prefix, asked.prompt.typed, asked.prompt.suffix) == ("x =", " fo", "\n")
    assert (asked.seed, asked.max_steps, asked.candidates, asked.deadline_ms) == (3, 7, None, None)


class DoubtfulEngine(ScriptedEngine):
    """Its canvas consists of these tokens, and it is less sure of each than of the one before it."""

    def __init__(self, texts: list[str]) -> None:
        super().__init__(["".join(texts)])
        self._tokens = [CanvasToken(text=text, confidence=1 - at / 10) for at, text in enumerate(texts)]

    def _canvas(self, middle: str, number: int) -> Canvas:
        return Canvas(text=middle, tokens=tuple(self._tokens), ended=True, score=0.0)


@pytest.mark.parametrize(
    ("marked", "tokens", "text", "confidence"),
    [
        ("█\n", "1|2|\n|34", "12", 0.95),
        ("x =█\n", " =|1|2|\n|34", " =12", 0.85),  # what was typed had to be said
        ("x = fo█\n", " |f|oo|(1)", " foo(1)", 0.75),  # its last token goes on: that counts
        ("foo(█, b)\n", "(a|, b", "(a", 1.0),
        ("foo.█\n", ".||bar", ".bar", 0.8),
    ],
)
def test_confidence_is_that_of_what_is_kept_and_added(
    marked: str, tokens: str, text: str, confidence: float
) -> None:
    answer = fill_text(DoubtfulEngine(tokens.split("|")), request_for(marked))
    assert isinstance(answer, Suggestion)
    assert answer.text == text
    assert answer.confidence == pytest.approx(confidence)


def test_confidence_where_no_token_lies_behind_what_was_typed() -> None:
    """As where an engine's tokens do not make up its text."""

    class Vague(ScriptedEngine):
        def _canvas(self, middle: str, number: int) -> Canvas:
            tokens = (CanvasToken(text="f", confidence=0.5),)
            return Canvas(text=middle, tokens=tokens, ended=True, score=0.0)

    answer = fill_text(Vague(["foo"]), request_for("fo█\n"))
    assert isinstance(answer, Suggestion)
    assert answer.confidence == 0.5


def test_an_unsure_suggestion_is_turned_down() -> None:
    def ask(least: float, **options: Any) -> Suggestion | Rejected:
        engine = ScriptedEngine(["1"], confidence=0.123)
        return fill_text(engine, request_for("x = █\n", min_confidence=least, **options))

    answer = ask(0.3, candidates=2)
    assert isinstance(answer, Rejected)
    assert (answer.reason, answer.detail, answer.text) == (Reason.UNSURE, "12% sure, 30% is asked for", " 1")
    assert isinstance(ask(0.123), Suggestion)


@pytest.mark.parametrize(
    ("marked", "middle", "shown"),
    [
        ("def f():\n    █\n", "\n    return 1", "return 1"),
        ("def f():\n█\n", "\n    return 1", "    return 1"),
        ("def f():\r\n█\r\n", "\n    return 1\n    # so", "    return 1\r\n    # so"),
    ],
)
def test_an_indentation_taken_back_is_not_in_what_is_shown(marked: str, middle: str, shown: str) -> None:
    request = request_for(marked)
    answer = fill_text(ScriptedEngine([middle]), request)
    assert isinstance(answer, Suggestion)
    assert (answer.text, answer.start, answer.end) == (shown, request.offset, request.offset)


@pytest.mark.parametrize("least", [-0.1, 1.1, float("nan")])
def test_least_confidence_out_of_range(least: float) -> None:
    with pytest.raises(InvalidRequest, match="between 0 and 1"):
        FillRequest(text="", language="", offset=0, min_confidence=least)


def test_the_first_candidate_that_survives() -> None:
    engine = ScriptedEngine(["f(", "", "2", "3"])
    request = request_for("x = █\n", candidates=4)
    assert added(request, fill_text(engine, request)) == "2"


def test_a_candidate_that_parses_goes_before_one_that_does_not() -> None:
    request = request_for("x = █\n", candidates=3)
    assert added(request, fill_text(ScriptedEngine(["2 3 4", "= 5", "6"]), request)) == "6"
    # With nothing better, the first that survives is shown all the same.
    plain = replace(request, repair=False)
    assert added(request, fill_text(ScriptedEngine(["2 3 4", "= 5", "7 8"]), plain)) == "2 3 4"


def test_the_best_candidates_reason_if_none_survives() -> None:
    answer = fill_text(ScriptedEngine(["f(", "", "  "]), request_for("x = █\n", candidates=3))
    assert isinstance(answer, Rejected)
    assert (answer.reason, answer.text, answer.steps) == (Reason.UNBALANCED, " f(", 3)


def test_every_step_is_reported() -> None:
    seen: list[Progress] = []
    fill_text(ScriptedEngine(["1 + 1"], steps=3), request_for("x = █\n"), on_step=seen.append)
    assert [progress.step.number for progress in seen] == [1, 2, 3]
    assert [progress.step.stop for progress in seen] == [None, None, Stop.CONFIDENT]
    assert {(progress.start, progress.hole.end) for progress in seen} == {(3, 4)}


def test_cancelled_before_the_first_step() -> None:
    cancelled = threading.Event()
    cancelled.set()
    engine = ScriptedEngine(["1"])
    answer = fill_text(engine, request_for("x = █\n"), cancelled=cancelled)
    assert isinstance(answer, Rejected)
    assert answer.reason is Reason.CANCELLED
    assert engine.requests == []


def test_cancelled_while_denoising() -> None:
    cancelled = threading.Event()
    engine = ScriptedEngine(["1"], steps=50, gate=threading.Event())
    steps: list[int] = []

    def cancel(progress: Progress) -> None:
        steps.append(progress.step.number)
        cancelled.set()

    answer = fill_text(engine, request_for("x = █\n"), cancelled=cancelled, on_step=cancel)
    assert isinstance(answer, Rejected)
    assert answer.reason is Reason.CANCELLED
    assert engine.stops == [Stop.CANCELLED]
    assert steps == [1, 2]  # the first, and the one that says it was cancelled


def test_cancelled_after_the_last_step() -> None:
    """The answer to a replaced request would be drawn over the newer one's."""
    cancelled = threading.Event()
    request = request_for("x = █\n")
    answer = fill_text(
        ScriptedEngine(["1"], steps=1), request, cancelled=cancelled, on_step=lambda _: cancelled.set()
    )
    assert isinstance(answer, Rejected)
    assert answer.reason is Reason.CANCELLED


def test_cancelled_between_candidates(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each may take long in a text that is hard to parse."""
    cancelled = threading.Event()
    looked_at: list[str] = []

    def spy(canvas: Canvas, *rest: Any, **named: Any) -> Any:
        looked_at.append(canvas.text)
        cancelled.set()
        return postprocess(canvas, *rest, **named)

    monkeypatch.setattr(infill.pipeline, "postprocess", spy)
    request = request_for("x = █\n", candidates=3)
    answer = fill_text(ScriptedEngine(["f(", "g(", "1"]), request, cancelled=cancelled)
    assert isinstance(answer, Rejected)
    assert (answer.reason, answer.steps) == (Reason.CANCELLED, 3)
    assert looked_at == [" f("]


def test_an_engine_is_let_go_of_when_something_fails() -> None:
    """It may hold a lock until its generator is closed, and somebody else may know the generator."""

    class Locking(ScriptedEngine):
        def denoise(self, request: DenoiseRequest, cancelled: threading.Event) -> Iterator[Step]:
            self.generator = super().denoise(request, cancelled)
            return self.generator

    def fail(_: Progress) -> None:
        raise ZeroDivisionError

    engine = Locking(["1"])
    with pytest.raises(ZeroDivisionError):
        fill_text(engine, request_for("x = █\n"), on_step=fail)
    assert list(engine.generator) == []


def test_an_engine_whose_steps_are_no_generator() -> None:
    class Listing(ScriptedEngine):
        def denoise(self, request: DenoiseRequest, cancelled: threading.Event) -> Iterator[Step]:
            return iter(list(super().denoise(request, cancelled)))

    assert isinstance(fill_text(Listing(["1"]), request_for("x = █\n")), Suggestion)


def test_no_time_at_all() -> None:
    engine = ScriptedEngine(["1"])
    request = FillRequest(text="x = ", language="python", offset=4, deadline_ms=0.0)
    answer = fill_text(engine, request)
    assert isinstance(answer, Rejected)
    assert answer.reason is Reason.TOO_SLOW
    assert engine.requests == []


def test_no_step_in_time() -> None:
    answer = fill_text(ScriptedEngine(["1"], steps=0), request_for("x = █\n"))
    assert isinstance(answer, Rejected)
    assert answer.reason is Reason.TOO_SLOW


def test_what_the_deadline_cut_short_is_not_blamed_on_the_canvas() -> None:
    class Late(ScriptedEngine):
        def denoise(self, request: DenoiseRequest, cancelled: threading.Event) -> Iterator[Step]:
            for step in super().denoise(request, cancelled):
                yield replace(step, stop=step.stop and Stop.DEADLINE)

    for engine, reason in ((Late, Reason.CUT_SHORT), (ScriptedEngine, Reason.UNFINISHED)):
        answer = fill_text(engine(["some_long_na"], ended=False), request_for("x = █\n"))
        assert isinstance(answer, Rejected)
        assert answer.reason is reason


def test_the_deadline_counts_from_the_call() -> None:
    engine = ScriptedEngine(["1"])
    fill_text(engine, FillRequest(text="x = ", language="python", offset=4, deadline_ms=60_000.0))
    deadline = engine.requests[0].deadline_ms
    assert deadline is not None
    assert 0 < deadline < 60_000


def test_a_canvas_that_leaves_out_what_was_typed() -> None:
    class Forgetful(ScriptedEngine):
        """Breaks the promise of token healing."""

        def denoise(self, request, cancelled):  # type: ignore[no-untyped-def]
            for step in super().denoise(request, cancelled):
                object.__setattr__(step.canvases[0], "text", "other")
                yield step

    answer = fill_text(Forgetful(["1"]), request_for("x = fo█\n"))
    assert isinstance(answer, Rejected)
    assert "what was typed" in answer.message


def test_bad_requests() -> None:
    with pytest.raises(InvalidHole):
        fill_text(ScriptedEngine(["1"]), FillRequest(text="abc", language="python", offset=4))
    with pytest.raises(InvalidRequest):
        fill_text(ScriptedEngine(["1"]), request_for("x = █", canvas_tokens=33))


def test_the_document_counts_not_the_requests_text() -> None:
    document = Document("x = 1\ny = \n", "python")
    request = FillRequest(text="", language="", offset=10)
    answer = fill(ScriptedEngine(["2"]), document, request, cancelled=threading.Event())
    assert isinstance(answer, Suggestion)
    assert answer.text == " 2"


@pytest.mark.parametrize(
    ("marked", "middles", "shown"),
    [
        # a line that opens a block is shown with its body
        (
            "def f(x):\n    █\n    return x\n",
            ["if x is None:", ":\n        x = 1"],
            "if x is None:\n        x = 1",
        ),
        ("for x in y█\n", [" y:", ":\n    print(x)\n    z"], ":\n    print(x)\n    z"),
        # but not where the text has it already,
        (
            "def f(x):\n    █\n        x = 1\n    return x\n",
            ["if x is None:", ":\n        y"],
            "if x is None:",
        ),
        # where there is none to be had,
        ("def f(x):\n    █\n    return x\n", ["if x is None:", ":"], "if x is None:"),
        # or where nothing is opened
        ("█\nx = 1\n", ["# that is:", ":\n    pass"], "# that is:"),
    ],
)
def test_a_line_that_opens_a_block_is_shown_with_its_body(
    marked: str, middles: list[str], shown: str
) -> None:
    request = replace(request_for(marked), repair=False)
    engine = ScriptedEngine(middles)
    answer = fill_text(engine, request)
    assert added(request, answer) == shown, answer
