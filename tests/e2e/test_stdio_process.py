"""The server's process: how it ends, what it writes where, and what it survives."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import pytest

from lsp.framing import Framer
from tests.engine.checkpoints import write_own_checkpoint
from tests.lsp.session import URI, frame

TIMEOUT_S = 30
SEAM = [sys.executable, "-m", "tests.fakes.server"]
REAL = [
    sys.executable,
    "-c",
    "import sys; from lsp.server import serve_stdio; from lsp.session import ServerOptions; "
    "sys.exit(serve_stdio(ServerOptions()))",
]

Json = dict[str, Any]


class Peer:
    """The bare other end of a server's pipes; nothing in it waits for longer than `TIMEOUT_S`."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self.process = process
        self.stdin: IO[bytes] = process.stdin
        self._stdout: IO[bytes] = process.stdout
        self._framer = Framer()
        self._received: list[Json] = []

    def send(self, method: str, params: object = None, message_id: int | None = None) -> None:
        """Send a notification, or a request where there is an id."""
        message: Json = {"jsonrpc": "2.0", "method": method, "params": params}
        self.write(frame(message if message_id is None else {**message, "id": message_id}))

    def write_answer(self, message_id: int | str, result: object) -> None:
        """Answer what the server asked."""
        self.write(frame({"jsonrpc": "2.0", "id": message_id, "result": result}))

    def write(self, data: bytes) -> None:
        """Send bytes."""
        self.stdin.write(data)

    def until(self, wanted: Callable[[Json], bool]) -> Json:
        """Read on to the first message of a kind and return it; it is an error if there is none."""
        timer = threading.Timer(TIMEOUT_S, self.process.kill)
        timer.start()
        try:
            while True:
                for message in self._received:
                    if wanted(message):
                        return message
                chunk = os.read(self._stdout.fileno(), 65536)
                assert chunk, "the server closed its output"
                self._received += map(json.loads, self._framer.feed(chunk))
        finally:
            timer.cancel()

    def answer(self, message_id: int | None) -> Json:
        """The answer to a request."""
        return self.until(lambda m: "method" not in m and m["id"] == message_id)

    def seen(self, method: str) -> list[Json]:
        """What of a kind has been read so far."""
        return [message for message in self._received if message.get("method") == method]

    def initialize(self, process_id: int | None = None, options: Json | None = None) -> Json:
        """Shake hands."""
        params = {"processId": process_id, "capabilities": {}, "initializationOptions": options}
        self.send("initialize", params, 1)
        answer = self.answer(1)
        self.send("initialized", {})
        return answer

    def leave(self) -> int:
        """Shut down and exit properly; returns the exit code."""
        self.send("shutdown", None, 99)
        assert self.answer(99)["result"] is None
        self.send("exit")
        return self.process.wait(TIMEOUT_S)

    @property
    def garbage_bytes(self) -> int:
        """How much of the server's output belonged to no message."""
        return self._framer.garbage_bytes


@contextmanager
def start(command: list[str], stderr: int = subprocess.PIPE) -> Iterator[Peer]:
    """Nobody reads a pipe of its log while it runs: one that writes for long has to have another place."""
    pipe = subprocess.PIPE
    # Unbuffered, so that closing a pipe whose reader is gone has nothing left to write.
    with subprocess.Popen(command, bufsize=0, stdin=pipe, stdout=pipe, stderr=stderr) as process:
        try:
            yield Peer(process)
        finally:
            process.kill()


def inline(peer: Peer, message_id: int, trigger: int = 1) -> None:
    context = {"triggerKind": trigger}
    position = {"line": 0, "character": 4}
    params = {"textDocument": {"uri": URI}, "position": position, "context": context}
    peer.send("textDocument/inlineCompletion", params, message_id)


def open_document(peer: Peer, text: str = "x = ") -> None:
    document = {"uri": URI, "languageId": "python", "version": 1, "text": text}
    peer.send("textDocument/didOpen", {"textDocument": document})


@pytest.mark.parametrize("command", [SEAM, REAL], ids=["seam", "real"])
def test_exit_after_shutdown_is_0(command: list[str]) -> None:
    with start(command) as peer:
        peer.send("initialize", {"processId": None, "capabilities": {}}, 1)
        peer.answer(1)
        assert peer.leave() == 0


def test_exit_without_shutdown_is_1() -> None:
    with start(SEAM) as peer:
        peer.initialize()
        peer.send("exit")
        assert peer.process.wait(TIMEOUT_S) == 1


@pytest.mark.parametrize("then", ["nothing", "half a message", "a request that waits", "a slow load"])
def test_the_server_goes_when_its_input_is_closed(then: str) -> None:
    with start([*SEAM, "--slow-load"] if then == "a slow load" else SEAM) as peer:
        peer.initialize()
        if then == "half a message":
            peer.write(b"Content-Length: 1000\r\n\r\n{")
        if then == "a request that waits":
            open_document(peer, "# WAIT\n")
            inline(peer, 2)
        peer.stdin.close()
        assert peer.process.wait(TIMEOUT_S) == 1


def test_the_server_goes_when_its_client_dies() -> None:
    """Though its input stays open: another process may hold the other end."""
    command = [sys.executable, "-c", "input()"]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as client, start(SEAM) as peer:
        peer.initialize(client.pid)
        client.kill()
        client.wait()
        assert peer.process.wait(TIMEOUT_S) == 1


def test_a_client_that_cannot_be_seen_is_not_taken_for_dead() -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as gone:
        gone.wait()
    with start(SEAM) as peer:
        peer.initialize(gone.pid)
        open_document(peer)
        inline(peer, 2)
        assert len(peer.answer(2)["result"]["items"]) == 1
        assert peer.leave() == 0


def test_a_server_that_is_loading_can_be_left() -> None:
    with start([*SEAM, "--slow-load"]) as peer:
        peer.initialize()
        open_document(peer)
        inline(peer, 2, trigger=2)
        assert peer.answer(2)["result"] == {"items": []}
        assert peer.leave() == 0


def test_garbage_does_not_end_or_hang_the_server() -> None:
    with start(SEAM) as peer:
        peer.write(b"GET / HTTP/1.1\r\nHost: here\r\n\r\n\x00\xff\xfe garbage")
        peer.write(frame(b"{not json"))
        assert peer.answer(None)["error"]["code"] == -32700
        peer.send("textDocument/inlineCompletion", {}, 7)
        assert peer.answer(7)["error"]["code"] == -32002
        peer.initialize()
        assert peer.leave() == 0


def test_standard_output_carries_the_protocol_only() -> None:
    with start([*SEAM, "--print"]) as peer:
        peer.initialize()
        open_document(peer)
        inline(peer, 2)
        assert len(peer.answer(2)["result"]["items"]) == 1
        assert peer.leave() == 0
        assert peer.garbage_bytes == 0
        assert peer.process.stderr is not None
        errors = peer.process.stderr.read()
    assert b"a library says hello" in errors
    assert b"and so does a compiled one" in errors


def test_a_missing_model_is_shown_and_the_server_stays() -> None:
    with start([*SEAM, "--no-model"]) as peer:
        peer.initialize()
        shown = peer.until(lambda m: m.get("method") == "window/showMessage")
        assert shown["params"] == {
            "type": 1,
            "message": "Infill: the model cannot be loaded: there is no model here",
        }
        open_document(peer)
        inline(peer, 2)
        assert peer.answer(2)["result"] == {"items": []}
        assert peer.leave() == 0


def test_a_real_engine_serves_the_checkpoint_the_client_names(tmp_path: Path) -> None:
    write_own_checkpoint(tmp_path / "tiny")
    with start(REAL) as peer:
        peer.initialize(options={"model": str(tmp_path / "tiny"), "deadline_ms": 10_000})
        peer.until(lambda m: m.get("params", {}).get("message", "").startswith("loaded"))
        open_document(peer, "x = 1\n")
        inline(peer, 2)
        # Random weights: what is suggested does not matter, only that denoising happened.
        assert isinstance(peer.answer(2)["result"]["items"], list)
        line = peer.until(lambda m: "inline completion 2" in m.get("params", {}).get("message", ""))
        steps = line["params"]["message"].split(" steps")[0].rsplit(" ", 1)[1]
        assert int(steps) >= 1
        assert peer.leave() == 0


def test_a_broken_checkpoint_is_named_to_the_user(tmp_path: Path) -> None:
    with start(REAL) as peer:
        peer.initialize(options={"model": str(tmp_path)})
        shown = peer.until(lambda m: m.get("method") == "window/showMessage")
        assert "the model cannot be loaded" in shown["params"]["message"]
        assert str(tmp_path) in shown["params"]["message"]
        assert peer.leave() == 0


def test_initialize_is_answered_without_torch() -> None:
    with start([sys.executable, "-X", "importtime", *REAL[1:]]) as peer:
        errors = b""

        def drain() -> None:
            nonlocal errors
            assert peer.process.stderr is not None
            errors = peer.process.stderr.read()

        reader = threading.Thread(target=drain)
        reader.start()
        peer.send("initialize", {"processId": None, "capabilities": {}}, 1)
        assert "inlineCompletionProvider" in peer.answer(1)["result"]["capabilities"]
        assert peer.leave() == 0
        reader.join()
    imported = {line.rsplit(b"|", 1)[-1].strip().split(b".")[0] for line in errors.splitlines()}
    assert b"pygls" in imported
    assert imported.isdisjoint({b"torch", b"transformers", b"safetensors", b"tokenizers", b"huggingface_hub"})


def test_the_log_goes_to_a_file_and_holds_no_code(tmp_path: Path) -> None:
    log = tmp_path / "server.log"
    code = (
        "import sys, logging, pathlib\n"
        "from lsp.server import serve_stdio\n"
        "from lsp.session import ServerOptions\n"
        "from tests.fakes.engine import ScriptedEngine\n"
        f"options = ServerOptions(log_file=pathlib.Path({str(log)!r}), log_level=logging.INFO)\n"
        "sys.exit(serve_stdio(options, lambda model, on_progress: ScriptedEngine(['hunter2'])))"
    )
    with start([sys.executable, "-c", code]) as peer:
        peer.initialize()
        open_document(peer, "x = \npassword = hunter\n")
        inline(peer, 2)
        assert len(peer.answer(2)["result"]["items"]) == 1
        peer.send("textDocument/didChange", {"contentChanges": "hunter2"})
        inline(peer, 3)
        peer.answer(3)
        assert peer.leave() == 0
        assert peer.process.stderr is not None
        assert peer.process.stderr.read() == b""
    written = log.read_text(encoding="utf-8")
    assert written.count("inline completion") == 2
    assert "refused textDocument/didChange" in written
    assert "hunter" not in written


def test_tcp_serves_one_client_and_ends_with_it() -> None:
    with start([*SEAM, "--tcp"]) as peer:
        assert peer.process.stderr is not None
        line = peer.process.stderr.readline().decode()
        host, port = line.rsplit(" ", 1)[1].strip().rsplit(":", 1)
        with socket.create_connection((host, int(port)), timeout=TIMEOUT_S) as client:
            hello = {"jsonrpc": "2.0", "id": 1, "method": "initialize"}
            client.sendall(frame({**hello, "params": {"processId": None, "capabilities": {}}}))
            framer = Framer()
            bodies: list[bytes] = []
            while not bodies:
                bodies = framer.feed(client.recv(65536))
            assert json.loads(bodies[0])["result"]["serverInfo"]["name"] == "infill"
            with socket.create_connection((host, int(port)), timeout=TIMEOUT_S) as second:
                assert second.recv(1) == b""
        assert peer.process.wait(TIMEOUT_S) == 1
