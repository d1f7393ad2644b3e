"""The client of a server elsewhere: against servers of ours that behave as others' do.

`tests/engine/test_remote_real.py` has it speak to a real one.
"""

from __future__ import annotations

import json
import sys
import threading
import types
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from engine.errors import EngineError, EngineUnavailable, InvalidRequest, ModelNotFound
from engine.remote import RemoteEngine, find_key, open_remote
from engine.request import DenoiseRequest, Prompt

REQUEST = DenoiseRequest(prompt=Prompt(prefix="def f(x):\n    ", typed="ret", suffix="\n\nprint(f(1))\n"))


class _Server(BaseHTTPRequestHandler):
    """vLLM as far as it matters here: it completes, converses, and refuses suffixes."""

    bodies: list[tuple[str, Any]]
    busy = 0

    def do_GET(self) -> None:
        self._send(200, {"data": [{"id": "diffusion-gemma"}]})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        type(self).bodies.append((self.path, body))
        if type(self).busy > 0:
            type(self).busy -= 1
            self._send(503, {"error": {"message": "busy"}})
        elif "suffix" in body:
            self._send(400, {"error": {"message": "suffix is not currently supported"}})
        else:
            content = "urn x + 1\n\nprint(f(1))\n"
            self._send(200, {"choices": [{"message": {"content": content}, "finish_reason": "stop"}]})

    def _send(self, status: int, data: Any) -> None:
        content = json.dumps(data).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:
        """Quiet."""


@pytest.fixture
def handler() -> Iterator[Any]:
    kind = type("Handler", (_Server,), {"bodies": []})
    server = ThreadingHTTPServer(("127.0.0.1", 0), kind)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    kind.address = f"http://127.0.0.1:{server.server_port}"  # type: ignore[attr-defined]
    yield kind
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def remote(handler: Any) -> Iterator[RemoteEngine]:
    engine = open_remote(handler.address, None)
    yield engine
    engine.close()


def written(engine: RemoteEngine, request: DenoiseRequest = REQUEST) -> str:
    [step] = engine.denoise(request, threading.Event())
    return step.canvases[0].text


def test_one_that_takes_no_suffix_is_asked_to_continue_a_conversation(
    remote: RemoteEngine, handler: Any
) -> None:
    assert written(remote) == "return x + 1"  # cut where it runs into the suffix
    assert written(remote) == "return x + 1"
    assert [path for path, _ in handler.bodies] == [
        "/v1/completions",
        "/v1/chat/completions",
        "/v1/chat/completions",
    ]
    _, body = handler.bodies[-1]
    assert body["messages"][-1] == {"role": "assistant", "content": "def f(x):\n    ret"}
    assert "print(f(1))" in body["messages"][1]["content"]
    assert (body["continue_final_message"], body["add_generation_prompt"]) == (True, False)


def test_what_passes_is_tried_again_three_times(remote: RemoteEngine, handler: Any) -> None:
    handler.busy = 2
    assert written(remote) == "return x + 1"
    handler.busy = 99
    with pytest.raises(EngineUnavailable, match="answered with 503"):
        written(remote)


@pytest.fixture
def keyring(monkeypatch: pytest.MonkeyPatch) -> types.ModuleType:
    """A keyring with one key, and an environment with none."""
    for name in ("INFILL_REMOTE_KEY", "OPENAI_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    module = types.ModuleType("keyring")
    module.get_password = lambda service, host: (  # type: ignore[attr-defined]
        "from the ring" if (service, host) == ("infill", "gpu.example") else None
    )
    monkeypatch.setitem(sys.modules, "keyring", module)
    return module


def test_the_key_is_the_environment_s_else_the_keyring_s(
    keyring: types.ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert find_key("gpu.example") == "from the ring"
    assert find_key("other.example") is None
    monkeypatch.setenv("OPENAI_API_KEY", "from the environment")
    assert find_key("gpu.example") == "from the environment"


def test_a_keyring_that_fails_or_is_not_there_counts_as_empty(
    keyring: types.ModuleType, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def locked(service: str, host: str) -> str:
        raise RuntimeError("locked")

    keyring.get_password = locked  # type: ignore[attr-defined]
    assert find_key("gpu.example") is None
    assert "the keyring cannot be asked: locked" in caplog.text
    monkeypatch.setitem(sys.modules, "keyring", None)
    assert find_key("gpu.example") is None


def test_the_real_package_is_asked_as_it_wants_to_be(monkeypatch: pytest.MonkeyPatch) -> None:
    import keyring
    from keyring.backend import KeyringBackend

    class Memory(KeyringBackend):
        priority = 1  # type: ignore[assignment]

        def get_password(self, service: str, username: str) -> str | None:
            return f"{service} of {username}"

        def set_password(self, service: str, username: str, password: str) -> None:
            raise NotImplementedError

    for name in ("INFILL_REMOTE_KEY", "OPENAI_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    before = keyring.get_keyring()
    keyring.set_keyring(Memory())
    try:
        assert find_key("gpu.example") == "infill of gpu.example"
    finally:
        keyring.set_keyring(before)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "http://",
        "http://[",
        "http://127.0.0.1:abc",
        "http://127.0.0.1:99999",
        "http://127.0.0.1:0",
        "http://key@127.0.0.1:abc",
        "http://\ud800/",
        "ftp://127.0.0.1/",
        "127.0.0.1:8000",
    ],
)
def test_what_is_no_address_is_refused_before_anything_is_sent(url: str) -> None:
    with pytest.raises(InvalidRequest, match="not the address") as raised:
        open_remote(url, None)
    assert "key" not in str(raised.value)


def test_it_is_said_where_code_is_sent(handler: Any, caplog: pytest.LogCaptureFixture) -> None:
    open_remote(handler.address, None).close()
    assert caplog.messages[-1] == "code around the cursor is sent to 127.0.0.1"
    with pytest.raises(InvalidRequest, match="keys belong into"):
        open_remote("http://key@127.0.0.1:8000", None)


@pytest.mark.parametrize(
    "listed", [{"data": None}, {"data": 5}, {"data": {}}, {"data": [5, {}, {"id": None}]}, [], "x", None]
)
def test_a_server_that_names_no_model_has_none(
    remote: RemoteEngine, monkeypatch: pytest.MonkeyPatch, listed: object
) -> None:
    monkeypatch.setattr(RemoteEngine, "_exchange", lambda *_: listed)
    with pytest.raises(ModelNotFound, match="it has none"):
        remote.find_model(None)


def test_an_answer_of_nothing_but_brackets_is_no_json(handler: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("json.dumps", lambda _data: "[" * 200_000)
    with pytest.raises(EngineError, match="not JSON"):
        open_remote(handler.address, None)


def test_an_answer_without_a_text_is_an_error(remote: RemoteEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(RemoteEngine, "_exchange", lambda *_: {"choices": [3]})
    with pytest.raises(EngineError, match="without a text"):
        written(remote)
