"""setup() and its mistakes, finding the server, :checkhealth and :help, in real Neovims."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pynvim
import pytest

from tests.editors.neovim.child import PLUGIN, SERVER, Neovim


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"cmd": "infill lsp"}, "cmd: expected a list of strings"),
        ({"ghost": "none"}, "ghost: expected 'auto', 'builtin', 'own' or false"),
        ({"debounce_ms": "fast"}, "debounce_ms: expected a number"),
        ({"canvas": True}, "canvas: expected 'fills', 'always' or false"),
        ({"keymaps": {"acept": "<Tab>"}}, 'there is no action "acept"'),
        ({"keymaps": {"accept": 1}}, "the key of accept should be a string"),
        ({"settings": 3}, "settings: expected table"),
        ({"debounce": 3}, 'there is no option "debounce"; there are canvas, cmd'),
    ],
)
def test_a_wrong_option_is_named(neovim: Neovim, options: dict[str, Any], says: str) -> None:
    with pytest.raises(pynvim.NvimError) as error:
        neovim.setup(**options)
    assert says in str(error.value)


def test_no_key_is_mapped_unasked_and_all_on_request(neovim: Neovim) -> None:
    def ours() -> int:
        return int(
            neovim.lua("""
          local count = 0
          for _, mode in ipairs({ 'i', 'n', 'x' }) do
            for _, map in ipairs(vim.api.nvim_get_keymap(mode)) do
              if (map.desc or ''):find('^Infill: ') then count = count + 1 end
            end
          end
          return count""")
        )

    neovim.setup()
    assert ours() == 0
    neovim.setup(keymaps=True)
    assert ours() == 12


def executable(folder: Path) -> str:
    """A program named infill."""
    folder.mkdir(parents=True)
    path = folder / "infill"
    path.write_text("#!/bin/sh\necho infill 9.9\n")
    path.chmod(0o755)
    return str(path)


def test_the_server_is_found_in_the_documented_order(neovim: Neovim, tmp_path: Path) -> None:
    def found() -> list[Any]:
        return list(
            neovim.lua("local cmd, where = require('infill.server').command() return { cmd or {}, where }")
        )

    def environment(name: str, value: str | None) -> None:
        neovim.lua("vim.env[select(1, ...)] = select(2, ...)", name, value)

    environment("VIRTUAL_ENV", None)
    environment("PATH", "/usr/bin:/bin")
    neovim.lua("vim.uv.os_homedir = function() return '" + str(tmp_path / "home") + "' end")
    assert found() == [[], "nowhere"]
    home = executable(tmp_path / "home" / ".local" / "bin")
    assert found()[0] == [home, "lsp"]
    on_path = executable(tmp_path / "path")
    environment("PATH", f"{tmp_path / 'path'}:/usr/bin:/bin")
    assert found() == [[on_path, "lsp"], "$PATH"]
    active = executable(tmp_path / "venv" / "bin")
    environment("VIRTUAL_ENV", str(tmp_path / "venv"))
    assert found()[0] == [active, "lsp"]
    neovim.setup(cmd=SERVER)
    assert found() == [SERVER, "the option cmd"]


def test_a_missing_server_is_said_where_it_is_looked_for(neovim: Neovim) -> None:
    neovim.lua("vim.env.PATH, vim.env.VIRTUAL_ENV = '/nowhere', nil; vim.uv.os_homedir = function() end")
    neovim.lua("require('infill').setup()")
    neovim.edit("a.py", "x = 1\n")
    neovim.until(lambda: "not found" in neovim.lua("return require('infill').status().message"), "said")
    neovim.nvim.command("checkhealth infill")
    report = "\n".join(neovim.lines())
    assert "the server was not found" in report
    assert "looked in $PATH" in report


def test_health_is_fine_with_a_server(neovim: Neovim, tmp_path: Path) -> None:
    neovim.setup(cmd=[executable(tmp_path / "bin"), "lsp"])
    neovim.nvim.command("checkhealth infill")
    report = "\n".join(neovim.lines())
    assert "ERROR" not in report
    assert "infill 9.9" in report
    assert "found in the option cmd" in report


def test_the_help_has_every_option_key_and_command(neovim: Neovim, tmp_path: Path) -> None:
    doc = tmp_path / "site" / "doc"
    doc.mkdir(parents=True)
    (doc / "infill.txt").write_text((PLUGIN / "doc" / "infill.txt").read_text())
    neovim.nvim.command(f"set rtp+={doc.parent}")
    neovim.nvim.command(f"helptags {doc}")
    neovim.nvim.command("help infill")
    assert os.path.basename(neovim.nvim.current.buffer.name) == "infill.txt"
    text = "\n".join(neovim.lines())
    options = neovim.lua("return vim.tbl_keys(require('infill.config').defaults)")
    actions = neovim.lua("return vim.tbl_keys(require('infill.config').suggested_keymaps)")
    commands = neovim.nvim.funcs.getcompletion("Infill ", "cmdline")
    assert [name for name in (*options, "cmd") if f"*infill-option-{name}*" not in text] == []
    assert [name for name in actions if f"\n  {name} " not in text] == []
    assert [name for name in commands if f"\n  :Infill {name} " not in text] == []
