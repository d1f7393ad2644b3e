"""What is done on request, with a scripted server: the commands sent, the canvas drawn, the edits applied."""

from __future__ import annotations

from typing import Any

from tests.editors.neovim.child import Neovim
from tests.editors.neovim.conftest import Scripted

CANVAS = """
local marks = vim.api.nvim_buf_get_extmarks(
  0, vim.api.nvim_get_namespaces()['infill.canvas'], 0, -1, { details = true })
return vim.tbl_map(function(mark) return mark[4].virt_text end, marks)
"""


def span(line: int, first: int, last_line: int, last: int) -> dict[str, Any]:
    """A range as the protocol has it."""
    return {"start": {"line": line, "character": first}, "end": {"line": last_line, "character": last}}


def edit(text: str, line: int, first: int, last: int) -> dict[str, Any]:
    """An edit within one line."""
    return {"range": span(line, first, line, last), "newText": text}


def said(neovim: Neovim, text: str) -> None:
    """Wait for a message."""
    neovim.until(lambda: text in neovim.messages(), f"said {text!r}")


def test_filling_a_hole_asks_about_the_cursor_and_is_undone_in_one_step(scripted: Scripted) -> None:
    fill = {"edits": [edit("1", 0, 5, 8), edit("2", 1, 4, 7)], "result": {"applied": True, "reason": None}}
    neovim, received = scripted({"commands": {"infill.fillHole": fill}})
    path = neovim.edit("a.py", "é = [___]\nb = ___\n")
    neovim.ready()
    neovim.nvim.funcs.cursor(1, 7)
    neovim.nvim.command("Infill fill")
    neovim.until(lambda: neovim.lines() == ["é = [1]", "b = 2"], "filled")
    [asked] = received("workspace/executeCommand")
    assert asked["arguments"] == [{"uri": path.as_uri(), "position": {"line": 0, "character": 5}}]
    neovim.nvim.command("undo")
    assert neovim.lines() == ["é = [___]", "b = ___"]


def test_why_nothing_was_filled_is_said(scripted: Scripted) -> None:
    refused = {"result": {"applied": False, "filled": 0, "reason": "there are no holes in this file"}}
    neovim, received = scripted({"commands": {"infill.fillAllHoles": refused}})
    path = neovim.edit("a.py", "x = 1\n")
    neovim.ready()
    neovim.nvim.command("Infill fill-all")
    said(neovim, "there are no holes in this file")
    assert received("workspace/executeCommand")[0]["arguments"] == [{"uri": path.as_uri()}]


def test_rewriting_sends_the_selection(scripted: Scripted) -> None:
    neovim, received = scripted(
        {"commands": {"infill.rewriteSelection": {}}}, keymaps={"rewrite_selection": "R"}
    )
    neovim.edit("a.py", "x = '😀' + y\nz = 2\n")
    neovim.ready()
    ranges = []
    for keys, lines in (("gg0wvee", 1), ("ggVj", 2), ("gg$vgg0", 3)):
        neovim.keys(keys + "R")
        neovim.until(lambda n=lines: len(received("workspace/executeCommand")) == n, "asked")
        ranges.append(received("workspace/executeCommand")[-1]["arguments"][0]["range"])
    assert ranges == [span(0, 2, 0, 7), span(0, 0, 1, 5), span(0, 0, 0, 12)]


def test_each_hole_of_a_shared_canvas_is_drawn_in_its_place(neovim: Neovim) -> None:
    neovim.edit("a.py", "x = ___\ny = ___\n")
    drawn = neovim.lua(
        """
        local function part(line, text)
          local at = { line = line, character = 4 }
          return { range = { start = at, ['end'] = at }, text = text, confidences = { 1 } }
        end
        local parts = { part(0, 'one'), part(1, 'two') }
        local whole = vim.tbl_extend('force', part(0, 'one\\ny = two'), {
          uri = vim.uri_from_bufnr(0), version = vim.lsp.util.buf_versions[0], parts = parts })
        require('infill.canvas').draw(whole, { offset_encoding = 'utf-16' })
        local found = {}
        local namespace = vim.api.nvim_get_namespaces()['infill.canvas']
        for _, mark in ipairs(vim.api.nvim_buf_get_extmarks(0, namespace, 0, -1, { details = true })) do
          table.insert(found, { mark[2], mark[3], mark[4].virt_text[1][1] })
        end
        return found
        """
    )
    assert drawn == [[0, 4, "one"], [1, 4, "two"]]


def test_the_canvas_is_drawn_by_its_confidence_and_goes(scripted: Scripted) -> None:
    where = span(0, 4, 0, 4)
    denoise = {"canvas": ["a1\nb"], "range": where}
    neovim, _ = scripted({"commands": {"infill.fillHole": denoise}}, canvas="always")
    neovim.edit("a.py", "x = \n")
    neovim.ready()
    neovim.lua("_G.seen = {}; local draw = require('infill.canvas').draw\n"
               "require('infill.canvas').draw = function(...) draw(...)\n"
               "  table.insert(seen, (function() " + CANVAS + " end)()) end")  # fmt: skip
    neovim.nvim.command("Infill fill")
    seen = neovim.until(lambda: neovim.lua("return seen"), "drawn")
    assert seen == [[[["a1", "InfillCanvas1"]]]]
    neovim.until(lambda: neovim.lua(CANVAS) == [], "taken away")
    assert neovim.lines() == ["x = "]


def test_fixing_resolves_the_action_chosen(scripted: Scripted) -> None:
    fixes = {"replace x by y": [edit("y", 0, 6, 7)], "replace x by z": [edit("z", 0, 6, 7)]}
    neovim, received = scripted({"fixes": fixes})
    neovim.edit("a.py", "print(x)\n")
    neovim.ready()
    neovim.lua(
        "vim.diagnostic.set(vim.api.nvim_create_namespace('other'), 0,"
        " {{ lnum = 0, col = 6, end_col = 7, message = 'x is not defined', source = 'other' }})\n"
        "vim.ui.select = function(items, _, done) done(items[2]) end"
    )
    neovim.nvim.command("Infill fix")
    neovim.until(lambda: neovim.line() == "print(z)", "fixed")
    [asked] = received("textDocument/codeAction")
    [diagnostic] = asked["context"]["diagnostics"]
    assert diagnostic["message"] == "x is not defined"
    assert diagnostic["range"] == span(0, 6, 0, 7)


def test_explaining_and_status(scripted: Scripted) -> None:
    explained = {"result": {"reason": "it repeats the line above", "text": "x = 1"}}
    status = {"result": {"model": "scripted", "requests": 3}}
    neovim, _ = scripted({"commands": {"infill.explainNoSuggestion": explained, "infill.status": status}})
    neovim.edit("a.py", "x = 1\n")
    neovim.ready()
    neovim.nvim.command("set cmdheight=8")
    neovim.nvim.command("Infill explain")
    said(neovim, "it repeats the line above")
    assert "It would have been:\nx = 1" in neovim.messages()
    neovim.nvim.command("Infill")
    said(neovim, "requests: 3")


def test_the_statusline_says_what_the_server_says(scripted: Scripted) -> None:
    neovim, _ = scripted({})
    assert neovim.lua("return require('infill').statusline()") == "○ infill"
    neovim.nvim.command("set laststatus=2 statusline=%{v:lua.require'infill'.statusline()}")
    neovim.edit("a.py", "x = 1\n")
    neovim.ready()
    neovim.until(lambda: "● infill" in neovim.screen().splitlines()[-1] + neovim.screen(), "shown")
    neovim.nvim.command("Infill stop")
    neovim.until(lambda: "○ infill" in neovim.screen(), "stopped")


def test_switched_off_it_says_so_and_how_to_go_on(scripted: Scripted) -> None:
    neovim, _ = scripted({})
    neovim.edit("a.py", "x = 1\n")
    neovim.ready()
    neovim.nvim.command("Infill toggle")
    said(neovim, "suggestions are off in this buffer")
    assert neovim.lua("return require('infill').statusline()") == "○ infill: switched off"
    neovim.nvim.command("Infill explain")
    said(neovim, "suggestions are switched off in this buffer; :Infill toggle")
    neovim.nvim.command("Infill toggle")
    assert neovim.lua("return require('infill').statusline()") == "● infill"


def test_a_reason_is_not_told_in_buffers_it_has_nothing_to_do_with(scripted: Scripted) -> None:
    neovim, _ = scripted({})
    neovim.edit("a.py", "x = 1\n")
    neovim.ready()
    neovim.lua("require('infill.status').set({ state = 'ready', message = 'ready', reason = 'too short' })")
    assert neovim.lua("return require('infill').statusline()") == "● infill: too short"
    neovim.edit("notes.txt", "notes\n")
    assert neovim.lua("return require('infill').statusline()") == "● infill"
    neovim.nvim.command("Infill fill")
    said(neovim, 'no server for this buffer, of the type "text"')


def test_restarting_gives_another_process(scripted: Scripted) -> None:
    neovim, _ = scripted({})
    neovim.edit("a.py", "x = 1\n")
    neovim.ready()
    first = neovim.server_pid()
    neovim.nvim.command("Infill restart")
    neovim.until(lambda: neovim.server_pid() not in (0, first), "started again")


def test_one_that_keeps_dying_is_given_up(neovim: Neovim) -> None:
    neovim.setup(cmd=["/bin/false"], restarts=1)
    neovim.edit("a.py", "x = 1\n")
    status = neovim.until(
        lambda: neovim.lua("local s = require('infill').status() return s.state == 'error' and s"), "given up"
    )
    assert "too often" in status["message"]
