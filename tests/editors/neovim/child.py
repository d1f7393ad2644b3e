"""A real Neovim as a child process: keys go in, its screen and its buffer are looked at.

Nothing waits for a fixed time: `until` asks again until something is so or a deadline has passed.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pynvim

T = TypeVar("T")

ROOT = Path(__file__).parents[3]
PLUGIN = ROOT / "editors" / "neovim"
SERVER = [sys.executable, "-m", "lsp", "lsp"]
WIDTH, HEIGHT = 200, 24
"""Wide enough for any message: one that does not fit waits for a key."""
DEADLINE_S = 30.0
LOADING_S = 120.0
_PAUSE_S = 0.005
_QUIET = "let g:loaded_python3_provider = 0"
"""Without it the first Python file makes Neovim look for a Python of its own, which takes seconds."""

GHOST = """
local found = {}
for name, id in pairs(vim.api.nvim_get_namespaces()) do
  if name == 'infill.ghost' or name == 'nvim.lsp.inline_completion' then
    for _, mark in ipairs(vim.api.nvim_buf_get_extmarks(0, id, 0, -1, { details = true })) do
      local lines = { mark[4].virt_text or {}, unpack(mark[4].virt_lines or {}) }
      for _, line in ipairs(lines) do
        local text = ''
        for _, chunk in ipairs(line) do text = text .. chunk[1] end
        table.insert(found, text)
      end
    end
  end
end
return table.concat(found, '\\n')
"""


class Neovim:
    """A running Neovim with the plugin on its path, its window attached."""

    def __init__(
        self,
        program: str,
        folder: Path,
        environment: dict[str, str] | None = None,
        *,
        plugin: Path = PLUGIN,
        before: str = "",
    ) -> None:
        """Start it with a plugin, ours unless another is named; `before` is done before that is read."""
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        private = {f"XDG_{kind}_HOME": str(folder / kind) for kind in ("CONFIG", "DATA", "STATE", "CACHE")}
        with _environment({"PYTHONPATH": str(ROOT), **private, **(environment or {})}):
            self.nvim = pynvim.attach(
                "child",
                argv=[
                    program,
                    "--embed",
                    "--headless",
                    "--clean",
                    "-n",
                    "--cmd",
                    f"{_QUIET} | set rtp^={plugin}",
                    "--cmd",
                    before,
                ],
            )
        self.nvim.ui_attach(WIDTH, HEIGHT, rgb=True)
        self.nvim.command(f"cd {folder}")

    def close(self) -> None:
        """End it; it stops its server."""
        with contextlib.suppress(Exception):
            self.nvim.command("qall!")
        self.nvim.close()

    def lua(self, code: str, *arguments: Any) -> Any:
        """What Lua code returns."""
        return self.nvim.exec_lua(code, *arguments)

    def keys(self, keys: str) -> None:
        """Type; `<` begins the name of a key."""
        rest = keys.encode()
        while rest:
            rest = rest[self.nvim.input(rest.decode()) :]

    def until(self, condition: Callable[[], T], what: str = "", deadline_s: float = DEADLINE_S) -> T:
        """The first truthy value of a condition.

        Raises:
            AssertionError: there was none before the deadline; it shows the screen.
        """
        end = time.monotonic() + deadline_s
        while not (value := self._ask(condition)):
            assert time.monotonic() < end, f"never {what or condition}:\n{self.screen()}\n{self.messages()}"
            time.sleep(_PAUSE_S)
        return value

    def _ask(self, condition: Callable[[], T]) -> T:
        """The condition's value; an error if Neovim waits for a key and would not answer."""
        assert not self.nvim.api.get_mode()["blocking"], "Neovim waits for a key"
        return condition()

    def screen(self) -> str:
        """The screen's characters, without blanks at the ends of lines."""
        self.nvim.command("redraw")
        rows = self.lua(
            """
            local rows = {}
            for row = 1, vim.o.lines do
              local cells = {}
              for col = 1, vim.o.columns do cells[col] = vim.fn.screenstring(row, col) end
              rows[row] = table.concat(cells)
            end
            return rows
            """
        )
        return "\n".join(row.rstrip() for row in rows).rstrip("\n")

    def messages(self) -> str:
        """What was echoed so far."""
        return str(self.nvim.command_output("messages"))

    def ghost(self) -> str:
        """The text that is drawn but not there; empty where none is."""
        return str(self.lua(GHOST))

    def lines(self) -> list[str]:
        """The current buffer's text."""
        return list(self.nvim.current.buffer[:])

    def line(self) -> str:
        """The cursor's line."""
        return str(self.nvim.current.line)

    def setup(self, **options: Any) -> None:
        """Call the plugin's setup with the server of this source tree."""
        self.lua("require('infill').setup(...)", {"cmd": SERVER, **options})

    def edit(self, name: str, text: str, newline: str = "\n") -> Path:
        """Write a file and open it."""
        path = self.folder / name
        path.write_bytes(text.replace("\n", newline).encode())
        self.nvim.command(f"edit! {path}")
        return path

    def ready(self) -> None:
        """Wait until the server has attached to the buffer and its model is loaded."""
        self.until(lambda: self.lua("return require('infill').status().state") == "ready", "ready", LOADING_S)

    def server_pid(self) -> int:
        """The server's process id; 0 while none runs."""
        children = self.lua("return vim.api.nvim_get_proc_children(vim.fn.getpid())")
        return int(children[0]) if children else 0

    def kill_server(self) -> None:
        """End the server's process as hard as can be."""
        os.kill(self.server_pid(), signal.SIGKILL)


@contextlib.contextmanager
def _environment(changes: dict[str, str]) -> Iterator[None]:
    """The environment with some variables set, for what is started meanwhile."""
    before = {name: os.environ.get(name) for name in changes}
    os.environ.update(changes)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
