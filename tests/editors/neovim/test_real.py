"""Real Neovims with the real server and the embedded model.

What the model says is not pinned: it is trained again now and then. What has to hold is that what was drawn
is what accepting leaves.
"""

from __future__ import annotations

import os
import re
import signal
import sys
from pathlib import Path

from engine.service.lifecycle import running
from engine.service.place import Place
from infill.request import Reason
from tests.editors.neovim.child import LOADING_S, Neovim
from tests.editors.neovim.conftest import EXAMPLE

HOLE_LINE = "        self.items.append()"
RUFF = [sys.executable, "-m", "ruff", "server"]
BROKEN = "def total(values):\n    return sum(values)\n\n\nprint(total([1, 2])\n\n\ndef one():\n    return 1\n"
MENDED = BROKEN.replace("2])", "2]))")
BLOCK = """class Stack:
    def __init__(self):
        self.items = []

    def pop(self):
        \"\"\"Take the item on top; an error if the stack is empty.\"\"\"
        

    def __len__(self):
        return len(self.items)
"""
LINE_OF_BLOCK = 7
HOLES = """class Account:
    def __init__(self, owner, balance):
        self.owner = ___
        self.balance = balance

    def deposit(self, amount):
        self.balance += amount

    def withdraw(self, amount):
        self.balance -= ___
"""


def text_of(neovim: Neovim) -> str:
    """The screen without its last lines, which say where the cursor is."""
    return "\n".join(neovim.screen().splitlines()[:22])


def ghost(neovim: Neovim) -> str:
    """Wait for a suggestion; what a busy machine did not do within the deadline is asked for again."""

    def shown() -> str:
        if neovim.lua("return require('infill').status().reason") == Reason.TOO_SLOW.value:
            neovim.lua("require('infill.status').set({ state = 'busy' })")
            neovim.lua("require('infill.suggest').refresh(vim.api.nvim_get_current_buf())")
        return neovim.ghost()

    return neovim.until(shown, "suggested")


def engine_pid() -> int:
    """The process id of the engine that all servers of the tests share; 0 while none runs."""
    address = running(Place(folder=Path(os.environ["INFILL_RUNTIME_DIR"])))
    return address.pid if address else 0


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
    for cut in range(len(ghost(example))):
        example.keys("<Esc>:edit!<CR>:call cursor(14, 26)<CR>")
        example.until(lambda: example.line() == HOLE_LINE and not example.ghost(), "opened again")
        example.keys("a")
        suggested = ghost(example)
        assert "\n" not in suggested
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
    real.edit("holes.py", HOLES)
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


def test_taking_a_line_leaves_the_others_to_be_taken(real: Neovim) -> None:
    # What the model says is not pinned: any place with a suggestion of several lines will do.
    real.edit("line.py", BLOCK)
    real.nvim.funcs.cursor(LINE_OF_BLOCK, 1)
    real.keys("A")
    suggested = ghost(real)
    drawn = text_of(real)
    before = len(real.lines())
    real.keys("<C-j>")
    real.until(lambda: real.ghost() != suggested, "taken")
    first = re.match(r"\n*[^\n]*", suggested)
    assert first is not None
    assert real.ghost() == suggested[first.end() :]
    assert text_of(real) == drawn
    assert len(real.lines()) == before + first[0].count("\n")
    real.keys("<Esc>")


def test_a_syntax_error_another_server_reports_is_fixed(real: Neovim) -> None:
    real.keys("<Esc>")
    real.edit("broken.py", BROKEN)
    real.lua("vim.lsp.start({ name = 'ruff', cmd = ..., root_dir = vim.uv.cwd() })", RUFF)
    errors = "return #vim.diagnostic.get(0, { severity = vim.diagnostic.severity.ERROR })"
    real.until(lambda: real.lua(errors) > 0, "reported by ruff")
    real.nvim.funcs.cursor(5, 1)
    # The fix and another way: the first is taken, as somebody would who presses Enter.
    real.lua("vim.ui.select = function(items, _, done) done(items[1]) end")
    real.nvim.command("Infill fix")
    real.until(lambda: real.lines() == MENDED.splitlines(), "mended")
    real.until(lambda: real.lua(errors) == 0, "reported as fixed")
    real.nvim.command("undo")
    assert real.lines() == BROKEN.splitlines()


def test_a_selection_is_rewritten_and_nothing_but_it(real: Neovim) -> None:
    real.edit("rewrite.py", EXAMPLE.replace("append()", "append(something)"))
    before = real.lines()
    real.nvim.funcs.cursor(14, 27)
    real.keys("ve")
    real.lua("require('infill').rewrite_selection()")
    real.until(lambda: real.lines() != before, "rewritten")
    after = real.lines()
    assert after[:13] == before[:13]
    assert after[-(len(before) - 14) :] == before[14:]
    assert after[13].startswith("        self.items.append(")
    real.nvim.command("undo")
    assert real.lines() == before


def test_a_killed_engine_comes_back(example: Neovim) -> None:
    before = engine_pid()
    os.kill(before, signal.SIGKILL)

    def suggested() -> str:
        # What was asked for meanwhile is lost: somebody comes to the place again, with some patience.
        example.keys("<Esc>a")
        try:
            return example.until(example.ghost, "suggested", 5.0)
        except AssertionError:
            return ""

    example.until(suggested, "suggested by another engine", LOADING_S)
    assert engine_pid() not in (0, before)


def test_a_restricted_workspace_has_no_say(neovim: Neovim, tmp_path: Path) -> None:
    # The project switches suggestions off; who does not trust it does not heed that.
    (tmp_path / "infill.toml").write_text("[languages]\npython = false\n")

    def answered() -> str:
        return neovim.ghost() or neovim.lua("return require('infill').status().reason or ''")

    said = []
    for restricted in (False, True):
        neovim.setup(settings={"restricted": restricted}, root_markers=["infill.toml"])
        neovim.edit("stack.py", EXAMPLE)
        neovim.ready()
        neovim.nvim.funcs.cursor(14, 26)
        neovim.keys("a")
        said.append(neovim.until(answered, "answered"))
        neovim.keys("<Esc>")
        neovim.nvim.command("Infill stop")
        neovim.until(lambda: neovim.server_pid() == 0, "stopped")
    assert said[0] == "suggestions are switched off for python"
    assert "switched off" not in said[1]
