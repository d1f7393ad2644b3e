"""Helix with the configuration of its guide, in a terminal: code actions and the popup."""

from __future__ import annotations

from pathlib import Path

from tests.editors.others.conftest import ACCOUNT, CACHE, Start, configuration
from tests.editors.others.terminal import Terminal

HELIX = CACHE / "helix-forky" / "usr"


def helix(start: Start, folder: Path, text: str) -> tuple[Terminal, Path]:
    """Helix with a file, once the server is ready."""
    settings = folder / "home" / ".config" / "helix"
    settings.mkdir()
    (settings / "languages.toml").write_text(configuration("helix.md", "toml"))
    (settings / "config.toml").write_text("[editor.lsp]\ndisplay-progress-messages = true\n")
    path = folder / "account.py"
    path.write_text(text)
    runtime = str(HELIX / "lib" / "hx" / "runtime")
    terminal = start(str(HELIX / "bin" / "hx"), str(path), HELIX_RUNTIME=runtime)
    terminal.shows("ready")
    return terminal, path


def saved(terminal: Terminal, path: Path) -> None:
    """Save, and look at the file: something stands in the place of the marker, all else is as it was."""
    head, _, tail = ACCOUNT.partition("___")
    terminal.keys(":write\r")
    terminal.until(lambda: "___" not in path.read_text() and path.read_text() != head + tail, "saved")
    assert path.read_text().startswith(head)
    assert path.read_text().endswith(tail)


def test_a_marker_is_filled_by_a_code_action(start: Start, tmp_path: Path) -> None:
    terminal, path = helix(start, tmp_path, ACCOUNT)
    terminal.keys("3Ggl a")
    terminal.shows("Fill this hole with Infill")
    terminal.keys("\x0e\x0e\r")  # the second entry
    terminal.until(lambda: "___" not in terminal.text(), "filled")
    saved(terminal, path)


def test_the_popup_offers_the_suggestion(start: Start, tmp_path: Path) -> None:
    terminal, path = helix(start, tmp_path, ACCOUNT.replace("___", ""))
    terminal.keys("3GA")

    def offered() -> bool:
        # One that is not there in time is not waited for: it is there at the next try.
        terminal.keys("\x18")
        try:
            return terminal.until(lambda: " text" in terminal.text(), "offered", 5.0)  # the entry's kind
        except AssertionError:
            return False

    terminal.until(offered, "offered")
    terminal.keys("\x0e")
    terminal.shows("Infill, ")  # and how sure it is
    terminal.keys("\x1b")
    terminal.shows(" NOR ")
    saved(terminal, path)
