"""Starting the service when it is needed, stopping it, and knowing whether it lives.

Any number of clients may start it at once: they line up at a lock, and all but the first find it running.
Importing this imports no server.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from engine.errors import EngineUnavailable
from engine.service.locks import locked, try_lock
from engine.service.place import Address, Place

COMMAND = (sys.executable, "-m", "engine.service")
"""What starts the service."""

_LOOK_S = 0.02
_MOST_LOG_BYTES = 1_000_000


def running(place: Place) -> Address | None:
    """How the engine that lives there is reached; None where there is none, or it is not listening yet."""
    address = place.read_address()
    return address if address is not None and is_alive(place) else None


def is_alive(place: Place) -> bool:
    """Whether some process holds the engine's lock."""
    descriptor = try_lock(place.lock)
    if descriptor is None:
        return True
    os.close(descriptor)
    return False


def start(
    place: Place, timeout_s: float, arguments: Sequence[str] = (), command: Sequence[str] = COMMAND
) -> Address:
    """The running engine, started if there is none.

    Raises:
        EngineUnavailable: it does not start, with its last words; or not in time.
    """
    until = time.monotonic() + timeout_s
    with locked(place.start_lock, timeout_s) as mine:
        if (address := running(place)) is not None:
            return address
        if not mine:
            raise EngineUnavailable("another process has been starting the engine for too long")
        process = None
        while time.monotonic() < until:
            if (address := running(place)) is not None:
                return address
            # One that lives without an address is about to listen or about to end: a second would only wait.
            if not is_alive(place):
                if process is None:
                    process = _spawn(place, [*command, *arguments])
                elif process.poll() is not None:
                    ended = f"the engine ended with {process.returncode}"
                    raise EngineUnavailable(f"{ended}: {last_words(place)}")
            time.sleep(_LOOK_S)
    raise EngineUnavailable(f"the engine did not start within {timeout_s:.0f} s: {last_words(place)}")


def stop(place: Place, timeout_s: float = 8.0) -> bool:
    """End the engine, by force if it does not answer; False where there was none.

    Raises:
        EngineUnavailable: it lives, but nobody can tell as which process.
    """
    if not is_alive(place):
        return False
    address = place.read_address()
    if address is None:
        raise EngineUnavailable(f"an engine holds {place.lock}, but its state file is gone")
    for what in (signal.SIGTERM, getattr(signal, "SIGKILL", signal.SIGTERM)):
        try:
            os.kill(address.pid, what)
        except ProcessLookupError:
            break
        until = time.monotonic() + timeout_s / 2
        while is_alive(place) and time.monotonic() < until:
            time.sleep(_LOOK_S)
        if not is_alive(place):
            return True
    return not is_alive(place)


def last_words(place: Place) -> str:
    """The last line of the engine's log."""
    try:
        with place.log.open("rb") as file:
            file.seek(max(0, place.log.stat().st_size - 2000))
            lines = file.read().decode("utf-8", "replace").strip().splitlines()
    except OSError:
        return "it left no log"
    return lines[-1][:300] if lines else "it left no log"


@dataclass(kw_only=True)
class Backoff:
    """When the engine may be started again: at once, then after a pause that doubles with each failure."""

    first_s: float = 1.0
    most_s: float = 60.0
    failures: int = 0
    reason: str = ""
    _not_before: float = field(default=0.0)

    @property
    def wait_s(self) -> float:
        """Seconds until then."""
        return max(0.0, self._not_before - time.monotonic())

    def failed(self, reason: str) -> None:
        """A start failed, or what was started died at once."""
        pause_s = min(self.most_s, self.first_s * 2**self.failures)
        self.failures, self.reason = self.failures + 1, reason
        self._not_before = time.monotonic() + pause_s

    def succeeded(self) -> None:
        """It has served somebody."""
        self.failures, self.reason, self._not_before = 0, "", 0.0


def _spawn(place: Place, command: list[str]) -> subprocess.Popen[bytes]:
    """Begin a process that outlives us and has nothing of ours but its log."""
    try:
        if place.log.exists() and place.log.stat().st_size > _MOST_LOG_BYTES:
            place.log.replace(place.log.with_suffix(".log.old"))
        descriptor = os.open(place.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=descriptor,
                stderr=descriptor,
                cwd=place.folder,
                env=_environment(place),
                start_new_session=True,
            )
        finally:
            os.close(descriptor)
    except OSError as error:
        raise EngineUnavailable(f"the engine cannot be started: {error}") from error
    # Somebody has to take note of its end, or it stays in the process table for as long as we live.
    threading.Thread(target=process.wait, name="reaper", daemon=True).start()
    return process


def _environment(place: Place) -> dict[str, str]:
    from engine.service.place import FOLDER_VARIABLE

    return {**os.environ, FOLDER_VARIABLE: str(place.folder)}
