"""One engine for all: how it is started, what its clients survive, and that nothing is left of it."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from engine.errors import EngineUnavailable, InvalidRequest, ModelNotFound
from engine.request import Stop
from engine.resident import ask_status
from engine.service.lifecycle import Backoff, is_alive, running, start, stop
from engine.service.place import FOLDER_VARIABLE, Place, find_place
from tests.engine.service.faults import ordeal
from tests.engine.service.harness import (
    FAKE,
    TIMEOUT_S,
    answer,
    answers,
    ask,
    client,
    fake_service,
    own_place,
    post,
    until,
)


@pytest.fixture
def place() -> Iterator[Place]:
    with own_place() as place:
        yield place


def test_many_that_start_it_at_once_get_one_engine(place: Place) -> None:
    with ThreadPoolExecutor(6) as pool:
        pids = {address.pid for address in pool.map(lambda _: fake_service(place), range(6))}
    assert len(pids) == 1
    assert place.log.read_text(encoding="utf-8").count("listening") == 1


def test_it_is_the_user_s_alone(place: Place) -> None:
    fake_service(place)
    for path in (place.socket, place.folder / "engine.json", place.folder / "token", place.log):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path


def test_the_client_does_all_an_engine_does_and_imports_no_torch(place: Place) -> None:
    code = (
        "import sys, threading; from engine.request import *; from tests.engine.service.harness import *\n"
        "import pathlib; engine = client(Place(folder=pathlib.Path(sys.argv[1])))\n"
        "event = threading.Event(); *_, last = engine.denoise(ask(), event)\n"
        "assert last.canvases[0].text == '1' and last.canvases[0].tokens[0].confidence == 0.9\n"
        "[scored] = engine.score(ScoreRequest(prompt=Prompt(prefix='x'), middles=('ab',)), event)\n"
        "assert scored.end == -0.1\n"
        "reading, *_ = engine.read(ReadRequest(prompt=Prompt(prefix='x'), text='a b'), event)\n"
        "assert (reading.text, reading.probability) == ('a', 0.99)\n"
        "assert engine.info().model == 'scripted'\n"
        "assert not {'torch', 'uvicorn', 'starlette', 'httpx2'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code, str(place.folder)], check=True, timeout=TIMEOUT_S)


def test_cancelling_ends_it_within_a_step(place: Place) -> None:
    engine, cancelled = client(place), threading.Event()
    steps = engine.denoise(ask("WAIT"), cancelled)
    assert next(steps).stop is None
    cancelled.set()
    assert list(steps) == []
    address = running(place)
    assert address is not None
    until(lambda: ask_status(address)["running"] == 0)
    assert answer(engine) == "1"
    engine.close()


def test_the_latest_request_for_a_document_wins(place: Place) -> None:
    engine = client(place)
    first = engine.denoise(ask("WAIT", key="doc"), threading.Event())
    next(first)
    assert [step.stop for step in engine.denoise(ask(key="doc"), threading.Event())][-1] is Stop.CONFIDENT
    assert all(step.stop in (None, Stop.CANCELLED) for step in first)
    engine.close()


def test_errors_come_as_what_they_are(place: Place) -> None:
    engine = client(place)
    with pytest.raises(InvalidRequest, match="no such hole"):
        list(engine.denoise(ask("NO"), threading.Event()))
    engine.close()
    with pytest.raises(ModelNotFound, match="there is no model here"):
        client(place, "missing")


@pytest.mark.parametrize("how", ["kill -9", "it dies by itself"])
def test_its_death_costs_one_suggestion_and_one_restart(place: Place, how: str) -> None:
    engine = client(place)
    before = running(place)
    assert before is not None
    steps = engine.denoise(ask("WAIT" if how == "kill -9" else "DIE"), threading.Event())
    if how == "kill -9":
        next(steps)
        os.kill(before.pid, signal.SIGKILL)
    with pytest.raises(EngineUnavailable, match="gone"):
        list(steps)
    until(lambda: running(place) not in (None, before))
    assert answer(engine) == "1"
    assert place.log.read_text(encoding="utf-8").count("listening") == 2
    engine.close()


def test_an_engine_that_was_stopped_stays_so_until_it_is_needed(place: Place) -> None:
    engine = client(place)
    assert stop(place)
    assert running(place) is None
    with pytest.raises(EngineUnavailable, match="stopped"):
        list(engine.denoise(ask(), threading.Event()))
    until(lambda: running(place) is not None)
    assert answer(engine) == "1"
    engine.close()


def test_an_engine_that_stands_still_does_not_hold_its_client_up(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("engine.resident._SILENCE_S", 4.0)
    engine = client(place)
    address = running(place)
    assert address is not None
    os.kill(address.pid, signal.SIGSTOP)
    try:
        # It was heard of a moment ago: other programs may keep it from the processor.
        assert list(engine.denoise(ask(deadline_ms=50), threading.Event())) == []

        def unavailable() -> bool:
            try:
                return list(engine.denoise(ask(deadline_ms=50), threading.Event())) != []
            except EngineUnavailable as error:
                return "does not answer" in str(error)

        until(unavailable)
    finally:
        os.kill(address.pid, signal.SIGCONT)
    assert answer(engine) == "1"
    engine.close()


def test_one_that_stands_still_can_be_stopped(place: Place) -> None:
    os.kill(fake_service(place).pid, signal.SIGSTOP)
    assert stop(place, timeout_s=1.0)
    assert not is_alive(place)


@pytest.mark.parametrize("how", ["/v1/stop", signal.SIGTERM, signal.SIGINT])
def test_it_ends_in_order(place: Place, how: str | signal.Signals) -> None:
    """Who is being served is told so, nothing is left lying, and it was no signal that ended it."""
    environment = {**os.environ, FOLDER_VARIABLE: str(place.folder)}
    with subprocess.Popen([*FAKE, "--stay"], env=environment, stderr=subprocess.PIPE) as process:
        until(lambda: running(place) is not None)
        address = running(place)
        assert address is not None
        engine = client(place)
        with ThreadPoolExecutor(1) as pool:
            filling = pool.submit(lambda: list(engine.denoise(ask("WAIT"), threading.Event())))
            until(lambda: ask_status(address)["running"] == 1)
            if isinstance(how, str):
                assert post(address, how, {}) == (200, {"stopping": True})
            else:
                process.send_signal(how)
            with pytest.raises(EngineUnavailable, match="was stopped"):
                filling.result(TIMEOUT_S)
        engine.close()
        said = process.communicate(timeout=TIMEOUT_S)[1].decode()
    assert process.returncode == 0, said
    assert "Traceback" not in said
    assert not place.socket.exists()
    assert not is_alive(place)


def test_it_goes_when_nobody_needs_it(place: Place) -> None:
    engine = client(place, arguments=("--linger-s", "0.1"))
    assert answer(engine) == "1"
    engine.close()
    until(lambda: not is_alive(place))
    assert not place.socket.exists()


def test_it_goes_when_its_files_are_taken_away(place: Place) -> None:
    fake_service(place)
    (place.folder / "engine.json").unlink()
    until(lambda: not is_alive(place))


@pytest.mark.parametrize("left", [b"", b"{", b"[]", b'{"pid": "x"}', b"\xff\x00", b'{"pid": 1, "socket": 3}'])
def test_whatever_lies_there_it_starts(place: Place, left: bytes) -> None:
    for name in ("engine.json", "engine.lock", "start.lock", "engine.sock", "token"):
        (place.folder / name).write_bytes(left)
    engine = client(place)
    assert answer(engine) == "1"
    engine.close()


def test_one_that_cannot_start_says_why(place: Place) -> None:
    with pytest.raises(EngineUnavailable, match="no such thing"):
        start(place, TIMEOUT_S, command=[sys.executable, "-c", "import sys; sys.exit('no such thing')"])


def test_the_pauses_between_starts_grow_and_are_forgotten() -> None:
    backoff = Backoff(first_s=10.0, most_s=25.0)
    waits = []
    for _ in range(3):
        backoff.failed("x")
        waits.append(round(backoff.wait_s))
    assert waits == [10, 20, 25]
    backoff.succeeded()
    assert backoff.wait_s == 0


def test_a_folder_others_could_use_is_closed(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    place.folder.chmod(0o777)
    monkeypatch.setenv(FOLDER_VARIABLE, str(place.folder))
    assert stat.S_IMODE(find_place().folder.stat().st_mode) == 0o700


def test_random_faults_leave_an_engine_that_serves(place: Place) -> None:
    """Each kind of harm a few times; `python -m tests.engine.service.faults` does 500 rounds."""
    trial = ordeal(place, rounds=10, seed=5)
    assert set(trial.tally) == {"kill", "stop", "slow", "half", "full_disk", "corrupt"}


def test_one_without_its_socket_goes_and_another_comes(place: Place) -> None:
    engine = client(place)
    before = running(place)
    place.socket.unlink()
    # It is started again when it is needed, so it has to be asked.
    until(lambda: answers(engine))
    assert running(place) not in (None, before)
    engine.close()
