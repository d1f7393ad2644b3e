"""Where the resident engine lives: its folder, socket, lock, state file and log.

The folder is the user's alone. Who is alive is told by the lock and never by a number in a file, so that
whatever these files hold, nothing but a start is lost by it. Knows nothing of HTTP or models.
"""

from __future__ import annotations

import json
import os
import secrets
import socket
import stat
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

from engine.errors import EngineUnavailable

FOLDER_VARIABLE = "INFILL_RUNTIME_DIR"
"""Names another folder than the usual one: for tests, and for two engines that know nothing of each other."""

_LONGEST_SOCKET_PATH = 100
"""Bytes; the kernels' limits are 104 to 108 with the end mark."""


@dataclass(frozen=True, kw_only=True)
class Address:
    """How a running engine is reached: a Unix socket, or a loopback port with a token."""

    pid: int
    socket: str = ""
    host: str = ""
    port: int = 0
    token: str = ""
    version: str = ""


@dataclass(frozen=True, kw_only=True)
class Place:
    """The folder of one engine and what is in it."""

    folder: Path

    @property
    def lock(self) -> Path:
        """Held by the engine for as long as it lives."""
        return self.folder / "engine.lock"

    @property
    def start_lock(self) -> Path:
        """Held by whoever starts an engine."""
        return self.folder / "start.lock"

    @property
    def socket(self) -> Path:
        """The Unix socket."""
        return self.folder / "engine.sock"

    @property
    def log(self) -> Path:
        """What the engine has to say, its last words included."""
        return self.folder / "engine.log"

    @property
    def has_unix_socket(self) -> bool:
        """Whether this platform has them and the folder's path is short enough for one."""
        short = len(os.fsencode(self.socket)) <= _LONGEST_SOCKET_PATH
        return hasattr(socket, "AF_UNIX") and sys.platform != "win32" and short

    def read_address(self) -> Address | None:
        """What the engine wrote when it began to listen; None where that is missing or makes no sense."""
        try:
            data = json.loads((self.folder / "engine.json").read_text(encoding="utf-8"))
            address = Address(**data)
        except (OSError, ValueError, TypeError, RecursionError):
            return None
        kinds = (("pid", int), ("socket", str), ("host", str), ("port", int), ("token", str))
        good = all(isinstance(getattr(address, name), kind) for name, kind in kinds)
        return address if good and address.pid > 0 else None

    def write_address(self, address: Address) -> None:
        """Tell clients how the engine is reached; whole or not at all.

        Raises:
            OSError: it cannot be written.
        """
        self._write("engine.json", json.dumps(asdict(address)))

    def forget_address(self) -> None:
        """Take the socket and the state file away."""
        for path in (self.socket, self.folder / "engine.json"):
            path.unlink(missing_ok=True)

    def token(self) -> str:
        """The key for the loopback port: the same until its file is removed, so that editors can keep it.

        Raises:
            OSError: it cannot be written.
        """
        path = self.folder / "token"
        try:
            kept = path.read_text(encoding="ascii").strip()
        except (OSError, ValueError):
            kept = ""
        if len(kept) < 32 or not kept.isalnum():
            kept = secrets.token_hex(24)
            self._write(path.name, kept)
        return kept

    def _write(self, name: str, text: str) -> None:
        descriptor, temporary = tempfile.mkstemp(dir=self.folder, prefix=f".{name}.")  # of mode 0600
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                file.write(text)
            os.replace(temporary, self.folder / name)
        except BaseException:
            os.unlink(temporary)
            raise


def find_place() -> Place:
    """The user's engine folder, made if need be and checked to be the user's alone.

    Raises:
        EngineUnavailable: it cannot be made, or somebody else could write to it.
    """
    folder = _folder()
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = folder.lstat()
        if hasattr(os, "getuid"):
            if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
                raise EngineUnavailable(f"{folder} is not a folder of this user")
            if stat.S_IMODE(found.st_mode) & 0o077:
                folder.chmod(0o700)
    except OSError as error:
        raise EngineUnavailable(f"{folder} cannot be used: {error.strerror or error}") from error
    return Place(folder=folder)


def _folder() -> Path:
    if named := os.environ.get(FOLDER_VARIABLE):
        return Path(named).expanduser().absolute()
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or tempfile.gettempdir()) / "infill" / "run"
    if (runtime := os.environ.get("XDG_RUNTIME_DIR")) and os.path.isdir(runtime):
        return Path(runtime) / "infill"
    return Path(tempfile.gettempdir()) / f"infill-{os.getuid()}"
