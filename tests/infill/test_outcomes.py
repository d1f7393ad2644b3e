"""What is made of several middles for a hole: another look, lines or part of one, and what is mended."""

from __future__ import annotations

import threading
from typing import Any

import pytest

import infill.pipeline
from engine.request import Decoding
from infill.pipeline import fill_text
from infill.request import Reason, Rejected, Suggestion
from tests.fakes.engine import ScriptedEngine
from tests.infill.marked import added, request_for


class TestSpans:
    """What takes the place of part of a line is part of a line; of nothing, it may be lines."""

    def test_part_of_a_line(self) -> None:
        engine = ScriptedEngine(["2 + 2\ny = 3"], searches=True)
        request = request_for("x = █1 + 1█  # why\n", repair=False)
        answer = fill_text(engine, request)
        assert isinstance(answer, Suggestion)
        assert answer.text.strip() == "2 + 2"
        [asked] = engine.requests
        assert asked.one_line

    def test_lines(self) -> None:
        engine = ScriptedEngine(["a = 1\nb = 2\nc = 3\n"], searches=True)
        request = request_for("█x = 1\ny = 2\n█z = 3\n", repair=False)
        assert added(request, fill_text(engine, request)) == "a = 1\nb = 2\nc = 3\n"
        [asked] = engine.requests
        assert not asked.one_line

    @pytest.mark.parametrize(
        ("line", "lines", "shown"),
        [
            ("a = 1", "a = 1\nb = 2", "a = 1"),  # the likelier of both, here the shorter
            ("a = = 1", "a = 1\nb = 2", "a = 1\nb = 2"),  # unless it does not parse
            ("", "a = 1\nb = 2", "a = 1\nb = 2"),
            ("a = 1", "", "a = 1"),
        ],
    )
    def test_nothing(self, line: str, lines: str, shown: str) -> None:
        engine = ScriptedEngine([line, lines], searches=True)
        request = request_for("x = 1\n██\nz = 3\n", repair=False, decoding=Decoding.VERIFY)
        answer = fill_text(engine, request)
        assert isinstance(answer, Suggestion)
        assert answer.text.strip() == shown
        assert answer.steps == 6  # of both
        assert [asked.one_line for asked in engine.requests] == [True, False]

    def test_nothing_called_off(self) -> None:
        cancelled = threading.Event()
        engine = ScriptedEngine(["a = 1"])
        request = request_for("x = 1\n██\nz = 3\n")
        answer = fill_text(engine, request, cancelled=cancelled, on_step=lambda _: cancelled.set())
        assert added(request, answer) is Reason.CANCELLED
        assert len(engine.requests) == 1


class TestAnotherLook:
    """Where a search finds nothing with which the text parses, it looks again, and further."""

    @pytest.mark.parametrize("first", [[" = ("], [" = 1 1", " = = 2"], ["", ""]])
    def test_finds_what_is_sound(self, first: list[str]) -> None:
        engine = ScriptedEngine([*first, *[" = 1"] * len(first)], steps=2, searches=True)
        request = request_for("x█\ny = 2\n", candidates=len(first), repair=False)
        answer = fill_text(engine, request)
        assert isinstance(answer, Suggestion)
        assert answer.text.endswith("= 1")
        assert answer.steps == 4  # of both
        assert [asked.wide for asked in engine.requests] == [False, True]

    def test_what_is_no_better_changes_nothing(self) -> None:
        engine = ScriptedEngine([" = 1 1", " = 2 2"], searches=True)
        answer = fill_text(engine, request_for("x█\ny = 2\n", repair=False))
        assert isinstance(answer, Suggestion)
        assert answer.text.endswith("= 1 1")

    @pytest.mark.parametrize(
        ("middle", "marked", "changes"),
        [
            (" = 1", "x█\ny = 2\n", {}),  # sound at once
            (" = (", "x█\ny = 2\n", {"decoding": Decoding.VERIFY}),  # not searched for
            (" = (", "x█\n)) y = 2\n", {}),  # nothing else would be sound either
        ],
    )
    def test_is_not_taken_where_it_is_of_no_use(
        self, middle: str, marked: str, changes: dict[str, Any]
    ) -> None:
        engine = ScriptedEngine([middle], searches=True)
        fill_text(engine, request_for(marked, repair=False, **changes))
        assert [asked.wide for asked in engine.requests] == [False]

    def test_is_not_taken_by_engines_that_do_not_search(self) -> None:
        engine = ScriptedEngine([" = ("])
        fill_text(engine, request_for("x█\ny = 2\n", repair=False))
        assert len(engine.requests) == 1

    def test_is_not_taken_without_time(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(infill.pipeline, "_LOOK_TIMES", 1e9)
        engine = ScriptedEngine([" = ("], searches=True)
        fill_text(engine, request_for("x█\ny = 2\n", repair=False, deadline_ms=500.0))
        assert len(engine.requests) == 1


@pytest.mark.parametrize(
    ("middles", "text"),
    [
        (["a", "b"], "a"),
        (["a a", "b"], "b"),
        (["a a", "b b"], "a a"),  # nothing is
    ],
)
def test_the_best_is_the_first_that_is_sound(middles: list[str], text: str) -> None:
    request = request_for("x = f(█)\ny = 1\n", candidates=len(middles), repair=False)
    assert added(request, fill_text(ScriptedEngine(middles), request)) == text


def test_no_more_is_mended_than_there_is_patience_for(monkeypatch: pytest.MonkeyPatch) -> None:
    mended: list[str] = []

    def in_vain(*arguments: Any, **_named: Any) -> Rejected:
        mended.append(arguments[4].text)
        return Rejected(reason=Reason.BROKEN, detail=arguments[4].text)

    monkeypatch.setattr(infill.pipeline, "repair_suggestion", in_vain)
    middles = [f"{number} {number}" for number in range(9)]
    answer = fill_text(ScriptedEngine(middles), request_for("x = █\n", candidates=9))
    assert isinstance(answer, Rejected)
    assert answer.detail == mended[0]  # the best of them tells why
    assert mended == [f" {number} {number}" for number in range(infill.pipeline._MENDED)]
