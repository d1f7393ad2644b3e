"""Texts that break tools: each is filled like any other, and in time."""

from __future__ import annotations

import time
from typing import Any

import pytest
from tree_sitter import Node

import infill.code.section
from infill.code.syntax import leaves
from infill.pipeline import fill_text
from infill.request import FillRequest, Reason, Rejected, Suggestion
from tests.fakes.engine import ScriptedEngine
from tests.infill.marked import added, check, request_for

LANGUAGES = ["python", "javascript", "plaintext", "cobol"]


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize(
    "marked",
    [
        "█",
        "x = █",  # no final line feed
        "x = 1\r\nx = █\r\n",
        "a = 1\r\rx = █\r",
        "a = 1\n\fx = █\n",
        "s = '\u2028'\nx = █\n",
        "a = '\u2028 \x85 \v'; x = █\n",
        "s = '😀\U0001d4b3'; x = █\n",
        "s = '\ud83d'; x = █\n",
        "\ufeffx = █\n",
        "\x00x = █\n",
    ],
)
def test_awkward_characters(marked: str, language: str) -> None:
    check(marked, "b", "b", language=language)


def test_a_word_of_astral_letters_is_healed() -> None:
    request = request_for("x = \U0001d4b3\U0001d4b4█\n")
    engine = ScriptedEngine([" \U0001d4b3\U0001d4b4\U0001d4b5"])
    assert added(request, fill_text(engine, request)) == "\U0001d4b5"
    assert engine.requests[0].prompt.typed == " \U0001d4b3\U0001d4b4"


def test_unicode_separators_do_not_end_a_line() -> None:
    check("x = █\n", "'\u2028\f'\nb", "'\u2028\f'")
    check("s = '\u2028'\n\n\nx = █\nb = 1\n", "b = 1", "b = 1")
    check("s = '\u2028\f'\n\n█\n\nb = 1\n", "b = 1", Reason.REPEATS_SUFFIX, detail="line 5")


def ask(text: str, offset: int, language: str) -> tuple[Suggestion | Rejected, float, ScriptedEngine]:
    """The answer, the seconds of this thread's own time it took, and the engine that was asked.

    The bounds on them are some ten times what it takes: they are there for what is quadratic.
    """
    engine = ScriptedEngine(["foo(a, [b])"])
    began = time.thread_time()
    answer = fill_text(engine, FillRequest(text=text, language=language, offset=offset))
    return answer, time.thread_time() - began, engine


@pytest.mark.parametrize("language", LANGUAGES)
def test_fifty_thousand_lines(language: str) -> None:
    lines = ["def f(a):\n", "    return '😀', a\n"] * 25_000
    lines[30_000] = "x = \n"
    offset = len("".join(lines[:30_000])) + 4
    answer, seconds, engine = ask("".join(lines), offset, language)
    assert isinstance(answer, Suggestion)
    assert answer.text == " foo(a, [b])"
    assert seconds < 10
    prompt = engine.requests[0].prompt
    assert prompt.prefix.startswith("def f(a):\n")
    assert 1000 <= len(prompt.prefix) <= 2000
    assert len(prompt.suffix) <= 1000


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("piece", ["x", "[1, '😀'], ", "({[", "x = 1; "])
def test_a_single_line_of_a_megabyte(piece: str, language: str) -> None:
    text = piece * (1_000_000 // len(piece))
    answer, seconds, engine = ask(text, 500_000, language)
    assert seconds < 20
    assert answer.canvas_tokens == 32
    assert len(engine.requests[0].prompt.prefix) <= 2000
    assert len(engine.requests[0].prompt.suffix) <= 1000


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("offset", [0, 500_000, 1_000_000])
def test_a_million_brackets_within_each_other(offset: int, language: str) -> None:
    answer, seconds, _ = ask("[" * 1_000_000, offset, language)
    assert isinstance(answer, Suggestion)
    assert seconds < 10


def test_no_parents_are_looked_up_among_brackets(monkeypatch: pytest.MonkeyPatch) -> None:
    """To find a node's parent the tree is walked from its root, so that as many as leaves are quadratic."""
    looked_up: list[str] = []

    class Watched:
        def __init__(self, node: Node) -> None:
            self._node = node

        def __getattr__(self, name: str) -> Any:
            looked_up.append(name)
            return getattr(self._node, name)

    monkeypatch.setattr(infill.code.section, "leaves", lambda *args: map(Watched, leaves(*args)))
    ask("[" * 10_000, 10_000, "python")
    assert "type" in looked_up
    assert "parent" not in looked_up
