"""Middles are told apart by how well the rest of the line follows them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

import pytest

from engine.errors import InvalidRequest
from engine.request import Canvas, CanvasToken, Prompt, Scored, ScoreRequest
from infill.following import by_what_follows
from infill.pipeline import fill_text
from infill.request import Suggestion
from tests.fakes.engine import ScriptedEngine
from tests.infill.marked import added, request_for


def prefers(word: str) -> Callable[[str], float]:
    return lambda middle: -0.1 if word in middle else -9.0


def ordered(prompt: Prompt, *middles: tuple[str, float], engine: ScriptedEngine | None = None) -> list[int]:
    return by_what_follows(
        engine or ScriptedEngine([""], score=prefers("b")), prompt, middles, threading.Event()
    )


def test_the_rest_of_the_line_is_scored_from_a_prompt_that_does_not_show_it() -> None:
    engine = ScriptedEngine([""], score=prefers("b"))
    prompt = Prompt(prefix="x =", suffix=") + 1\n    y = 1\n", typed=" ", before="w = 0\n", nearby=("v",))
    assert ordered(prompt, (" a", -1.0), (" b", -3.5), engine=engine) == [1, 0]
    [asked] = engine.scored
    assert asked.middles == (" a) + 1", " b) + 1")
    assert asked.prompt == Prompt(prefix="x =", suffix="\n    y = 1\n")


def test_an_indentation_is_no_part_of_a_middle() -> None:
    engine = ScriptedEngine([""], score=prefers("b"))
    prompt = Prompt(prefix="if x:", suffix=" = 1\n", typed="\n    ")
    ordered(prompt, ("a", -1.0), ("b", -1.5), engine=engine)
    [asked] = engine.scored
    assert asked.prompt.prefix == "if x:\n    "
    assert asked.middles[0] == "a = 1"


def test_its_own_likelihood_counts_more() -> None:
    engine = ScriptedEngine([""], score=lambda middle: -1.0 if "b" in middle else -1.5)
    prompt = Prompt(prefix="x =", suffix=")\n")
    assert ordered(prompt, (" a", -1.0), (" b", -3.5), engine=engine) == [0, 1]
    assert ordered(prompt, (" b", -1.0)) == [0]


@pytest.mark.parametrize("suffix", ["", "\ny = 1\n", "  \ny = 1\n"])
def test_what_lies_on_the_next_line_says_nothing(suffix: str) -> None:
    engine = ScriptedEngine([""], score=prefers("b"))
    prompt = Prompt(prefix="x =", suffix=suffix)
    assert ordered(prompt, (" a", -1.0), (" b", -1.1), engine=engine) == [0, 1]
    assert not engine.scored


def test_an_engine_without_scores_and_one_called_off_change_nothing() -> None:
    prompt = Prompt(prefix="x =", suffix=")\n")

    class Without(ScriptedEngine):
        def score(self, request: ScoreRequest, cancelled: threading.Event) -> tuple[Scored, ...]:
            raise InvalidRequest("no scores")

    class Cancelled(ScriptedEngine):
        def score(self, request: ScoreRequest, cancelled: threading.Event) -> tuple[Scored, ...]:
            return ()

    for engine in (Without([""]), Cancelled([""])):
        assert ordered(prompt, (" a", -1.0), (" b", -1.5), engine=engine) == [0, 1]


class Several(ScriptedEngine):
    """Gives all its middles at once, with log-probabilities."""

    def __init__(self, middles: Sequence[tuple[str, float]]) -> None:
        super().__init__([text for text, _ in middles], score=prefers("b"))
        self._own = dict(middles)

    def _canvas(self, middle: str, number: int) -> Canvas:
        own = next(value for text, value in self._own.items() if middle.endswith(text.strip()))
        token = CanvasToken(text=middle, confidence=0.9)
        return Canvas(text=middle, tokens=(token,), ended=True, score=own / 2)


@pytest.mark.parametrize(
    ("middles", "text"),
    [
        ([("a", -1.0), ("b", -1.5)], "b"),
        ([("a", -1.0), ("b", -9.0)], "a"),
        ([("a", -1.0), ("b b", -1.5)], "a"),  # does not parse
        ([("a a", -1.0), ("c", -1.2), ("b", -1.5)], "b"),
        ([("a a", -1.0), ("b b", -1.5)], "b b"),  # nothing does
    ],
)
def test_a_middle_is_the_one_from_which_the_line_goes_on(middles: list[tuple[str, float]], text: str) -> None:
    engine = Several(middles)
    request = request_for("x = f(█)\ny = 1\n", candidates=len(middles), repair=False)
    answer = fill_text(engine, request)
    assert isinstance(answer, Suggestion)
    assert added(request, answer) == text


def test_at_the_end_of_a_line_the_engine_has_the_last_word() -> None:
    engine = Several([(" a", -1.0), (" b", -1.1)])
    answer = fill_text(engine, request_for("x = █\ny = 1\n", candidates=2))
    assert isinstance(answer, Suggestion)
    assert answer.text == " a"
    assert not engine.scored
