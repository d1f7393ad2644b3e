"""`infill bench`: what it prints, and the typing session it replays."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from infill.code.document import Document
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
    assert report["warm_fill"]["passes"] > 0
    assert report["warm_fill"]["floor_ms"] > 0
    assert "typing session" in out.split("{")[0]


SERVER = """#!{python}
import json, sys
from http.server import BaseHTTPRequestHandler, HTTPServer

class Handler(BaseHTTPRequestHandler):
    def answer(self, body):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps(body).encode())
    def do_GET(self):
        self.answer({{"status": "ok"}})
    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with open(sys.argv[sys.argv.index("--model") + 1], "a") as log:
            log.write(json.dumps(asked) + "\\n")
        self.answer({{"content": "pass"}})
    def log_message(self, *args):
        pass

HTTPServer(("127.0.0.1", int(sys.argv[sys.argv.index("--port") + 1])), Handler).serve_forever()
"""


def test_llama_cpp_is_timed_beside_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A process that speaks as its server does, on a socket of its own, and notes what it is asked."""
    write_own_checkpoint(tmp_path / "model")
    binary, weights = tmp_path / "llama-server", tmp_path / "model.gguf"
    binary.write_text(SERVER.format(python=sys.executable), encoding="utf-8")
    binary.chmod(0o755)
    weights.touch()
    arguments = ["bench", "--model", str(tmp_path / "model"), "--rounds", "1", "--json"]
    assert main([*arguments, "--llama-cpp", str(binary), "--llama-model", str(weights)]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["against_llama_cpp"] > 0
    asked = [json.loads(line) for line in weights.read_text(encoding="utf-8").splitlines()]
    assert [each["n_predict"] for each in asked] == [64, 64]  # one warms up
    assert not any(each["cache_prompt"] for each in asked)


def test_llama_cpp_that_does_not_start_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    binary, weights = tmp_path / "llama-server", tmp_path / "model.gguf"
    assert main(["bench", "--llama-cpp", str(binary)]) == 2
    assert "--llama-model" in capsys.readouterr().err
    for missing, said in ((binary, "no such file"), (weights, "no such file")):
        assert main(["bench", "--llama-cpp", str(binary), "--llama-model", str(weights)]) == 2
        assert f"{missing}: {said}" in capsys.readouterr().err
        missing.write_text(f"#!{sys.executable}\nraise SystemExit(7)\n", encoding="utf-8")
        missing.chmod(0o755)
    assert main(["bench", "--llama-cpp", str(binary), "--llama-model", str(weights)]) == 2
    assert "exit code 7" in capsys.readouterr().err


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
