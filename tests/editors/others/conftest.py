"""Where the editors are, their configuration out of the guides, and what all of them are tried on.

`make test-editors-others` puts the editors into the folder INFILL_EDITORS_CACHE names, `.cache/editors`
otherwise.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.editors.others.terminal import Terminal

ROOT = Path(__file__).parents[3]
CACHE = Path(os.environ.get("INFILL_EDITORS_CACHE", ROOT / ".cache" / "editors"))
GUIDES = ROOT / "editors"

ACCOUNT = """class Account:
    def __init__(self, owner, balance):
        self.owner = ___
        self.balance = balance
"""
"""A file with a marker, in line 3."""

Start = Callable[..., Terminal]


def configuration(guide: str, language: str, number: int = 0) -> str:
    """One of a guide's code blocks, as a reader would copy it."""
    blocks = re.findall(rf"^```{language}\n(.*?)^```", (GUIDES / guide).read_text(), re.MULTILINE | re.DOTALL)
    return str(blocks[number])


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts an editor in a folder of its own, with the server on the PATH; ends it with the test."""
    running: list[Terminal] = []
    folder = Path(sys.executable).parent
    private = {"HOME": str(tmp_path / "home"), "XDG_CONFIG_HOME": str(tmp_path / "home" / ".config")}
    (tmp_path / "home" / ".config").mkdir(parents=True)

    def begin(*command: str, **variables: str) -> Terminal:
        path = {"PATH": f"{folder}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT), "LANG": "C.UTF-8"}
        terminal = Terminal(list(command), tmp_path, {**os.environ, **private, **path, **variables})
        running.append(terminal)
        return terminal

    yield begin
    for terminal in running:
        terminal.close()
