"""Cuts a stream of bytes into the bodies of messages, by their `Content-Length` headers.

It does no input or output and knows nothing of what a body says. After bytes that are no header it finds
the next header by itself, so one broken message does not cost the ones that follow.
"""

from __future__ import annotations

import re

MAX_BODY_BYTES = 256 * 1024 * 1024
"""A header that announces more is taken for garbage."""

_MAX_LINE_BYTES = 64 * 1024
# Not anchored at the start of the line: behind a body shorter than announced, the rest of the body and
# the next header share a line.
_LENGTH = re.compile(rb"content-length:[ \t]*([0-9]{1,12})[ \t]*\r?\n\Z", re.IGNORECASE)
_HEADER = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+:[^\n]*\n")


class Framer:
    """Takes chunks as they come and gives bodies as they are complete."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._length: int | None = None  # of the body whose headers are being read
        self._missing = 0  # bytes of the body still to come, once its headers are complete
        self.garbage_bytes = 0
        """How many bytes have been skipped so far."""

    def feed(self, chunk: bytes) -> list[bytes]:
        """Take the next bytes and return the bodies that are now complete, in order."""
        self._buffer += chunk
        bodies: list[bytes] = []
        while True:
            if self._missing:
                if len(self._buffer) < self._missing:
                    return bodies
                bodies.append(bytes(self._buffer[: self._missing]))
                del self._buffer[: self._missing]
                self._missing = 0
            elif not self._read_line():
                return bodies

    def _read_line(self) -> bool:
        """Take one line of headers off the buffer; False if there is no whole one yet."""
        end = self._buffer.find(b"\n") + 1
        if not end:
            self._drop_overlong()
            return False
        line = bytes(self._buffer[:end])
        del self._buffer[:end]
        if found := _LENGTH.search(line):
            self.garbage_bytes += found.start()
            length = int(found[1])
            self._length = length if length <= MAX_BODY_BYTES else None
        elif not line.strip():
            self._missing, self._length = self._length or 0, None
        elif not (self._length is not None or _HEADER.fullmatch(line)):
            self.garbage_bytes += len(line)
        return True

    def _drop_overlong(self) -> None:
        """No header is that long; keep enough to recognise one that is just arriving."""
        if len(self._buffer) > _MAX_LINE_BYTES:
            excess = len(self._buffer) - 1024
            self.garbage_bytes += excess
            del self._buffer[:excess]
