"""`infill logs`: where logs are, and the end of one."""

from __future__ import annotations

from pathlib import Path

import pytest

from lsp.cli import main
from lsp.commands.logs import places


def test_without_a_file_it_says_where_each_editor_keeps_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["logs"]) == 0
    out = capsys.readouterr().out
    for editor in ("VS Code", "Neovim", "Helix", "Emacs"):
        assert editor in out


def test_the_places_follow_the_environment() -> None:
    shown = places({"XDG_STATE_HOME": "/s"}, Path("/home/a"))
    assert str(Path("/s/nvim/lsp.log")) in shown
    assert str(Path("/home/a/.cache/helix/helix.log")) in shown


def test_the_end_of_a_file_is_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log = tmp_path / "log"
    log.write_text("".join(f"line {n}\n" for n in range(100)), encoding="utf-8")
    assert main(["logs", str(log), "--lines", "2"]) == 0
    assert capsys.readouterr().out == "line 98\nline 99\n"


def test_a_file_that_is_not_there_is_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["logs", str(tmp_path / "none")]) == 2
    assert "cannot be read" in capsys.readouterr().err
