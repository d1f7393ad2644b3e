"""Real Neovims with the real server and the embedded model.

What the model says is not pinned: it is trained again now and then. What has to hold is that what was drawn
is what accepting leaves.
"""

from __future__ import annotations

import re
from pathlib import Path

from tests.editors.neovim.child import Neovim
from tests.editors.neovim.conftest import EXAMPLE

HOLE_LINE = "        self.items.append()"


def text_of(neovim: Neovim) -> str:
    """The screen without its last lines, which say where the cursor is."""
    return "\n".join(neovim.screen().splitlines()[:22])


def ghost(neovim: Neovim) -> str:
    """Wait for a suggestion."""
    return neovim.until(neovim.ghost, "suggested")


def test_a_suggestion_is_accepted_as_drawn_and_undone_in_one_step(example: Neovim) -> None:
    example.keys("a")
    suggested = ghost(example)
    assert example.line() == HOLE_LINE
    drawn = text_of(example)
    example.keys("<Tab>")
    example.until(lambda: suggested.split("\n")[0] in "\n".join(example.lines()), "accepted")
    assert text_of(example) == drawn
    example.keys("<Esc>u")
    example.until(lambda: example.line() == HOLE_LINE, "undone")


def test_taking_a_word_changes_nothing_on_the_screen(example: Neovim) -> None:
    example.keys("a")
    ghost(example)
    drawn = text_of(example)
    example.keys("<C-l>")
    example.until(lambda: example.line() != HOLE_LINE, "taken")
    assert text_of(example) == drawn


def test_going_through_the_alternatives_numbers_them(example: Neovim) -> None:
    example.keys("a")
    ghost(example)
    example.keys("<C-n>")
    numbered = example.until(lambda: re.search(r" \((\d)/(\d)\)$", example.ghost()), "numbered")
    assert numbered is not None
    index, count = int(numbered[1]), int(numbered[2])
    assert index == min(2, count)
    assert example.line() == HOLE_LINE


def test_fast_typing_and_accepting_leaves_nothing_over(example: Neovim) -> None:
    example.keys("a")
    suggested = ghost(example)
    assert "\n" not in suggested
    for cut in range(len(suggested)):
        example.keys("<Esc>:edit!<CR>:call cursor(14, 26)<CR>a")
        example.until(lambda: example.ghost() == suggested, "suggested again")
        example.keys(f"{suggested[:cut]}<Tab>;")
        example.until(lambda: ";" in example.line(), "typed")
        assert example.line() == f"        self.items.append({suggested};)"


def test_a_dismissed_suggestion_goes(example: Neovim) -> None:
    example.keys("a")
    ghost(example)
    example.keys("<C-]>")
    example.until(lambda: example.ghost() == "", "dismissed")
    assert example.line() == HOLE_LINE


def test_dos_line_ends_and_astral_characters_stay(real: Neovim) -> None:
    text = EXAMPLE.replace("an item on top", "an item 😀 on top")
    path = real.edit("dos.py", text, newline="\r\n")
    real.nvim.funcs.cursor(14, 26)
    real.keys("a")
    suggested = ghost(real).split("\n")[0]
    real.keys("<Tab><Esc>:write<CR>")
    before = len(text.replace("\n", "\r\n").encode())
    real.until(lambda: path.stat().st_size > before, "written")
    written = path.read_bytes().decode()
    assert written.count("\n") == written.count("\r\n")
    assert f"self.items.append({suggested}" in written
    assert "😀" in written


def test_filling_all_holes_is_undone_in_one_step(real: Neovim) -> None:
    real.edit("holes.py", "def add(a, b):\n    return ___\n\n\ndef sub(a, b):\n    return ___\n")
    before = real.lines()
    real.nvim.command("Infill fill-all")
    real.until(lambda: "___" not in "\n".join(real.lines()), "filled")
    real.nvim.command("undo")
    assert real.lines() == before


def test_explain_gives_a_reason(real: Neovim) -> None:
    real.edit("explain.py", "x = 1\n")
    real.nvim.command("Infill explain")
    real.until(lambda: "nothing was asked for in this document yet" in real.messages(), "explained")


def test_a_killed_server_comes_back(example: Neovim, tmp_path: Path) -> None:
    example.keys("a")
    ghost(example)
    first = example.server_pid()
    example.kill_server()
    example.until(lambda: example.server_pid() not in (0, first), "started again")
    assert ghost(example)
