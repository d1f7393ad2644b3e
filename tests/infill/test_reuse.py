"""Typing along a suggestion and against it; `█` is the cursor, « and » surround what is replaced."""

from __future__ import annotations

from dataclasses import replace

import pytest

from engine.request import DenoiseRequest, Prompt, Segment
from infill.code.document import Document
from infill.request import Suggestion
from infill.reuse import Memory, after_enter, renoise

SUGGESTION = Suggestion(
    text="", start=0, end=0, confidence=0.9, steps=3, canvas_tokens=32, elapsed_ms=5, model="m"
)


def memory_of(marked: str, *texts: str) -> Memory:
    """A memory of suggestions for `marked`, in which they replace what is between « and »."""
    before, _, rest = marked.partition("«")
    inside, _, after = rest.partition("»")
    memory = Memory()
    found = [replace(SUGGESTION, text=text, start=len(before), end=len(before + inside)) for text in texts]
    memory.remember(before + inside + after, tuple(found))
    return memory


def recalled(memory: Memory, marked: str) -> list[str]:
    """`marked` as it would be with each suggestion that is recalled, accepted."""
    before, _, after = marked.partition("█")
    text = before + after
    return [text[: s.start] + s.text + text[s.end :] for s in memory.recall(text, len(before))]


@pytest.mark.parametrize(
    ("given", "text", "asked", "expected"),
    [
        ("x = «»\n", "foo(1)", "x = █\n", ["x = foo(1)\n"]),
        ("x = «»\n", "foo(1)", "x = fo█\n", ["x = foo(1)\n"]),
        ("x = «fo»\n", "foo(1)", "x = f█\n", ["x = foo(1)\n"]),  # taken back again
        ("x = «»\n", "foo(1)", "x = fa█\n", []),
        ("x = «»\n", "foo(1)", "x = foo(1)█\n", []),  # nothing is left
        ("x = «»\n", "foo(1) ", "x = foo(1)█\n", []),
        ("x = «»\n", "foo(1)", "y = fo█\n", []),  # an edit elsewhere
        ("x = «»\n", "foo(1)", "x = fo█\n#", []),
        ("x = «»\n", "foo(1)", "x = █fo\n", []),
        ("x = «»\n", "foo(1)", "x = foo(█)\n", ["x = foo(1)\n"]),  # the editor closed it
        ("x = «»\n", "foo", "x = fo█)\n", []),
        ("x = «»)\n", "foo(1)", "x = foo(█))\n", ["x = foo(1))\n"]),
        ("if a:\n    «»\n", "b()\n    c()", "if a:\n    b()\n    █\n", ["if a:\n    b()\n    c()\n"]),
        (
            "if a:\r\n    «»\r\n",
            "b()\r\n    c()",
            "if a:\r\n    b()\r\n    c█\r\n",
            ["if a:\r\n    b()\r\n    c()\r\n"],
        ),
    ],
)
def test_typing_along(given: str, text: str, asked: str, expected: list[str]) -> None:
    assert recalled(memory_of(given, text), asked) == expected


def test_what_is_recalled_begins_on_the_cursor_s_line_and_took_no_time() -> None:
    [found] = memory_of("if a:\n    «»\n", "b()\n    c()").recall("if a:\n    b()\n    c\n", 19)
    assert (found.text, found.start, found.end, found.steps, found.elapsed_ms) == ("    c()", 14, 19, 0, 0.0)


def test_only_the_alternatives_that_are_typed_along_are_left() -> None:
    memory = memory_of("x = «»\n", "foo", "fab", "bar")
    assert recalled(memory, "x = f█\n") == ["x = foo\n", "x = fab\n"]


def test_a_rejected_suggestion_is_not_recalled() -> None:
    memory = memory_of("x = «»\n", "foo", "fab")
    memory.reject("foo")
    assert recalled(memory, "x = f█\n") == ["x = fab\n"]
    assert memory.is_rejected("foo")
    assert not memory.is_rejected("fab")


def test_the_newest_suggestion_that_fits_counts_and_old_ones_are_forgotten() -> None:
    memory = Memory()
    for at in range(20):
        memory.remember("x = \n", (replace(SUGGESTION, text=f"v{at}", start=4, end=4),))
    assert recalled(memory, "x = v█\n") == ["x = v19\n"]
    assert recalled(memory, "x = v0█\n") == []


@pytest.mark.parametrize(
    ("text", "typed", "rest"),
    [
        ("foo(a, b)", "fa", "(a, b)"),
        ("foo(a, b)", "bar", "(a, b)"),
        ("foo(a, b)", "bar(", "a, b)"),
        ("foo(a, b)", "foo(x", ", b)"),
        ("foo(a)\r\nbar()", "fa", "(a)\nbar()"),
        ("foo", "fa", None),  # nothing is left
        ("foo(a)", "fo", None),  # along, not against
        ("foo(a)", "fa\nb", None),
        ("foo(a)", "b" * 25, None),
    ],
)
def test_what_is_left_behind_what_was_typed_against(text: str, typed: str, rest: str | None) -> None:
    memory = memory_of("x = «»\n", text)
    assert memory.rest_against(f"x = {typed}\n", 4 + len(typed)) == rest


def test_a_renoised_canvas_pins_what_was_typed_and_starts_from_the_rest() -> None:
    ask = DenoiseRequest(prompt=Prompt(prefix="x =", typed=" fa"), canvas_tokens=32, candidates=2)
    shaped = renoise("(a, b)")(ask)
    assert shaped.prompt == Prompt(prefix="x =")
    first, second = shaped.layouts
    assert first[:2] == second[:2] == (Segment(text=" fa"), Segment(free_tokens=2))
    assert first[2] == Segment(text="(a, b)", free_tokens=27, noise=0.5)
    assert second[2].noise > first[2].noise


def test_no_gap_is_left_where_no_word_was_begun_and_nothing_is_changed_without_room() -> None:
    ask = DenoiseRequest(prompt=Prompt(prefix="x", typed=" ="), canvas_tokens=32)
    assert [len(layout) for layout in renoise("1")(ask).layouts] == [2]
    full = DenoiseRequest(prompt=Prompt(prefix="x", typed="y" * 30), canvas_tokens=32)
    assert renoise("1")(full) is full


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("def f():█\n", "def f():\n    █\n"),
        ("    x = 1█\ny\n", "    x = 1\n    █\ny\n"),
        ("def f():\r\n  if a:█\r\n", "def f():\r\n  if a:\r\n    █\r\n"),
        ("x = 1█\r\ny\r\n", "x = 1\r\n█\r\ny\r\n"),
        ("f(█)\n", None),
        ("    █\n", None),
    ],
)
def test_the_next_line(before: str, after: str | None) -> None:
    head, _, tail = before.partition("█")
    found = after_enter(Document(head + tail, "python"), len(head))
    if after is None:
        assert found is None
    else:
        assert found is not None
        document, at = found
        assert document.text[:at] + "█" + document.text[at:] == after
