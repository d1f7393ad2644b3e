"""What clients that know no canvases get of one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import cast

import pytest

from engine.request import Canvas, CanvasToken, DenoiseRequest, Prompt, Step, Stop
from engine.service.core import Origin, Service
from engine.service.fills import Ask, Filled, fill


class OneStep:
    """Stands where the service is, and answers every request with one step."""

    def __init__(self, text: str, stop: Stop, *, ended: bool = True) -> None:
        token = CanvasToken(text=text, confidence=0.9)
        canvas = Canvas(text=text, tokens=(token,), ended=ended, score=0.0)
        self._step = Step(number=1, canvases=(canvas,), elapsed_ms=1.0, stop=stop)

    async def denoise(self, request: DenoiseRequest, origin: Origin) -> AsyncGenerator[Step]:
        """The step."""
        yield self._step


def filled(text: str, stop: Stop, *stops: str, ended: bool = True) -> Filled:
    ask = Ask(prompt=Prompt(prefix=""), tokens=16, stop=stops, deadline_ms=250.0)
    service = cast("Service", OneStep(text, stop, ended=ended))
    [answer] = asyncio.run(fill(service, ask, Origin(endpoint="infill")))
    return answer


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("a = 1\n    b = (", "a = 1\n"),
        ("a = 1\n", "a = 1\n"),
        ("\n    retu", "\n    retu"),  # no line is whole: what there is
        ("retu", "retu"),
        ("", ""),
    ],
)
def test_a_deadline_leaves_whole_lines_and_is_told_as_a_limit(text: str, left: str) -> None:
    answer = filled(text, Stop.DEADLINE)
    assert (answer.text, answer.why) == (left, "length")


def test_what_was_ready_in_time_is_left_as_it_is() -> None:
    answer = filled("a = 1\n    b = 2", Stop.CONFIDENT)
    assert (answer.text, answer.why) == ("a = 1\n    b = 2", "end")


def test_a_stop_string_counts_before_the_deadline() -> None:
    answer = filled("a = 1\n    b = (", Stop.DEADLINE, "b")
    assert (answer.text, answer.why, answer.stop) == ("a = 1\n    ", "stop", "b")


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("a\na\na\na", "a"),
        ("x\na\n\nb\na\n\nb\na\n", "x\na\n\nb"),
        ("a\nb\na", "a\nb\na"),  # nothing whole is said twice
        ("a\n\n\n\nb", "a\n\n\n\nb"),  # blank lines are nothing said
        ("a", "a"),
    ],
)
def test_what_is_cut_off_says_nothing_again_and_again(text: str, left: str) -> None:
    answer = filled(text, Stop.STEPS, ended=False)
    assert (answer.text, answer.why) == (left, "length")
    assert filled(text, Stop.CONFIDENT).text == text


class Healing:
    """Answers with a canvas that begins with what was typed, and remembers what it was asked."""

    def __init__(self, pieces: list[str]) -> None:
        self._pieces = pieces
        self.asked: list[DenoiseRequest] = []

    async def denoise(self, request: DenoiseRequest, origin: Origin) -> AsyncGenerator[Step]:
        """The canvas."""
        self.asked.append(request)
        tokens = tuple(CanvasToken(text=piece, confidence=0.9) for piece in self._pieces)
        canvas = Canvas(text="".join(self._pieces), tokens=tokens, ended=True, score=0.0)
        yield Step(number=1, canvases=(canvas,), elapsed_ms=1.0, stop=Stop.CONFIDENT)


@pytest.mark.parametrize(
    ("prefix", "pieces", "typed", "text", "tokens"),
    [
        ("return wid", [" width", " *", " h"], " wid", "th * h", 3),
        ("return wid", [" wi", "d", "th", ""], " wid", "th", 2),
        ("return ", [" width"], " ", "width", 1),
        ("x = 1\n    ", ["\n    ", "y", " = 2"], "\n    ", "y = 2", 2),
        ("x = 1\r\n    ", ["y"], "", "y", 1),
        ("x\n", ["\ny"], "\n", "y", 1),
        ("", ["y"], "", "y", 1),
    ],
)
def test_a_half_typed_token_is_written_anew_and_not_told(
    prefix: str, pieces: list[str], typed: str, text: str, tokens: int
) -> None:
    service = Healing(pieces)
    ask = Ask(prompt=Prompt(prefix=prefix), tokens=16)
    [answer] = asyncio.run(fill(cast("Service", service), ask, Origin(endpoint="infill")))
    assert (answer.text, answer.tokens, answer.why) == (text, tokens, "end")
    [request] = service.asked
    assert (request.prompt.prefix + request.prompt.typed, request.prompt.typed) == (prefix, typed)


@pytest.mark.parametrize(
    ("one_line", "wanted", "asked"), [(True, 1, None), (True, 3, 3), (False, 1, 1), (False, 3, 3)]
)
def test_the_best_line_is_the_best_of_many(one_line: bool, wanted: int, asked: int | None) -> None:
    service = Healing(["y"])
    ask = Ask(prompt=Prompt(prefix="x = "), tokens=16, one_line=one_line, candidates=wanted)
    asyncio.run(fill(cast("Service", service), ask, Origin(endpoint="infill")))
    assert [request.candidates for request in service.asked] == [asked]
