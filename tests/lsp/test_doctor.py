"""`infill doctor`: it finds what is there, says what is wrong, and never ends in a traceback."""

from __future__ import annotations

import json
from importlib import metadata
from pathlib import Path
from unittest import mock

import pytest

from engine.errors import ModelNotFound
from infill.code.languages import LANGUAGES
from lsp.commands.doctor import SAMPLES
from tests.fakes.engine import ScriptedEngine
from tests.lsp.cli_harness import run_cli


@pytest.fixture(autouse=True)
def installed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """So that these tests depend neither on how the project was installed nor on a model."""
    monkeypatch.setenv("INFILL_RUNTIME_DIR", str(tmp_path))  # no engine of another test's
    monkeypatch.setattr("engine.checkpoints.hub.resolve", lambda model: "some/folder")
    wanted = ["rich>=13.7", "torch>=2.11", "pytest-absent>=1; extra == 'never'"]
    monkeypatch.setattr("lsp.commands.doctor.metadata.requires", lambda name: wanted)


def findings(report: bytes) -> dict[str, dict[str, str | None]]:
    return {finding["name"]: finding for finding in json.loads(report)["findings"]}


def test_a_sound_installation_has_nothing_wrong() -> None:
    run = run_cli(["doctor", "--json"], ScriptedEngine(["y"]))
    report = json.loads(run.out)
    assert (run.code, report["ok"], report["wrong"]) == (0, True, [])
    found = findings(run.out)
    assert found["torch"]["value"] == metadata.version("torch")
    assert found["device"]["value"] == "none"
    assert found["shared engine"]["value"] == "not running; the first editor that needs it starts it"
    assert "scripted, 0 parameters" in str(found["model"]["value"])
    assert "some/folder" in str(found["model"]["value"])
    assert {f"grammar {language}" for language in LANGUAGES} <= set(found)
    assert found["grammar go"]["value"] == f"tree-sitter-go {metadata.version('tree-sitter-go')}"


def test_there_is_a_sample_of_every_language() -> None:
    assert SAMPLES.keys() == LANGUAGES.keys()


def test_a_model_that_does_not_load_is_wrong_and_the_rest_is_still_checked() -> None:
    run = run_cli(["doctor", "--json", "--model", "x"], ModelNotFound("no such model: x"))
    assert run.code == 1
    assert json.loads(run.out)["wrong"] == ["model"]
    assert findings(run.out)["model"]["wrong"] == "ModelNotFound: no such model: x"


def test_an_unexpected_failure_is_a_finding_too() -> None:
    run = run_cli(["doctor"], RuntimeError("no kernel\nfor this"))
    assert run.code == 1
    assert "WRONG model" in run.out.decode()
    assert "RuntimeError: no kernel for this" in run.out.decode()
    assert "1 wrong: model" in run.out.decode()
    assert "Traceback" not in run.out.decode() + run.errors


def test_a_grammar_that_does_not_parse_its_sample_is_wrong() -> None:
    with mock.patch.dict(SAMPLES, {"rust": "fn ("}):
        run = run_cli(["doctor", "--json"], ScriptedEngine(["y"]))
    assert json.loads(run.out)["wrong"] == ["grammar rust"]


def test_a_missing_package_is_wrong() -> None:
    real = metadata.version

    def version(name: str) -> str:
        if name == "rich":
            raise metadata.PackageNotFoundError(name)
        return real(name)

    with mock.patch("lsp.commands.doctor.metadata.version", version):
        run = run_cli(["doctor", "--json"], ScriptedEngine(["y"]))
    assert json.loads(run.out)["wrong"] == ["rich"]
    assert str(findings(run.out)["rich"]["wrong"]).startswith("not installed; needed: rich")
