"""Suggestions in real Neovims with a scripted server: what is drawn, and what accepting leaves."""

from __future__ import annotations

import pytest

from tests.editors.neovim.child import Neovim
from tests.editors.neovim.conftest import Scripted

CALL = "items.append("
BLOCK = "for x in y:"
SUGGESTIONS = {
    "suggestions": {
        CALL: ["item + other", "other", "None"],
        f"{CALL}i": [{"text": "item", "before": 1}],
        f"{CALL}x": [],
        BLOCK: ["\n    first(x)\n    second(x)"],
        's = "😀é" + ': ['"𝔘" * 2'],
        "f(a": [{"text": "abc)", "before": 1, "behind": 1}],
    }
}


def picture(neovim: Neovim, rows: int) -> str:
    """The first rows of the screen."""
    return "\n".join(neovim.screen().splitlines()[:rows])


def shown(neovim: Neovim, ghost: str) -> None:
    """Wait for a suggestion."""
    neovim.until(lambda: neovim.ghost() == ghost, f"showed {ghost!r}, but {neovim.ghost()!r}")


def test_a_suggestion_is_drawn_in_its_place_and_accepted_as_drawn(scripted: Scripted) -> None:
    neovim, received = scripted(SUGGESTIONS)
    neovim.edit("a.py", f"# é\n{CALL})\nlast = 1\n")
    neovim.nvim.command("normal! 2G$")
    neovim.keys("i")
    shown(neovim, "item + other")
    before = picture(neovim, 4)
    assert before == f"# é\n{CALL}item + other)\nlast = 1\n~"
    assert neovim.lines() == ["# é", f"{CALL})", "last = 1"]
    neovim.keys("<Tab>")
    neovim.until(lambda: neovim.line() == f"{CALL}item + other)", "accepted")
    assert picture(neovim, 4) == before
    assert neovim.ghost() == ""
    assert neovim.nvim.funcs.col(".") == len(f"{CALL}item + other") + 1
    neovim.until(lambda: received("workspace/executeCommand"), "reported")
    assert received("workspace/executeCommand") == [{"command": "accepted", "arguments": [{"id": "0"}]}]
    assert len(received("textDocument/didShowCompletion")) == 1


def test_several_lines_are_drawn_below(scripted: Scripted) -> None:
    neovim, _ = scripted(SUGGESTIONS)
    neovim.edit("a.py", f"{BLOCK}\nlast = 1\n")
    neovim.keys("A")
    shown(neovim, "\n    first(x)\n    second(x)")
    before = picture(neovim, 5)
    assert before == f"{BLOCK}\n    first(x)\n    second(x)\nlast = 1\n~"
    neovim.keys("<Tab>")
    neovim.until(lambda: len(neovim.lines()) == 4, "accepted")
    assert picture(neovim, 5) == before
    assert neovim.nvim.current.window.cursor == (3, len("    second(x)"))


def test_accepting_word_by_word_keeps_the_rest(scripted: Scripted) -> None:
    neovim, received = scripted(SUGGESTIONS)
    neovim.edit("a.py", f"{CALL})\n")
    neovim.keys("A<Left>")
    shown(neovim, "item + other")
    before = picture(neovim, 2)
    for rest in (" + other", " other", ""):
        neovim.keys("<C-l>")
        shown(neovim, rest)
        assert picture(neovim, 2) == before
    assert neovim.lines() == [f"{CALL}item + other)"]

    def lengths() -> list[int]:
        return [told["acceptedLength"] for told in received("textDocument/didPartiallyAcceptCompletion")]

    neovim.until(lambda: lengths() == [4, 6], "reported")


def test_accepting_line_by_line(scripted: Scripted) -> None:
    neovim, _ = scripted(SUGGESTIONS)
    neovim.edit("a.py", f"{BLOCK}\n")
    neovim.keys("A")
    shown(neovim, "\n    first(x)\n    second(x)")
    neovim.keys("<C-j>")
    shown(neovim, "\n    second(x)")
    assert neovim.lines() == [BLOCK, "    first(x)"]
    neovim.keys("<C-j>")
    neovim.until(lambda: neovim.lines() == [BLOCK, "    first(x)", "    second(x)"], "accepted")


def test_going_through_the_alternatives(scripted: Scripted) -> None:
    neovim, _ = scripted(SUGGESTIONS)
    neovim.edit("a.py", f"{CALL})\n")
    neovim.keys("A<Left>")
    shown(neovim, "item + other")
    for key, expected in (
        ("<C-n>", "other (2/3)"),
        ("<C-n>", "None (3/3)"),
        ("<C-n>", "item + other (1/3)"),
        ("<C-p>", "None (3/3)"),
    ):
        neovim.keys(key)
        shown(neovim, expected)
    neovim.keys("<Tab>")
    neovim.until(lambda: neovim.line() == f"{CALL}None)", "accepted")


def test_a_dismissed_suggestion_stays_away_until_the_text_changes(scripted: Scripted) -> None:
    neovim, received = scripted(SUGGESTIONS)
    neovim.edit("a.py", f"{CALL})\n")
    neovim.keys("A<Left>")
    shown(neovim, "item + other")
    asked = len(received("textDocument/inlineCompletion"))
    neovim.keys("<C-]>")
    shown(neovim, "")
    rejected = {"command": "infill.rejected", "arguments": [{"id": "0"}]}
    neovim.until(lambda: received("workspace/executeCommand") == [rejected], "reported")
    # The built-in module asks 200 ms after any movement; its question must not bring it back.
    assert neovim.lua("return vim.wait(400, function() return require('infill').visible() end)") is False
    assert len(received("textDocument/inlineCompletion")) == asked
    neovim.keys("i")
    shown(neovim, "tem")


def test_keys_do_what_they_did_where_nothing_shows(scripted: Scripted, neovim: Neovim) -> None:
    neovim.nvim.command("inoremap <Tab> mapped")
    neovim.nvim.command("inoremap <expr> <C-l> 'expr' . (1 + 1)")
    scripted({})
    neovim.edit("a.py", "\n")
    neovim.keys("i<Tab> <C-l> <C-j>x")
    neovim.until(lambda: neovim.lines() == ["mapped expr2 ", "x"], "typed")


@pytest.mark.parametrize("typed", ["", "i", "it", "item", "item ", "item + oth"])
def test_typing_along_and_accepting_at_once_leaves_nothing_over(scripted: Scripted, typed: str) -> None:
    neovim, _ = scripted(SUGGESTIONS)
    neovim.edit("a.py", f"{CALL})\n")
    neovim.keys("A<Left>")
    shown(neovim, "item + other")
    neovim.keys(f"{typed}<Tab>;")  # in one go: no event loop turn between the keys
    neovim.until(lambda: neovim.line().endswith(";)"), "typed")
    assert neovim.line() == f"{CALL}item + other;)"


def test_typing_against_a_suggestion_removes_it_at_once(scripted: Scripted) -> None:
    neovim, _ = scripted(SUGGESTIONS)
    neovim.edit("a.py", f"{CALL})\n")
    neovim.keys("A<Left>")
    shown(neovim, "item + other")
    neovim.keys("x<Tab>;")
    neovim.until(lambda: neovim.line().endswith(";)"), "typed")
    assert neovim.line().split() == [f"{CALL}x", ";)"]  # a tab or blanks, as the user has it
    assert neovim.ghost() == ""


def test_accepting_is_undone_in_one_step_and_leaves_what_was_typed(scripted: Scripted) -> None:
    neovim, _ = scripted(SUGGESTIONS)
    neovim.edit("a.py", "\n")
    neovim.keys(f"i{BLOCK}")
    shown(neovim, "\n    first(x)\n    second(x)")
    neovim.keys("<Tab><Esc>")
    neovim.until(lambda: len(neovim.lines()) == 3, "accepted")
    neovim.keys("u")
    neovim.until(lambda: neovim.lines() == [BLOCK], "undone")
    neovim.keys("<C-r>")
    neovim.until(lambda: neovim.lines() == [BLOCK, "    first(x)", "    second(x)"], "done again")


def test_astral_characters_and_dos_line_ends(scripted: Scripted) -> None:
    neovim, _ = scripted(SUGGESTIONS)
    path = neovim.edit("a.py", 's = "😀é" + \n' + f"{BLOCK}\n", newline="\r\n")
    assert neovim.nvim.current.buffer.options["fileformat"] == "dos"
    neovim.keys("A")
    shown(neovim, '"𝔘" * 2')
    neovim.keys("<C-l>")
    shown(neovim, " * 2")
    neovim.keys("<Tab><Esc>")
    neovim.until(lambda: neovim.line() == 's = "😀é" + "𝔘" * 2', "accepted")
    neovim.keys("jA")
    shown(neovim, "\n    first(x)\n    second(x)")
    neovim.keys("<Tab><Esc>:w<CR>")
    expected = f's = "😀é" + "𝔘" * 2\n{BLOCK}\n    first(x)\n    second(x)\n'
    neovim.until(lambda: path.read_bytes() == expected.replace("\n", "\r\n").encode(), "written")


def test_a_range_before_and_behind_the_cursor_is_replaced(scripted: Scripted) -> None:
    neovim, _ = scripted(SUGGESTIONS)
    neovim.edit("a.py", "f(a)\n")
    neovim.keys("A<Left>")
    shown(neovim, "bc)")
    assert picture(neovim, 1) == "f(abc)"
    neovim.keys("<Tab>")
    neovim.until(lambda: neovim.line() == "f(abc)", "accepted")


def test_nothing_stays_after_insert_mode_or_behind_a_popup(scripted: Scripted) -> None:
    neovim, _ = scripted(SUGGESTIONS)
    neovim.edit("a.py", f"{CALL})\nitemless\n")
    neovim.keys("A<Left>")
    shown(neovim, "item + other")
    neovim.keys("<Esc>")
    shown(neovim, "")
    neovim.keys("a")
    shown(neovim, "item + other")
    neovim.keys("i<C-x><C-p>")
    neovim.until(lambda: neovim.nvim.funcs.pumvisible() == 1 or "itemless" in neovim.line(), "completed")
    shown(neovim, "")


def test_switched_off_and_on_again(scripted: Scripted) -> None:
    neovim, received = scripted(SUGGESTIONS)
    neovim.edit("a.py", f"{CALL})\n")
    neovim.nvim.command("Infill toggle")
    neovim.keys("A<Left>")
    neovim.until(lambda: received("textDocument/didOpen"), "opened")
    neovim.keys("<Esc>")
    neovim.nvim.command("Infill toggle")
    neovim.keys("a")
    shown(neovim, "item + other")
    assert len(received("textDocument/inlineCompletion")) == 1


def test_a_killed_server_comes_back(scripted: Scripted) -> None:
    neovim, _ = scripted(SUGGESTIONS)
    neovim.edit("a.py", f"{CALL})\n")
    neovim.keys("A<Left>")
    shown(neovim, "item + other")
    first = neovim.server_pid()
    neovim.kill_server()
    neovim.until(lambda: neovim.server_pid() not in (0, first), "started again")
    shown(neovim, "item + other")
