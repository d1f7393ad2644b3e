"""From a suggestion to the protocol's item."""

from __future__ import annotations

import pytest
from lsprotocol import types

from infill.request import Suggestion
from lsp.convert import Selected, inline_item
from lsp.lines import Encoding, Lines


def suggest(text: str, start: int, end: int) -> Suggestion:
    return Suggestion(
        text=text, start=start, end=end, confidence=1, steps=1, canvas_tokens=32, elapsed_ms=1, model="m"
    )


def item(
    text: str, suggestion: Suggestion, selected: Selected | None = None
) -> tuple[str, tuple[int, int, int, int]] | None:
    made = inline_item(suggestion, Lines(text), Encoding.UTF16, selected)
    if made is None:
        return None
    assert isinstance(made.insert_text, str)
    assert made.range is not None
    start, end = made.range.start, made.range.end
    return made.insert_text, (start.line, start.character, end.line, end.character)


def test_a_healed_word_is_replaced() -> None:
    assert item("a\n👩.va", suggest("value\n", 4, 6)) == ("value\n", (1, 3, 1, 5))


def test_a_healed_bracket_is_replaced() -> None:
    assert item("print()", suggest('("hi"', 5, 6)) == ('("hi"', (0, 5, 0, 6))


@pytest.mark.parametrize("ending", ["\n", "\r\n", "\r"])
def test_a_range_over_two_lines_is_no_item(ending: str) -> None:
    assert item(f"ab{ending}cd", suggest("x", 1, 3 + len(ending))) is None


def test_line_endings_become_line_feeds() -> None:
    assert item("x", suggest("a\r\nb\nc\rd", 1, 1)) == ("a\nb\nc\nd", (0, 1, 0, 1))


@pytest.mark.parametrize(
    ("selected", "suggestion", "expected"),
    [
        # The text with the entry accepted is "  print" in each, the real one "  pri" with the cursor at 5.
        (Selected(start=2, end=5, text="print"), suggest("print(1)", 2, 7), ("print(1)", (0, 2, 0, 5))),
        (Selected(start=2, end=5, text="print"), suggest("(1)", 7, 7), ("print(1)", (0, 2, 0, 5))),
        (Selected(start=2, end=5, text="print"), suggest("nt(1)", 5, 7), ("print(1)", (0, 2, 0, 5))),
        (Selected(start=2, end=5, text="print"), suggest("  print(1)", 0, 7), ("  print(1)", (0, 0, 0, 5))),
        (Selected(start=2, end=2, text="print"), suggest("print(1)", 2, 7), ("print(1)", (0, 2, 0, 2))),
        (Selected(start=2, end=5, text="print"), suggest("x", 2, 4), None),
    ],
)
def test_a_selected_entry_is_part_of_the_item(
    selected: Selected, suggestion: Suggestion, expected: tuple[str, tuple[int, int, int, int]] | None
) -> None:
    assert item("  pri", suggestion, selected) == expected


def test_positions_are_the_protocol_s() -> None:
    made = inline_item(suggest("x", 0, 0), Lines(""), Encoding.UTF8)
    assert made is not None
    assert made.range == types.Range(start=types.Position(0, 0), end=types.Position(0, 0))
