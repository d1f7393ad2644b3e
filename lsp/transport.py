"""Bytes in, bytes out, and when it is over: standard input and output, a TCP connection, the client's death.

It does not know what a message says: `Connection` hands each body to the protocol.
"""

from __future__ import annotations

import asyncio
import logging
import os
import threading
from collections import deque
from typing import BinaryIO

from lsp.early import is_alive
from lsp.framing import Framer
from lsp.protocol import Protocol

logger = logging.getLogger(__name__)

_CHUNK_BYTES = 64 * 1024
_ALIVE_POLL_S = 2.0


class Connection:
    """One client: feeds its bytes to the protocol until one side ends it."""

    def __init__(self, protocol: Protocol) -> None:
        self._loop = asyncio.get_running_loop()
        self._protocol = protocol
        self._framer = Framer()
        self._bodies: deque[bytes] = deque()
        self._at_work = False
        self._closed = False
        self._ended: asyncio.Future[int] = self._loop.create_future()
        protocol.on_exit = self.end

    def feed(self, chunk: bytes) -> None:
        """Take bytes from the client; none at all means that it has closed its side."""
        garbage_bytes = self._framer.garbage_bytes
        self._bodies += self._framer.feed(chunk)
        self._closed = self._closed or not chunk
        if skipped := self._framer.garbage_bytes - garbage_bytes:
            logger.warning("skipped %d bytes that belong to no message", skipped)
        if not self._at_work:
            self._at_work = True
            self._handle_next()

    def _handle_next(self) -> None:
        """Handle one message, and the others when the loop comes round again.

        pygls starts an async handler as a task. This way that has taken its snapshot before the next
        message, which may be an edit, is handled: tasks begin in the order in which they were made.
        """
        if self._ended.done():
            return
        if not self._bodies:
            self._at_work = False
            if self._closed:
                self.end(self._protocol.exit_code)
            return
        try:
            self._protocol.receive(self._bodies.popleft())
        except Exception:
            # A bug of ours, or of pygls; the next message may well be fine.
            logger.exception("a message could not be handled")
        self._loop.call_soon(self._handle_next)

    def end(self, exit_code: int) -> None:
        """End it; only the first call counts."""
        if not self._ended.done():
            self._ended.set_result(exit_code)

    async def ended(self) -> int:
        """Wait for the end; returns the exit code."""
        return await self._ended


class PipeWriter:
    """Standard output, for pygls; a client that is gone ends the connection instead of raising."""

    def __init__(self, pipe: BinaryIO, connection: Connection) -> None:
        self._pipe = pipe
        self._connection = connection

    def write(self, data: bytes) -> None:
        """Write and flush."""
        try:
            self._pipe.write(data)
            self._pipe.flush()
        except (OSError, ValueError):
            self._connection.end(1)

    def close(self) -> None:
        """Nothing: the process is about to end."""


def start_reading(descriptor: int, connection: Connection) -> None:
    """Feed what arrives at a descriptor to the connection, on a thread.

    A daemon thread and plain reads, since a thread that waits for input would keep the process alive when
    something else ends it, and a buffered reader's lock must not be held then.
    """
    loop = asyncio.get_running_loop()

    def read() -> None:
        chunk = b"more"
        while chunk:
            try:
                chunk = os.read(descriptor, _CHUNK_BYTES)
            except OSError:
                chunk = b""
            try:
                loop.call_soon_threadsafe(connection.feed, chunk)
            except RuntimeError:
                return  # the loop is closed

    threading.Thread(target=read, name="stdin", daemon=True).start()


async def end_with_client(process_id: int, connection: Connection) -> None:
    """End the connection when the client's process, which is alive now, dies."""
    while is_alive(process_id):
        await asyncio.sleep(_ALIVE_POLL_S)
    logger.warning("the client's process %d is gone", process_id)
    connection.end(1)
