"""`infill bench`: what it prints, and the typing session it replays."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from infill.document import Document
from infill.evaluate.typing import bundled_recording, replay
from lsp.cli import main
from tests.engine.checkpoints import write_own_checkpoint
from tests.fakes.engine import ScriptedEngine


def test_bench_ends_with_one_json_object(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_own_checkpoint(tmp_path)
    assert main(["bench", "--model", str(tmp_path), "--rounds", "1"]) == 0
    out = capsys.readouterr().out
    report = json.loads(out.splitlines()[-1])
    assert 0 < report["prompt_share_encoded"] < 0.1
    assert set(report["steps"]) == {"1 x 32", "4 x 32", "1 x 256"}
    assert all(step["times_floor"] > 0 for step in report["steps"].values())
    assert "typing session" in out.split("{")[0]


@pytest.mark.parametrize("rounds", ["0", "-1", "many"])
def test_bench_wants_at_least_one_round(rounds: str) -> None:
    with pytest.raises(SystemExit):
        main(["bench", "--rounds", rounds])


def test_the_recording_is_fifty_keys_with_a_mistake_corrected() -> None:
    recording = bundled_recording()
    assert len(recording.keys) == 50
    assert "\b" in recording.keys
    document = Document(recording.text, recording.language)
    assert document.tree is not None
    assert not document.tree.root_node.has_error


def test_replaying_asks_once_for_every_key() -> None:
    engine = ScriptedEngine(["pass"])
    assert len(replay(engine, bundled_recording())) == 50
    assert len(engine.requests) == 50
    assert engine.requests[-1].prompt.suffix == engine.requests[0].prompt.suffix
