"""Models from the hub: the real client against a server of ours that answers as the hub does."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from engine.checkpoints import hub
from engine.errors import ModelNotFound

COMMIT = "0123456789abcdef0123456789abcdef01234567"
FILES = {
    "config.json": b"{}",
    "model.safetensors": b"weights",
    "tokenizer.json": b"{}",
    "pickle.bin": b"never fetched",
    "README.md": b"never fetched",
    "original/model.safetensors": b"never fetched",
}


class _Hub(BaseHTTPRequestHandler):
    requests: list[str]

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def _answer(self, *, body: bool) -> None:
        type(self).requests.append(self.path)
        path = self.path.partition("?")[0]
        if path.startswith("/api/models/own/small"):
            siblings = [{"rfilename": name} for name in FILES]
            tree = [{"type": "file", "path": n, "size": len(b), "oid": n} for n, b in FILES.items()]
            content = tree if "/tree/" in path else {"id": "own/small", "sha": COMMIT, "siblings": siblings}
            self._send(200, json.dumps(content).encode(), body=body)
        elif path.startswith("/own/small/resolve/") and path.rpartition("/")[2] not in FILES:
            self._send(404, b"{}", body=body, error="EntryNotFound")
        elif path.startswith("/own/small/resolve/"):
            content, asked = FILES[path.rpartition("/")[2]], self.headers.get("Range", "")
            first, _, last = asked.removeprefix("bytes=").partition("-")
            part = content[int(first) : int(last) + 1] if asked else content
            self._send(206 if asked else 200, part, body=body)
        else:
            self._send(404, b"{}", body=body, error="RepoNotFound")

    def _send(self, status: int, content: bytes, *, body: bool, error: str = "") -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("ETag", f'"{hashlib.sha1(content).hexdigest()}"')
        if error:
            self.send_header("X-Error-Code", error)
        self.end_headers()
        if body:
            self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:
        """Quiet."""


@pytest.fixture
def requests(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """A hub on this machine, an empty cache, and the list of what is asked of it."""
    from huggingface_hub import constants

    handler = type("Handler", (_Hub,), {"requests": []})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    address = f"http://127.0.0.1:{server.server_port}"
    template = constants.HUGGINGFACE_CO_URL_TEMPLATE.replace(constants.ENDPOINT, address)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr(constants, "ENDPOINT", address)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    yield handler.requests
    server.shutdown()
    server.server_close()
    thread.join()


def test_fetched_once_then_offline(requests: list[str]) -> None:
    lines: list[str] = []
    folder = hub.resolve("own/small", lines.append)
    assert {path.name for path in folder.iterdir()} == {"config.json", "model.safetensors", "tokenizer.json"}
    assert (folder / "model.safetensors").read_bytes() == b"weights"
    assert lines[0] == "fetching own/small"
    assert any("%" in line for line in lines)
    about_it = [path for path in requests if "own/small" in path]
    assert about_it
    assert hub.resolve("own/small") == folder
    assert [path for path in requests if "own/small" in path] == about_it


def test_an_interrupted_download_is_completed(requests: list[str]) -> None:
    folder = hub.resolve("own/small")
    for name in ("model.safetensors", "tokenizer.json", "config.json"):
        (folder / name).unlink()
        assert hub.resolve("own/small") == folder
        assert (folder / name).read_bytes() == FILES[name]


@pytest.mark.parametrize(
    "index",
    [
        "[]",
        "5",
        "{",
        "[" * 200_000,
        "{}",
        '{"weight_map": []}',
        '{"weight_map": {}}',
        '{"weight_map": {"a": 5}}',
        '{"weight_map": {"a": ["b"]}}',
        '{"weight_map": {"a": "%s"}}' % ("x" * 5000),
    ],
)
def test_a_snapshot_with_an_index_that_makes_no_sense_is_not_complete(tmp_path: Path, index: str) -> None:
    for name in ("config.json", "tokenizer.json"):
        (tmp_path / name).write_text("{}")
    (tmp_path / "model.safetensors.index.json").write_text(index)
    assert not hub.is_complete(tmp_path)


@pytest.mark.usefixtures("requests")
def test_a_model_the_hub_does_not_know() -> None:
    with pytest.raises(ModelNotFound, match="no model own/other"):
        hub.resolve("own/other")


def test_no_network_and_nothing_cached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")  # discard: nothing listens
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(ModelNotFound, match="cannot be fetched"):
        hub.resolve("own/small")


@pytest.mark.parametrize(
    "name", ["./here", "no-such-dir", "a/b/c", "/root/none", "owner/", "a b/c", "a--b/c", "x/."]
)
def test_what_is_no_hub_id_never_reaches_the_hub(name: str, requests: list[str]) -> None:
    with pytest.raises(ModelNotFound, match="directory"):
        hub.resolve(name)
    assert requests == []


def test_a_part_of_a_file_is_read_without_the_rest(requests: list[str]) -> None:
    assert hub.read_remote("own/small", "model.safetensors", 2, 5) == b"igh"
    assert hub.read_remote("own/small", "config.json") == b"{}"
    assert hub.read_remote("own/small", "hf_quant_config.json") is None
    assert [path.rpartition("/")[2] for path in requests] == [
        "model.safetensors",
        "config.json",
        "hf_quant_config.json",
    ]


@pytest.mark.usefixtures("requests")
def test_a_part_of_a_model_the_hub_does_not_know() -> None:
    with pytest.raises(ModelNotFound, match="no model own/other"):
        hub.read_remote("own/other", "config.json")
    with pytest.raises(ModelNotFound, match="hub id"):
        hub.read_remote("a b/c", "config.json")


def test_a_part_without_a_network(monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    address = constants.HUGGINGFACE_CO_URL_TEMPLATE.replace(constants.ENDPOINT, "http://127.0.0.1:9")
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", address)
    with pytest.raises(ModelNotFound, match="cannot be reached"):
        hub.read_remote("own/small", "config.json")
