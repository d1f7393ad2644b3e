"""nvim-cmp and blink.cmp in real Neovims, unchanged, list what the server suggests by plain LSP completion.

They are not ours and not in this repository: INFILL_NVIM_CMP (with INFILL_CMP_NVIM_LSP) and INFILL_BLINK_CMP
name their folders, else they are where `make test-editors-neovim` puts them. What the model says is not
pinned; what was listed has to be what accepting it leaves.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.editors.neovim.child import Neovim
from tests.editors.neovim.conftest import CACHE, EXAMPLE

HOLE_LINE = "        self.items.append()"
TRY_S = 5.0


@dataclass(frozen=True)
class Plugin:
    """A completion plugin: its folders, and Lua to set it up, to ask, to see what is listed and to take it.

    `listed` returns the new text and the label of our entry, or nothing where the popup does not show it.
    """

    folders: tuple[Path, ...]
    setup: str
    ask: str
    listed: str
    accept: str


def folder(variable: str, name: str) -> Path:
    """Where a plugin is."""
    return Path(os.environ.get(variable, CACHE / name))


PLUGINS = {
    "nvim-cmp": Plugin(
        folders=(folder("INFILL_NVIM_CMP", "nvim-cmp"), folder("INFILL_CMP_NVIM_LSP", "cmp-nvim-lsp")),
        setup="""
            vim.cmd('runtime plugin/cmp.lua | runtime after/plugin/cmp_nvim_lsp.lua')
            require('cmp').setup({ sources = { { name = 'nvim_lsp' } } })
        """,
        ask="require('cmp').complete()",
        listed="""
            local cmp = require('cmp')
            for _, entry in ipairs(cmp.visible() and cmp.get_entries() or {}) do
              local item = entry.completion_item
              if item.textEdit then return { item.textEdit.newText, item.label } end
            end
        """,
        accept="require('cmp').confirm({ select = true })",
    ),
    "blink.cmp": Plugin(
        folders=(folder("INFILL_BLINK_CMP", "blink.cmp"),),
        # Its faster matcher is compiled, or fetched; this one comes with it.
        setup="""
            require('blink.cmp').setup({
              fuzzy = { implementation = 'lua' }, sources = { default = { 'lsp' } },
            })
        """,
        ask="require('blink.cmp').show()",
        listed="""
            local blink = require('blink.cmp')
            for _, item in ipairs(blink.is_menu_visible() and blink.get_items() or {}) do
              if item.textEdit then return { item.textEdit.newText, item.label } end
            end
        """,
        accept="require('blink.cmp').select_and_accept()",
    ),
}


@pytest.fixture(params=PLUGINS)
def plugin(request: pytest.FixtureRequest) -> Plugin:
    """A plugin that is there."""
    found = PLUGINS[request.param]
    for each in found.folders:
        if not (each / "lua").is_dir():
            pytest.skip(
                f"{request.param} is not in {each}: the module's documentation says how to name its folder"
            )
    return found


@pytest.fixture
def editor(plugin: Plugin, program: str, tmp_path: Path) -> Iterator[Neovim]:
    """A Neovim with the plugin and ours, which draws nothing, and the cursor in the example's hole."""
    neovim = Neovim(program, tmp_path)
    for each in plugin.folders:
        neovim.lua("vim.opt.rtp:append(...)", str(each))
    neovim.lua(plugin.setup)
    neovim.setup(ghost=False)
    neovim.edit("stack.py", EXAMPLE)
    neovim.ready()
    neovim.nvim.funcs.cursor(14, 26)
    yield neovim
    neovim.close()


def listed(neovim: Neovim, plugin: Plugin) -> tuple[str, str]:
    """Wait for our entry: its text and its label. One that is not there in time is there at the next try."""

    def show() -> tuple[str, str] | None:
        neovim.lua(plugin.ask)
        try:
            found = neovim.until(lambda: neovim.lua(plugin.listed), "listed", TRY_S)
        except AssertionError:
            return None
        return found[0], found[1]

    found = neovim.until(show, "listed")
    assert found is not None
    return found


def test_the_suggestion_is_listed_and_accepted(editor: Neovim, plugin: Plugin) -> None:
    editor.keys("a")
    text, label = listed(editor, plugin)
    assert label.removesuffix(" …") in editor.screen()
    assert editor.ghost() == ""
    editor.lua(plugin.accept)
    editor.until(lambda: editor.line() != HOLE_LINE, "accepted")
    assert text.split("\n")[0].lstrip("(") in "\n".join(editor.lines())
    assert editor.line().startswith("        self.items.append(")
    rest = [line for line in EXAMPLE.splitlines() if line != HOLE_LINE]
    assert [line for line in editor.lines() if line in rest] == rest


def test_it_narrows_down_with_what_is_typed(editor: Neovim, plugin: Plugin) -> None:
    editor.keys("a")
    text, _ = listed(editor, plugin)
    first = text.lstrip("(")[0]
    editor.keys(first)
    editor.until(lambda: editor.line() == HOLE_LINE.replace("()", f"({first})"), "typed")
    again, _ = listed(editor, plugin)
    editor.lua(plugin.accept)
    wanted = "        self.items.append" + ("" if again.startswith("(") else "(") + again.split("\n")[0]
    editor.until(lambda: any(line.startswith(wanted) for line in editor.lines()), f"has {wanted}")
