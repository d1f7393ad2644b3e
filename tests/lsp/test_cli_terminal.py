"""Drawing a canvas: what is shown of the code, and how tokens are shaded."""

from __future__ import annotations

import io

import pytest
from rich.console import Console
from rich.text import Text

from engine.request import CanvasToken
from lsp.terminal import CanvasView, Frame, draw_code, draw_tokens, harmless, shade, surroundings


def lines_of(width: int, *parts: object) -> list[str]:
    console = Console(file=io.StringIO(), width=width)
    console.print(*parts)
    assert isinstance(console.file, io.StringIO)
    return [line.rstrip() for line in console.file.getvalue().splitlines()]


def test_code_is_numbered_as_in_the_file_and_the_middle_stands_in_the_hole() -> None:
    text = "".join(f"line {n}\n" for n in range(1, 21))
    at = text.index("line 10") + 5
    shown = lines_of(60, draw_code(surroundings(text, at, at + 2, lines=2), Text("X\nY")))
    assert shown == [" 8 line 8", " 9 line 9", "10 line X", "11 Y", "12 line 11", "13 line 12"]


def test_numbers_are_right_after_any_line_ending() -> None:
    text = "a\r\nb\rc\nd"
    around = surroundings(text, len(text), len(text), lines=1)
    assert (around.before, around.first_line) == ("c\nd", 3)


def test_long_lines_are_cut_where_they_are_far_from_the_hole() -> None:
    around = surroundings("a" * 500 + "b\n" + "x" * 400 + "yz" + "w" * 400, 904, 904, lines=1)
    assert all(len(line) <= 120 for line in (around.before + "\n" + around.after).split("\n"))
    assert around.before.endswith("xyz")
    assert around.after.startswith("w")
    assert around.before.split("\n")[1].startswith("…")
    assert around.after.endswith("…")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\tb\nc", "a\tb\nc"),
        ("a\r\nb\rc", "a\nb\nc"),
        ("\x1b[2J", "␛[2J"),
        ("\x9b2J\x7f\x00", "\ufffd2J␡␀"),
        ("\u202eabc", "\ufffdabc"),
    ],
)
def test_nothing_in_a_text_steers_the_terminal(text: str, shown: str) -> None:
    assert harmless(text) == shown


def test_a_surer_token_looks_surer() -> None:
    unsure, sure = shade(0.0), shade(1.0)
    assert unsure.dim
    assert not sure.dim
    assert sure.bold
    assert not unsure.bold
    assert unsure.color != sure.color
    assert shade(2.0) == sure


def test_every_token_gets_its_own_shade() -> None:
    text = draw_tokens([CanvasToken(text="ab", confidence=0.1), CanvasToken(text="c", confidence=1.0)])
    assert [(span.start, span.end, span.style) for span in text.spans] == [
        (0, 2, shade(0.1)),
        (2, 3, shade(1.0)),
    ]


def test_the_view_shows_each_frame_and_leaves_nothing_behind() -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=60)
    frames = [
        Frame(
            number=n, tokens=(CanvasToken(text="x" * n, confidence=0.5),), confidence=0.5, elapsed_ms=n * 10
        )
        for n in (1, 2)
    ]
    with CanvasView(console, frame_ms=0) as view:
        for frame in frames:
            view.show(surroundings("a = \n", 4, 4), frame)
    assert isinstance(console.file, io.StringIO)
    said = console.file.getvalue()
    assert "step 1 · 1 token · 50% sure · 10 ms" in said
    assert "step 2 · 1 token · 50% sure · 20 ms" in said
    assert said.rindex("\x1b[2K") > said.rindex("step 2")  # the last thing it does is to wipe
