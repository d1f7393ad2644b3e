"""llama.vim in real Neovims, unchanged, with our `/infill` and the embedded model in llama.cpp's place.

The plugin is not ours and not in this repository: INFILL_LLAMA_VIM names its folder, else it is where
`make test-editors-neovim` puts it. What the model says is not pinned; what was drawn has to be accepted.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.service.lifecycle import start
from engine.service.place import Address
from tests.editors.neovim.child import LOADING_S, Neovim
from tests.editors.neovim.conftest import CACHE, EXAMPLE
from tests.engine.service.harness import own_place, post, talk

LLAMA_VIM = Path(os.environ.get("INFILL_LLAMA_VIM", CACHE / "llama.vim"))
pytestmark = pytest.mark.skipif(
    not (LLAMA_VIM / "autoload" / "llama.vim").exists(),
    reason=f"llama.vim is not in {LLAMA_VIM}: INFILL_LLAMA_VIM names the folder it was fetched to",
)

BEFORE_HOLE, HOLE_LINE = "        self.items.append(", "        self.items.append()"
KEYS = {"full": "<Tab>", "line": "<S-Tab>", "word": "<C-B>"}

DRAWN = """
local found = {}
for _, mark in ipairs(vim.api.nvim_buf_get_extmarks(
    0, vim.api.nvim_create_namespace('vt_fim'), 0, -1, { details = true })) do
  if mark[4].virt_text then table.insert(found, 1, mark[4].virt_text[1][1]) end
  for _, line in ipairs(mark[4].virt_lines or {}) do table.insert(found, line[1][1]) end
end
return found
"""


@pytest.fixture(scope="module")
def engine() -> Iterator[Address]:
    """An engine of these tests' own, with a port for the plugin, and the embedded model in memory."""
    with own_place() as place:
        address = start(place, LOADING_S, ("--stay", "--port", "0"))
        status, body = post(address, "/infill", {"input_prefix": "def one():\n    return ", "n_predict": 16})
        assert status == 200, body
        yield address


@pytest.fixture
def llama(program: str, engine: Address, tmp_path: Path) -> Iterator[Neovim]:
    """A Neovim with the plugin; only the address, the key and the keys to press are not its defaults."""
    config = {
        "endpoint_fim": f"http://{engine.host}:{engine.port}/infill",
        "api_key": engine.token,
        "show_info": 0,
        **{f"keymap_fim_accept_{what}": key for what, key in KEYS.items()},
    }
    neovim = Neovim(program, tmp_path, plugin=LLAMA_VIM, before=f"let g:llama_config = {json.dumps(config)}")
    yield neovim
    messages = neovim.messages()
    neovim.close()
    assert "failed" not in messages


def drawn(neovim: Neovim) -> list[str]:
    """The suggestion's lines as the plugin draws them, with the cursor line's rest; empty without one."""
    lines = neovim.lua(DRAWN)
    return list(lines) if any(line.strip() for line in lines) else []


def suggested(neovim: Neovim) -> list[str]:
    """Wait for a suggestion. A machine may be too busy for the plugin's 250 ms: then it is asked again."""
    trigger = time.monotonic()

    def ask() -> list[str]:
        nonlocal trigger
        if time.monotonic() - trigger > 2:
            trigger = time.monotonic()
            neovim.lua("vim.fn['llama#fim'](-1, -1, true, {}, false)")
        return drawn(neovim)

    return neovim.until(ask, "suggested")


def type_to_the_hole(neovim: Neovim) -> list[str]:
    """Type the beginning of a call as a user does, and wait for what the plugin draws."""
    neovim.edit("stack.py", EXAMPLE)
    neovim.nvim.funcs.cursor(14, 19)
    neovim.keys("<Esc>lC")
    neovim.keys("append()<Left>")
    neovim.until(lambda: neovim.line() == HOLE_LINE, "typed")
    return suggested(neovim)


def served(engine: Address) -> int:
    """How many requests of llama.cpp's kind have been answered."""
    text = talk(engine, b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").decode()
    wanted = 'infill_requests_total{endpoint="infill",outcome="ok"} '
    return sum(int(line.removeprefix(wanted)) for line in text.splitlines() if line.startswith(wanted))


def test_a_suggestion_is_drawn_and_accepted(llama: Neovim, engine: Address) -> None:
    before = served(engine)
    lines = type_to_the_hole(llama)
    assert served(engine) > before
    assert llama.line() == HOLE_LINE, "drawn, not in the text yet"
    assert BEFORE_HOLE + lines[0] in llama.screen()
    llama.keys(KEYS["full"])
    llama.until(lambda: llama.line() != HOLE_LINE, "accepted")
    wanted = [BEFORE_HOLE + lines[0], *lines[1:]]
    assert llama.lines()[13 : 13 + len(wanted)] == wanted
    llama.keys("<Esc>u")
    llama.until(lambda: llama.line() != wanted[0], "undone")


def test_a_word_is_accepted(llama: Neovim) -> None:
    lines = type_to_the_hole(llama)
    word = lines[0].removesuffix(")").split()[0]
    llama.keys(KEYS["word"])
    llama.until(lambda: llama.line() != HOLE_LINE, "accepted")
    assert llama.line() == f"{BEFORE_HOLE}{word})"


def test_typing_on_keeps_what_is_left(llama: Neovim) -> None:
    lines = type_to_the_hole(llama)
    llama.keys(lines[0][0])
    llama.until(lambda: drawn(llama) == [lines[0][1:], *lines[1:]], "drawn without what was typed")
