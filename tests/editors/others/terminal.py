"""A program in a terminal of its own: keys go in, its screen is looked at.

Nothing waits for a fixed time: `until` asks again until something is so or a deadline has passed. Knows
nothing of editors.
"""

from __future__ import annotations

import fcntl
import os
import pty
import select
import signal
import struct
import termios
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pyte

T = TypeVar("T")

ROWS, COLUMNS = 36, 120
DEADLINE_S = 120.0
_PAUSE_S = 0.02


class _Screen(pyte.Screen):
    """Takes what newer programs ask of a terminal, which pyte does not know."""

    def report_device_status(self, mode: int = 0, *, private: bool = False) -> None:
        if not private:
            super().report_device_status(mode)

    def report_device_attributes(self, mode: int = 0, *, private: bool = False) -> None:
        if not private:
            super().report_device_attributes(mode)


class Terminal:
    """A running program and what it has drawn."""

    def __init__(
        self,
        command: list[str],
        folder: Path,
        environment: dict[str, str],
        rows: int = ROWS,
        columns: int = COLUMNS,
    ) -> None:
        self.screen = _Screen(columns, rows)
        self._stream = pyte.ByteStream(self.screen)
        self.pid, self._terminal = pty.fork()
        if self.pid == 0:
            os.chdir(folder)
            os.execve(command[0], command, {**environment, "TERM": "xterm-256color"})
        fcntl.ioctl(self._terminal, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        # What a program asks of its terminal is answered, or some wait for ever.
        self.screen.write_process_input = lambda data: os.write(self._terminal, data.encode())

    def close(self) -> None:
        """End the program; its children see their terminal go."""
        os.kill(self.pid, signal.SIGKILL)
        os.close(self._terminal)
        os.waitpid(self.pid, 0)

    def keys(self, keys: str) -> None:
        """Type characters as they are; control characters among them."""
        os.write(self._terminal, keys.encode())

    def text(self) -> str:
        """The screen's lines, without blanks at their ends."""
        self._read()
        return "\n".join(line.rstrip() for line in self.screen.display)

    def until(self, condition: Callable[[], T], what: str, deadline_s: float = DEADLINE_S) -> T:
        """The first truthy value of a condition.

        Raises:
            AssertionError: there was none before the deadline; it shows the screen.
        """
        end = time.monotonic() + deadline_s
        self._read()
        while not (value := condition()):
            assert time.monotonic() < end, f"never {what}:\n{self.text()}"
            time.sleep(_PAUSE_S)
            self._read()
        return value

    def shows(self, text: str) -> None:
        """Wait for a text on the screen."""
        self.until(lambda: text in self.text(), f"showed {text!r}")

    def _read(self) -> None:
        while select.select([self._terminal], [], [], 0)[0]:
            try:
                self._stream.feed(os.read(self._terminal, 65536))
            except OSError:  # it has ended; what it drew last stays
                return
