"""Finds a model's folder: the one shipped with the package, a directory, or one from the hub.

Only JSON and safetensors are ever fetched. What has been fetched once is used without asking the network
again. Does not open the files (see `engine.checkpoints.weights`).
"""

from __future__ import annotations

import os
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

from engine.checkpoints.config_json import read_json
from engine.errors import BrokenCheckpoint, ModelNotFound

EMBEDDED = Path(__file__).parent.parent / "models" / "embedded"
"""The small model shipped with the package."""

_FILES: dict[str, Any] = {
    "allow_patterns": ["*.json", "model*.safetensors"],
    # A pattern's star crosses folders, where other copies of the weights may lie.
    "ignore_patterns": ["*/*"],
}


def resolve(model: str | None, on_progress: Callable[[str], None] | None = None) -> Path:
    """The folder of `model`: None is the embedded model, else a directory or a hub id (`owner/name`).

    `on_progress` gets a line now and then while files are fetched.

    Raises:
        ModelNotFound: neither a directory nor a model the hub knows, or the hub cannot be reached.
    """
    if model is None:
        return EMBEDDED
    folder = Path(model).expanduser()
    if folder.is_dir():
        return folder
    if folder.exists():
        raise ModelNotFound(f"{model} is a file; a model is a directory or a hub id such as owner/name")
    if model.count("/") != 1 or model.startswith((".", "/", "~")) or model.endswith("/"):
        raise ModelNotFound(f"there is no directory {model}, and it is not a hub id such as owner/name")
    return _from_hub(model, on_progress or (lambda _line: None))


def _from_hub(model: str, on_progress: Callable[[str], None]) -> Path:
    # Imported here: it is slow, and most runs need no hub.
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import (
        HfHubHTTPError,
        HFValidationError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
    )

    try:
        cached = Path(snapshot_download(model, **_FILES, local_files_only=True))
        if is_complete(cached):
            return cached
    except HFValidationError as error:
        raise ModelNotFound(f"{model!r} is neither a directory nor a hub id such as owner/name") from error
    except LocalEntryNotFoundError:
        pass
    on_progress(f"fetching {model}")
    try:
        return Path(snapshot_download(model, **_FILES, tqdm_class=_progress_bar(on_progress)))
    except RepositoryNotFoundError as error:
        raise ModelNotFound(f"the hub has no model {model}, or it needs a login") from error
    except (LocalEntryNotFoundError, HfHubHTTPError, OSError, ValueError) as error:
        raise ModelNotFound(f"{model} is not here and cannot be fetched: {error}") from error


def read_remote(model: str, name: str, first: int | None = None, end: int | None = None) -> bytes | None:
    """Bytes `first` to `end` (exclusive; None: all) of the file `name` of a hub model, None if it has none.

    Raises:
        ModelNotFound: the hub does not have the model, or cannot be reached.
    """
    from huggingface_hub import get_token, hf_hub_url
    from huggingface_hub.errors import HFValidationError

    try:
        request = urllib.request.Request(hf_hub_url(model, name))
    except (HFValidationError, ValueError) as error:
        raise ModelNotFound(f"{model!r} is neither a directory nor a hub id such as owner/name") from error
    if token := get_token():
        # Not passed on where the hub redirects to: that address carries its own permission.
        request.add_unredirected_header("Authorization", f"Bearer {token}")
    if first is not None and end is not None:
        request.add_header("Range", f"bytes={first}-{end - 1}")
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            # A server that knows no ranges sends everything, of which only the start is wanted.
            found: bytes = answer.read() if end is None else answer.read(end)
            whole = answer.status == 200
    except urllib.error.HTTPError as error:
        if error.code == 404 and error.headers.get("X-Error-Code") == "EntryNotFound":
            return None
        raise ModelNotFound(f"the hub has no model {model}, or it needs a login") from error
    except OSError as error:
        raise ModelNotFound(f"{model} is not here and the hub cannot be reached: {error}") from error
    return found[first:end] if whole else found


def is_complete(folder: Path) -> bool:
    """Whether a snapshot has all we need: an interrupted download leaves some out."""
    if not all((folder / name).exists() for name in ("config.json", "tokenizer.json")):
        return False
    index = folder / "model.safetensors.index.json"
    if not index.exists():
        return (folder / "model.safetensors").exists()
    try:
        weight_map = read_json(index).get("weight_map")
    except BrokenCheckpoint:
        return False
    names = weight_map.values() if isinstance(weight_map, dict) else ()
    there = [isinstance(name, str) and os.path.exists(folder / name) for name in names]
    return bool(there) and all(there)


def _progress_bar(on_progress: Callable[[str], None]) -> type[Any]:
    from tqdm.auto import tqdm

    class Reported(tqdm):  # type: ignore[misc]
        """Reports to `on_progress` instead of drawing; stdout and stderr may not be ours to draw on."""

        def display(self, msg: str | None = None, pos: int | None = None) -> None:
            if self.total:
                on_progress(f"{self.desc or 'fetching'} {100 * self.n // self.total}%")

    return Reported
