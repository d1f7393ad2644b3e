"""`infill engine` and `infill model` as a user types them."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.audience import Fate
from engine.checkpoints.store import CONFIG_VARIABLE, chosen_model
from engine.service.lifecycle import running
from engine.service.place import FOLDER_VARIABLE, Place
from lsp.commands.model import wanted_model
from tests.engine.checkpoints import write_own_checkpoint
from tests.engine.service.harness import answer, client, own_place
from tests.lsp.cli_harness import run_cli


@pytest.fixture
def place(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Place]:
    with own_place() as place:
        monkeypatch.setenv(FOLDER_VARIABLE, str(place.folder))
        monkeypatch.setenv(CONFIG_VARIABLE, str(tmp_path / "config"))
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
        yield place


def test_the_engine_is_started_shown_and_stopped(place: Place) -> None:
    assert run_cli(["engine", "status"]).code == 1
    started = run_cli(["engine", "start", "--port", "0"])
    address = running(place)
    assert address is not None
    assert f"pid {address.pid}\n".encode() in started.out
    assert f"http://{address.host}:{address.port}/?key={address.token}".encode() in started.out
    assert b"is running already" in run_cli(["engine", "start"]).out
    state = json.loads(run_cli(["engine", "status", "--json"]).out)
    assert (state["pid"], state["models"], state["clients"]) == (address.pid, [], [])
    assert run_cli(["engine", "stop"]).out == b"the engine was stopped\n"
    assert running(place) is None
    assert run_cli(["engine", "stop"]).out == b"no engine is running\n"


def test_the_status_shows_model_and_clients_and_obeys_no_escapes(place: Place) -> None:
    engine = client(place)
    for fate in (Fate.OFFERED, Fate.OFFERED, Fate.ACCEPTED):
        engine.tell(fate)
    answer(engine)
    shown = run_cli(["engine", "status"]).out.decode()
    engine.close()
    assert "50% of 2 accepted" in shown
    assert "scripted: 0.0M parameters" in shown
    assert "infill, pid" in shown
    assert "\x1b" not in shown


def test_a_chosen_model_counts_until_another_is(place: Place, tmp_path: Path) -> None:
    write_own_checkpoint(tmp_path / "tiny")
    assert run_cli(["model", "use", str(tmp_path / "tiny")]).code == 0
    assert chosen_model() == str(tmp_path / "tiny")
    assert f"* {tmp_path / 'tiny'}".encode() in run_cli(["model", "list"]).out
    assert run_cli(["model", "use", str(tmp_path / "nowhere")]).code == 3
    assert chosen_model() == str(tmp_path / "tiny")
    assert wanted_model(None) == str(tmp_path / "tiny")
    assert (wanted_model("embedded"), wanted_model("other/one")) == (None, "other/one")
    assert run_cli(["model", "use", "embedded"]).code == 0
    assert wanted_model(None) is None
    assert b"* embedded" in run_cli(["model", "list"]).out


def test_a_model_that_was_not_fetched_cannot_be_removed(place: Place) -> None:
    done = run_cli(["model", "remove", "own/small"])
    assert (done.code, "has not been fetched" in done.errors) == (3, True)


@pytest.mark.parametrize("action", ["run", "start"])
@pytest.mark.parametrize("port", ["99999", "-1", "x", "65536", "\u00b2"])
def test_a_port_that_is_none_is_a_usage_error(place: Place, action: str, port: str) -> None:
    done = run_cli(["engine", action, f"--port={port}"])
    assert (done.code, f"{port!r} is not a port (0 to 65535)" in done.errors) == (2, True)


def test_a_port_that_is_taken_is_no_internal_error(place: Place) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        command = [sys.executable, "-m", "lsp", "engine", "run", "--port", str(taken.getsockname()[1])]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert "infill: the engine cannot listen: " in done.stderr
    assert "Traceback" not in done.stderr


def test_where_the_model_runs_is_checked() -> None:
    assert run_cli(["lsp", "--engine", "elsewhere"]).code == 2
