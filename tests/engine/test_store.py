"""Models pulled from a hub of ours: checked, counted, and removed."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import pytest

from engine.checkpoints import store
from engine.errors import BrokenCheckpoint, EngineError, ModelNotFound
from tests.engine.test_hub import FILES, requests

__all__ = ["requests"]


def test_a_pulled_model_is_listed_and_can_be_removed(requests: list[str]) -> None:
    said: list[str] = []
    sizes: list[tuple[int, int]] = []
    folder = store.pull("own/small", said.append, lambda here, whole: sizes.append((here, whole)))
    needed = sum(len(FILES[name]) for name in ("config.json", "model.safetensors", "tokenizer.json"))
    assert (sizes[0], sizes[-1]) == ((0, needed), (needed, needed))
    assert (folder / "model.safetensors").read_bytes() == FILES["model.safetensors"]
    assert "checking model.safetensors" in said
    [model] = store.fetched_models()
    assert (model.name, model.complete) == ("own/small", True)
    before = len(requests)
    store.pull("own/small", said.append)
    assert not [path for path in requests[before:] if "/resolve/" in path]
    store.choose_model("own/small")
    assert store.remove("own/small") > 0
    assert (store.fetched_models(), store.chosen_model()) == ([], None)


def test_a_choice_is_looked_at_anew_and_read_where_it_has_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(store.CONFIG_VARIABLE, str(tmp_path))
    read: list[Path] = []
    plain = Path.read_text

    def watched(path: Path, encoding: str) -> str:
        read.append(path)
        return plain(path, encoding=encoding)

    monkeypatch.setattr(Path, "read_text", watched)
    choice = store.Choice()
    assert choice() is None
    for name in ("own/small", "own/other"):  # names as long as each other
        store.choose_model(name)
        assert [choice(), choice(), store.chosen_model()] == [name] * 3
    assert len(read) == 4
    store.choose_model(None)
    assert choice() is None
    (tmp_path / "model").write_bytes(b"\xff\xfe")
    assert choice() is None


def test_a_damaged_file_is_found_removed_and_fetched_again(requests: list[str]) -> None:
    folder = store.pull("own/small", lambda _line: None)
    (folder / "model.safetensors").resolve().write_bytes(b"damage")
    with pytest.raises(BrokenCheckpoint, match=r"model\.safetensors came damaged"):
        store.pull("own/small", lambda _line: None)
    folder = store.pull("own/small", lambda _line: None)
    assert (folder / "model.safetensors").read_bytes() == FILES["model.safetensors"]


def test_a_full_disk_is_said_before_anything_is_fetched(
    requests: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = type(shutil.disk_usage("/"))(10**9, 10**9, store._SPARE_BYTES)
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: usage)
    with pytest.raises(EngineError, match="GB more"):
        store.pull("own/small", lambda _line: None)
    assert not [path for path in requests if "/resolve/" in path]


@pytest.mark.parametrize("name", ["own/unknown", "nothing like it at all"])
def test_what_the_hub_does_not_have(requests: list[str], name: str) -> None:
    with pytest.raises(ModelNotFound):
        store.pull(name, lambda _line: None)


def test_a_checksum_is_that_of_the_file(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"weights")
    assert store._sha256(tmp_path / "x") == hashlib.sha256(b"weights").hexdigest()
