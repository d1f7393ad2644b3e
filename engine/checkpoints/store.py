"""The models on this machine: the fetched ones, and the one the user has chosen.

That one counts wherever nobody names a model. Fetching itself is the hub client's business
(`engine.checkpoints.hub`); here is what surrounds it: room on the disk, and checksums.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.checkpoints.hub import is_complete
from engine.errors import BrokenCheckpoint, EngineError, ModelNotFound

CONFIG_VARIABLE = "INFILL_CONFIG_DIR"
"""Names another folder than the usual one for the user's choice."""

_LOOK_S = 0.2

_SPARE_BYTES = 200_000_000
"""What a download must leave free on the disk."""


class Choice:
    """What `infill model use` was told last, whenever it is asked; None for the embedded model.

    It may be asked with every request: the file is read only when it is another one than before.
    """

    def __init__(self) -> None:
        self._path = str(_file())
        self._state: tuple[int, ...] | None = None
        self._name: str | None = None

    def __call__(self) -> str | None:
        try:
            found = os.stat(self._path)
            state = found.st_ino, found.st_mtime_ns, found.st_size
            if state != self._state:
                self._name = Path(self._path).read_text(encoding="utf-8").strip() or None
                self._state = state
        except (OSError, ValueError):
            self._state = self._name = None
        return self._name

    @property
    def written(self) -> tuple[int, ...] | None:
        """What tells one writing of the choice from another, as of the last time it was asked."""
        return self._state


def chosen_model() -> str | None:
    """What `infill model use` was told last; None for the embedded model."""
    return Choice()()


def choose_model(name: str | None) -> None:
    """Go by `name` from now on; None for the embedded model.

    Raises:
        OSError: the choice cannot be kept.
    """
    path = _file()
    if name is None:
        path.unlink(missing_ok=True)
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".new")
    temporary.write_text(name + "\n", encoding="utf-8")
    temporary.replace(path)


def _file() -> Path:
    if named := os.environ.get(CONFIG_VARIABLE):
        return Path(named) / "model"
    if sys.platform == "win32":
        return Path(os.environ.get("APPDATA") or Path.home()) / "infill" / "model"
    return Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "infill" / "model"


@dataclass(frozen=True, kw_only=True)
class Fetched:
    """A model from the hub that is on this machine."""

    name: str
    size_bytes: int
    complete: bool


def fetched_models() -> list[Fetched]:
    """The models from the hub that are here, by name; what is no model of any kind is left out."""
    out = []
    for repo in _cached():
        folders = [revision.snapshot_path for revision in repo.revisions]
        if any((folder / "config.json").exists() for folder in folders):
            complete = any(is_complete(folder) for folder in folders)
            out.append(Fetched(name=repo.repo_id, size_bytes=repo.size_on_disk, complete=complete))
    return sorted(out, key=lambda model: model.name)


def pull(
    name: str,
    on_progress: Callable[[str], None],
    on_bytes: Callable[[int, int], None] = lambda _here, _all: None,
) -> Path:
    """Fetch a model whole and check it; what an earlier try has fetched is not fetched again.

    `on_bytes` is told now and then, on another thread, how many bytes are here and how many there will be.

    Raises:
        ModelNotFound: the hub has none such, cannot be reached, or may not be asked (HF_HUB_OFFLINE).
        BrokenCheckpoint: what came is not what the hub says it is; the bad files were removed.
        EngineError: the disk has too little room.
    """
    from engine.checkpoints.hub import resolve

    if Path(name).expanduser().exists():
        raise ModelNotFound(f"{name} is here already; pull takes a hub id such as owner/name")
    files = _listed(name)
    size_bytes = sum(size for _, size, _ in files)
    _check_room(name, size_bytes)
    with _watched(name, size_bytes, on_bytes):
        folder = resolve(name, on_progress)
    for file, size, sha256 in files:
        on_progress(f"checking {file}")
        path = folder / file
        if path.stat().st_size != size or (sha256 is not None and _sha256(path) != sha256):
            path.resolve().unlink()
            path.unlink(missing_ok=True)
            raise BrokenCheckpoint(f"{name}: {file} came damaged and was removed; pull it again")
    return folder


def remove(name: str) -> int:
    """Remove a fetched model; returns how many bytes are free for it.

    Raises:
        ModelNotFound: it is not here.
    """
    from huggingface_hub import scan_cache_dir

    found = next((repo for repo in _cached() if repo.repo_id == name), None)
    if found is None:
        raise ModelNotFound(f"{name} has not been fetched; infill model list shows what has")
    revisions = [revision.commit_hash for revision in found.revisions]
    scan_cache_dir(_cache_folder()).delete_revisions(*revisions).execute()
    if chosen_model() == name:
        choose_model(None)
    return int(found.size_on_disk)


def absolute(name: str) -> str:
    """`name` with a directory's path made absolute: the service works elsewhere."""
    folder = Path(name).expanduser()
    return str(folder.absolute()) if folder.is_dir() else name


def _cached() -> list[Any]:
    from huggingface_hub import scan_cache_dir
    from huggingface_hub.errors import CacheNotFound

    try:
        return [repo for repo in scan_cache_dir(_cache_folder()).repos if repo.repo_type == "model"]
    except CacheNotFound:
        return []


def _cache_folder() -> str:
    from huggingface_hub import constants

    return str(constants.HF_HUB_CACHE)


def _listed(name: str) -> list[tuple[str, int, str | None]]:
    """Name, bytes and, where the hub knows it, SHA-256 of each file that is needed."""
    from huggingface_hub import HfApi, RepoFile, constants
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, OfflineModeIsEnabled

    try:
        tree = HfApi(endpoint=constants.ENDPOINT).list_repo_tree(name)
        files = [item for item in tree if isinstance(item, RepoFile) and _wanted(item.path)]
    except HFValidationError as error:
        raise ModelNotFound(f"{name!r} is not a hub id such as owner/name") from error
    except OfflineModeIsEnabled as error:
        raise ModelNotFound(f"{name} cannot be fetched: HF_HUB_OFFLINE is set") from error
    except (HfHubHTTPError, OSError, ValueError) as error:
        raise ModelNotFound(f"{name} cannot be fetched: {error}") from error
    if not any(item.path.endswith(".safetensors") for item in files):
        raise ModelNotFound(f"{name} has no safetensors weights")
    return [(f.path, int(f.size), f.lfs.sha256 if f.lfs is not None else None) for f in files]


def _wanted(path: str) -> bool:
    return "/" not in path and (
        path.endswith(".json") or (path.startswith("model") and path.endswith(".safetensors"))
    )


def _check_room(name: str, size_bytes: int) -> None:
    folder = Path(_cache_folder())
    folder.mkdir(parents=True, exist_ok=True)
    missing, free = max(0, size_bytes - _here_bytes(name)), shutil.disk_usage(folder).free
    if missing > free - _SPARE_BYTES:
        raise EngineError(
            f"{name} needs {missing / 1e9:.2f} GB more, and {folder} has {free / 1e9:.2f} GB free"
        )


def _here_bytes(name: str) -> int:
    """What of a model has arrived, whole files and begun ones."""
    total = 0
    for path in (Path(_cache_folder()) / f"models--{name.replace('/', '--')}").glob("blobs/*"):
        with contextlib.suppress(OSError):  # renamed when it is whole
            total += path.stat().st_size
    return total


@contextlib.contextmanager
def _watched(name: str, size_bytes: int, on_bytes: Callable[[int, int], None]) -> Iterator[None]:
    """Meanwhile the disk is looked at for what has arrived, whichever way the hub's client fetches it."""
    over = threading.Event()

    def watch() -> None:
        while not over.wait(_LOOK_S):
            on_bytes(min(size_bytes, _here_bytes(name)), size_bytes)

    on_bytes(min(size_bytes, _here_bytes(name)), size_bytes)
    thread = threading.Thread(target=watch, name="watch", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
    on_bytes(size_bytes, size_bytes)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
