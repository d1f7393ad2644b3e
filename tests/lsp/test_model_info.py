"""`infill model info`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lsp.cli import main
from lsp.commands.errors import Exit
from tests.engine.checkpoints import write_reference_checkpoint


def test_the_embedded_models_needs(capsys: pytest.CaptureFixture[str]) -> None:
    folder = Path(__file__).parents[2] / "engine/models/embedded"
    assert main(["model", "info", str(folder), "--json", "--prefix-tokens", "1000"]) == Exit.OK
    found = json.loads(capsys.readouterr().out)
    assert found["parameters"] > 1e6
    assert found["device"] is None
    stored, *_ = found["needs"]
    assert stored["form"] == "stored"
    assert stored["device"] == stored["weights"] + stored["cache"] + stored["working"]


def test_the_table_is_for_people(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    write_reference_checkpoint(tmp_path)
    capsys.readouterr()
    monkeypatch.setattr("engine.checkpoints.memory.this_device", lambda: ("A GPU", 80 * 10**9))
    assert main(["model", "info", str(tmp_path)]) == Exit.OK
    shown = capsys.readouterr().out
    assert "stored as float32" in shown
    assert "best as stored" in shown


def test_no_form_fits(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    write_reference_checkpoint(tmp_path)
    monkeypatch.setattr("engine.checkpoints.memory.this_device", lambda: ("A toy", 10**6))
    assert main(["model", "info", str(tmp_path)]) == Exit.NO_SUGGESTION
    assert "no form fits" in capsys.readouterr().out


def test_what_is_no_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["model", "info", str(tmp_path)]) == Exit.NO_MODEL
    assert "config.json" in capsys.readouterr().err
