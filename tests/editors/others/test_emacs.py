"""Emacs with the configurations of its guide, in a terminal: eglot and lsp-mode, actions and the popup."""

from __future__ import annotations

from pathlib import Path

from tests.editors.others.conftest import ACCOUNT, CACHE, Start, configuration
from tests.editors.others.terminal import Terminal

EMACS = CACHE / "emacs-trixie" / "usr"
EGLOT, LSP_MODE = 0, 1
UNPACKED = """(progn (setq native-comp-enable-subr-trampolines nil native-comp-jit-compilation nil)
                       (load "lsp-mode-autoloads" t t))"""
"""What installing would have seen to. Debian's Emacs compiles with a compiler, which was not unpacked."""
MARKER, HOLE_END = "\x1bgg3\r\x05\x02", "\x1bgg3\r\x05"
"""Keys that go to the last character of the marker, and to the end of its line."""


def emacs(start: Start, folder: Path, client: int, text: str) -> tuple[Terminal, Path]:
    """Emacs with a file of a project."""
    # It was unpacked and not installed: it is told where its own files are.
    lisp = sorted({str(path.parent) for path in (EMACS / "share/emacs/30.1/lisp").rglob("*.el*")})
    packages = sorted(str(path) for path in (EMACS / "share/emacs/site-lisp/elpa-src").iterdir())
    [dump] = (EMACS / "libexec/emacs/30.1").glob("*/*.pdmp")
    etc = str(EMACS / "share/emacs/30.1/etc")
    init = folder / "init.el"
    init.write_text(configuration("emacs.md", "elisp", client))
    (folder / ".git").mkdir()  # what makes a folder a project
    path = folder / "account.py"
    path.write_text(text)
    options = ["-nw", "-Q", "--eval", UNPACKED, "-l", str(init), str(path)]
    terminal = start(
        str(EMACS / "bin" / "emacs-nox"),
        f"--dump-file={dump}",
        *options,
        EMACSLOADPATH=":".join([*packages, *(each for each in lisp if not each.endswith("obsolete"))]),
        EMACSDATA=etc,
        EMACSDOC=etc,
    )
    return terminal, path


def command(terminal: Terminal, name: str) -> None:
    """Run a command by its name."""
    terminal.keys(f"\x1bx{name}\r")


def saved_without_marker(terminal: Terminal, path: Path) -> None:
    """Wait for the fill, save, and look at the file."""
    terminal.until(lambda: "___" not in terminal.text() and "self.owner = " in terminal.text(), "filled")
    terminal.keys("\x18\x13")
    terminal.until(lambda: path.read_text() and "___" not in path.read_text(), "saved")  # emptied before
    head, _, tail = ACCOUNT.partition("___")
    assert path.read_text().startswith(head)
    assert path.read_text().endswith(tail)


def test_eglot_fills_a_marker_by_a_code_action(start: Start, tmp_path: Path) -> None:
    terminal, path = emacs(start, tmp_path, EGLOT, ACCOUNT)
    terminal.shows("Connected!")
    terminal.keys(MARKER)

    def filled() -> bool:
        if "___" not in terminal.text():
            return True
        command(terminal, "eglot-code-actions")
        terminal.shows("Pick an action")
        terminal.keys("Fill\t\r")
        terminal.until(lambda: "___" not in terminal.text() or "is loading" in terminal.text(), "answered")
        return "___" not in terminal.text()

    terminal.until(filled, "filled")
    saved_without_marker(terminal, path)


def test_eglot_completes_with_the_suggestion(start: Start, tmp_path: Path) -> None:
    text = ACCOUNT.replace("___", "")
    terminal, path = emacs(start, tmp_path, EGLOT, text)
    terminal.shows("Connected!")
    terminal.keys(HOLE_END)

    def completed() -> bool:
        # One that is not there in time is not waited for: it is there at the next try.
        command(terminal, "completion-at-point")
        terminal.until(lambda: "completion-at-point" not in terminal.text().splitlines()[-1], "run")
        terminal.keys("\x18\x13")
        return path.read_text() != text

    terminal.until(completed, "completed")
    head, _, tail = ACCOUNT.partition("___")
    assert path.read_text().startswith(head)
    assert path.read_text().endswith(tail)


def test_lsp_mode_fills_a_marker_by_a_code_action(start: Start, tmp_path: Path) -> None:
    terminal, path = emacs(start, tmp_path, LSP_MODE, ACCOUNT)
    terminal.shows("Select action:")  # what the project's root is
    terminal.keys("i")
    terminal.shows("Connected to [infill:")
    terminal.keys(MARKER)
    terminal.shows("💡")  # it knows of an action here

    def filled() -> bool:
        # An action that is alone is taken without a question; while the model is loaded there is none.
        command(terminal, "lsp-execute-code-action")
        try:
            return terminal.until(lambda: "___" not in terminal.text(), "filled", 30.0)
        except AssertionError:
            terminal.keys("\x07")
            return False

    terminal.until(filled, "filled")
    saved_without_marker(terminal, path)
