"""An engine's place of its own for a test, with the fake service in it."""

from __future__ import annotations

import json
import socket
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from engine.errors import EngineUnavailable
from engine.request import DenoiseRequest, Priority, Prompt
from engine.resident import ResidentEngine, open_resident
from engine.service.lifecycle import start, stop
from engine.service.place import Address, Place

FAKE = (sys.executable, "-m", "tests.fakes.service")
TIMEOUT_S = 60.0


@contextmanager
def own_place() -> Iterator[Place]:
    """A folder with a path short enough for a socket; whatever engine is in it at the end is ended."""
    with tempfile.TemporaryDirectory(prefix="infill-") as folder:
        place = Place(folder=Path(folder))
        try:
            yield place
        finally:
            stop(place)


def fake_service(place: Place, *arguments: str) -> Address:
    """The running fake service."""
    return start(place, TIMEOUT_S, arguments, FAKE)


def client(place: Place, model: str | None = None, arguments: tuple[str, ...] = ()) -> ResidentEngine:
    """An attached client."""
    return open_resident(model, place=place, command=FAKE, arguments=arguments, timeout_s=TIMEOUT_S)


def ask(prefix: str = "x = ", key: str = "", deadline_ms: float | None = None) -> DenoiseRequest:
    """A request for one hole."""
    prompt = Prompt(prefix=prefix)
    return DenoiseRequest(prompt=prompt, key=key, deadline_ms=deadline_ms, priority=Priority.INVOKED)


def answer(engine: ResidentEngine, prefix: str = "x = ") -> str:
    """What the last step's best canvas says."""
    *_, last = engine.denoise(ask(prefix), threading.Event())
    return last.canvases[0].text


def answers(engine: ResidentEngine) -> bool:
    """Whether the engine serves its client now."""
    try:
        return answer(engine) == "1"
    except EngineUnavailable:
        return False


def until(happened: Callable[[], bool], timeout_s: float = TIMEOUT_S) -> None:
    """Wait for something in another process to have happened."""
    from time import monotonic

    end, pause = monotonic() + timeout_s, threading.Event()
    while not happened():
        assert monotonic() < end, "it has not happened"
        pause.wait(0.02)


def talk(address: Address, data: bytes) -> bytes:
    """Send bytes to the socket and return all that is answered."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as link:
        link.settimeout(TIMEOUT_S)
        link.connect(address.socket)
        link.sendall(data)
        out = b""
        while chunk := link.recv(65536):
            out += chunk
        return out


def post(address: Address, path: str, body: Any) -> tuple[int, Any]:
    """Send JSON through the socket; the status and the JSON that is answered."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {len(data)}\r\n\r\n"
    head_back, _, content = talk(address, head.encode() + data).partition(b"\r\n\r\n")
    return int(head_back.split()[1]), json.loads(content)
