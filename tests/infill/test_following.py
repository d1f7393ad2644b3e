"""Middles nearly as likely as each other are told apart by what follows the hole."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

import pytest

from engine.errors import InvalidRequest
from engine.request import Canvas, CanvasToken, Prompt, Scored, ScoreRequest
from infill.following import CLOSE, by_what_follows
from infill.pipeline import fill_text
from infill.request import Suggestion
from tests.fakes.engine import ScriptedEngine
from tests.infill.marked import request_for


def prefers(word: str) -> Callable[[str], float]:
    return lambda middle: -0.1 if word in middle else -9.0


def ordered(prompt: Prompt, *middles: tuple[str, float], engine: ScriptedEngine | None = None) -> list[int]:
    return by_what_follows(
        engine or ScriptedEngine([""], score=prefers("b")), prompt, middles, threading.Event()
    )


def test_what_follows_is_scored_from_a_prompt_that_does_not_show_it() -> None:
    engine = ScriptedEngine([""], score=prefers("b"))
    prompt = Prompt(prefix="x =", suffix=")\n\n    y = 1\nz = 2\n", typed=" ")
    assert ordered(prompt, (" a", -1.0), (" b", -1.5), engine=engine) == [1, 0]
    [asked] = engine.scored
    assert asked.middles == (" a)\n\n    y = 1\n", " b)\n\n    y = 1\n")
    assert (asked.prompt.prefix, asked.prompt.typed, asked.prompt.suffix) == ("x =", "", "z = 2\n")


def test_an_indentation_is_no_part_of_a_middle() -> None:
    engine = ScriptedEngine([""], score=prefers("b"))
    ordered(
        Prompt(prefix="if x:", suffix="\ny = 1\n", typed="\n    "), ("a", -1.0), ("b", -1.5), engine=engine
    )
    [asked] = engine.scored
    assert asked.prompt.prefix == "if x:\n    "
    assert asked.middles[0] == "a\ny = 1\n"


def test_its_own_likelihood_counts_more() -> None:
    engine = ScriptedEngine([""], score=lambda middle: -1.0 if "b" in middle else -1.5)
    prompt = Prompt(prefix="x =", suffix="\n")
    assert ordered(Prompt(prefix="x =", suffix="\ny\n"), (" a", -1.0), (" b", -3.5), engine=engine) == [0, 1]
    assert ordered(prompt, (" a", -1.0), (" b", -1.1)) == [0, 1]  # nothing follows
    assert ordered(Prompt(prefix="x =", suffix="\ny\n"), (" b", -1.0)) == [0]


def test_an_engine_without_scores_and_one_called_off_change_nothing() -> None:
    prompt = Prompt(prefix="x =", suffix="\ny = 1\n")

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
        own = next(value for text, value in self._own.items() if text.strip() == middle.strip())
        token = CanvasToken(text=middle, confidence=0.9)
        return Canvas(text=middle, tokens=(token,), ended=True, score=own / 2)


@pytest.mark.parametrize(
    ("middles", "text"),
    [
        ([(" a", -1.0), (" b", -1.0 - CLOSE / 2)], " b"),
        ([(" a", -1.0), (" b", -1.1 - CLOSE)], " a"),  # too far behind to ask
        ([(" a", -1.0), (" b b", -1.5)], " a"),  # does not parse
        ([(" a a", -1.0), (" c", -1.2), (" b", -1.5)], " b"),
    ],
)
def test_a_line_is_the_one_from_which_the_text_goes_on(middles: list[tuple[str, float]], text: str) -> None:
    engine = Several(middles)
    answer = fill_text(engine, request_for("x = █\ny = 1\n", candidates=len(middles)))
    assert isinstance(answer, Suggestion)
    assert answer.text == text
