"""llama.cpp as a peer of `infill bench`: its server writes as many tokens after the same text.

Runs a binary that the user names, with a model that the user names; knows nothing of ours.
"""

from __future__ import annotations

import contextlib
import json
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from lsp.commands.errors import CommandError

_START_S = 60.0
"""How long a server may take to read its model."""

_REQUEST_S = 120.0
_LOOK_S = 0.1


class PeerFailed(CommandError):
    """The server did not start, or did not answer."""


class LlamaPeer:
    """A running llama-server."""

    def __init__(self, address: str) -> None:
        self._address = address

    def complete_ms(self, text: str, tokens: int) -> float:
        """Milliseconds for `tokens` written after `text`, greedily, nothing of which was cached.

        Raises:
            PeerFailed: there was no answer.
        """
        asked = {
            "prompt": text,
            "n_predict": tokens,
            "temperature": 0,
            "ignore_eos": True,
            "cache_prompt": False,
        }
        began = time.perf_counter()
        self._post("/completion", asked)
        return 1e3 * (time.perf_counter() - began)

    def ready(self) -> bool:
        """Whether the model is loaded."""
        try:
            with urllib.request.urlopen(self._address + "/health", timeout=_REQUEST_S) as answer:
                return bool(answer.status == 200)
        except (urllib.error.URLError, OSError):
            return False

    def _post(self, path: str, body: object) -> object:
        data = json.dumps(body).encode()
        request = urllib.request.Request(
            self._address + path, data=data, headers={"Content-Type": "application/json"}
        )
        try:
            with urllib.request.urlopen(request, timeout=_REQUEST_S) as answer:
                return json.load(answer)
        except (urllib.error.URLError, OSError, ValueError) as error:
            raise PeerFailed(f"llama.cpp's server did not answer: {error}") from error


@contextlib.contextmanager
def llama_server(binary: Path, model: Path, threads: int) -> Iterator[LlamaPeer]:
    """`binary` serving `model` (GGUF) with `threads` threads, until the end of the block.

    Raises:
        PeerFailed: one of the files does not exist, or the server ended before it was ready.
    """
    for path in (binary, model):
        if not path.is_file():
            raise PeerFailed(f"{path}: no such file")
    port = _free_port()
    command = [str(binary), "--model", str(model), "--host", "127.0.0.1", "--port", str(port)]
    command += ["--threads", str(threads), "--ctx-size", "4096"]
    try:
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    except OSError as error:
        raise PeerFailed(f"{binary} cannot be run: {error.strerror}") from error
    try:
        peer = LlamaPeer(f"http://127.0.0.1:{port}")
        until = time.monotonic() + _START_S
        while not peer.ready():
            if process.poll() is not None:
                raise PeerFailed(f"{binary} ended with exit code {process.returncode}")
            if time.monotonic() > until:
                raise PeerFailed(f"{binary} was not ready within {_START_S:.0f} seconds")
            time.sleep(_LOOK_S)
        yield peer
    finally:
        process.kill()
        process.wait()


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port
