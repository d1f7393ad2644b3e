"""The line index, against a reference that follows the specification character by character."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lsp.lines import Encoding, Lines, code_points, units

ALPHABET = ["a", "b", " ", "é", "☃", "𐐀", "👩", "\n", "\r", "\r\n", "\f", "\v", "\x85", "\u2028", "\ud800"]
"""Line ends of the protocol, line ends of `str.splitlines` alone, and every width in every encoding."""


def split(text: str) -> list[tuple[str, str]]:
    """(content, line ending) of each line, by the letter of the specification."""
    lines, content, i = [], "", 0
    while i < len(text):
        ending = "\r\n" if text[i : i + 2] == "\r\n" else text[i] if text[i] in "\r\n" else ""
        if ending:
            lines.append((content, ending))
            content = ""
        else:
            content += text[i]
        i += len(ending) or 1
    return [*lines, (content, "")]


def width(character: str, encoding: Encoding) -> int:
    """The units of one character, by encoding it."""
    unit = {Encoding.UTF8: 1, Encoding.UTF16: 2, Encoding.UTF32: 4}[encoding]
    name = {Encoding.UTF8: "utf-8", Encoding.UTF16: "utf-16-le", Encoding.UTF32: "utf-32-le"}[encoding]
    return len(character.encode(name, "surrogatepass")) // unit


def reference_offset(text: str, line: int, column: int, encoding: Encoding) -> int:
    lines = split(text)
    if line >= len(lines):
        return len(text)
    offset = sum(len(content) + len(ending) for content, ending in lines[:line])
    for character in lines[line][0]:
        column -= width(character, encoding)
        if column < 0:
            break
        offset += 1
    return offset


def random_text(rng: random.Random, pieces: int) -> str:
    return "".join(rng.choice(ALPHABET) for _ in range(pieces))


@pytest.mark.parametrize("encoding", Encoding)
def test_a_thousand_random_edits_agree_with_the_reference(encoding: Encoding) -> None:
    rng = random.Random(encoding.value)
    text = random_text(rng, 60)
    lines = Lines(text)
    for _ in range(1000):
        a = (rng.randrange(14), rng.randrange(12))
        b = (rng.randrange(14), rng.randrange(12))
        first, last = min(a, b), max(a, b)
        start, end = lines.offset(*first, encoding), lines.offset(*last, encoding)
        assert start == reference_offset(text, *first, encoding)
        assert end == reference_offset(text, *last, encoding)
        # Long texts shrink and short ones grow, so that the edits keep meeting each other.
        new = random_text(rng, rng.randrange(6 if len(text) < 150 else 2))
        text = text[:start] + new + text[end:]
        lines.replace(text, start, end, len(new))
        assert lines.count == len(split(text))
        line = rng.randrange(lines.count + 2)
        column = rng.randrange(20)
        assert lines.offset(line, column, encoding) == reference_offset(text, line, column, encoding)


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.sampled_from(ALPHABET), max_size=20).map("".join),
    st.data(),
    st.lists(st.sampled_from(ALPHABET), max_size=4).map("".join),
)
def test_an_edited_index_equals_a_fresh_one(text: str, data: st.DataObject, new: str) -> None:
    lines = Lines(text)
    for _ in range(3):
        start = data.draw(st.integers(0, len(text)))
        end = data.draw(st.integers(start, len(text)))
        text = text[:start] + new + text[end:]
        lines.replace(text, start, end, len(new))
        fresh = Lines(text)
        everywhere = range(len(text) + 1)
        assert [lines.position(o, Encoding.UTF32) for o in everywhere] == [
            fresh.position(o, Encoding.UTF32) for o in everywhere
        ]


@settings(max_examples=200, deadline=None)
@given(st.lists(st.sampled_from(ALPHABET), max_size=30).map("".join), st.sampled_from(Encoding))
def test_positions_lead_back_to_their_offsets(text: str, encoding: Encoding) -> None:
    lines = Lines(text)
    for offset in range(len(text) + 1):
        within_crlf = text[offset - 1 : offset + 1] == "\r\n" and offset > 0
        assert lines.offset(*lines.position(offset, encoding), encoding) == offset - within_crlf


@pytest.mark.parametrize(
    ("text", "position", "offset"),
    [
        ("ab\ncd", (0, 99), 2),
        ("ab\r\ncd", (0, 99), 2),
        ("ab\rcd", (1, 1), 4),
        ("ab\ncd", (1, 99), 5),
        ("ab\n", (1, 0), 3),
        ("ab", (7, 0), 2),
        ("", (0, 5), 0),
        ("a\fb\vc\x85d\u2028e", (0, 99), 9),
        ("ab", (2**31 - 1, 2**31 - 1), 2),
        ("é", (0, 2**31 - 1), 1),
    ],
)
def test_positions_outside_are_clamped(text: str, position: tuple[int, int], offset: int) -> None:
    for encoding in Encoding:
        assert Lines(text).offset(*position, encoding) == offset


def test_columns_within_a_character_are_its_start() -> None:
    assert [code_points("a👩b", n, Encoding.UTF16) for n in range(6)] == [0, 1, 1, 2, 3, 3]
    assert [code_points("a👩b", n, Encoding.UTF8) for n in range(8)] == [0, 1, 1, 1, 1, 2, 3, 3]
    assert [units("a👩b", encoding) for encoding in Encoding] == [6, 4, 3]


@pytest.mark.parametrize("line", [2, 25_000, 49_990])
def test_an_edit_looks_at_no_more_than_its_surroundings(line: int) -> None:
    """Typing anywhere in a long file must not walk all of its lines, wherever one typed before."""
    text = "line\n" * 50_000
    lines = Lines(text)
    for at in (5 * line, 5 * (50_000 - line)):
        before = list(lines._blocks)
        text = text[:at] + "x\n" + text[at:]
        lines.replace(text, at, at, 2)
        assert max(map(len, lines._blocks)) < 1000
        kept = {id(block) for block in lines._blocks} & {id(block) for block in before}
        assert len(kept) >= len(before) - 1
    assert lines.offset(50_001, 4, Encoding.UTF16) == 5 * 49_999 + 4 + 4
