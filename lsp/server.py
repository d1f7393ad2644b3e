"""Starts the language server over stdio or TCP: a session, and the features that serve it.

What it does for each method is under `features/`, what it knows in `session`; how bytes come and go is in
`transport`. Importing this does not import torch, and neither does answering `initialize`.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys

from lsp import features
from lsp.early import Met, meet
from lsp.loading import Loader
from lsp.logs import set_up_logging
from lsp.session import InfillServer, ServerOptions
from lsp.transport import Connection, PipeWriter, start_reading

logger = logging.getLogger(__name__)

_CHUNK_BYTES = 64 * 1024
_JOIN_TIMEOUT_S = 1.0


def new_server(options: ServerOptions, loader: Loader | None = None) -> InfillServer:
    """A session with all features connected; `loader` instead of the one the options name."""
    server = InfillServer(options, loader)
    features.register(server)
    return server


def serve_stdio(options: ServerOptions, loader: Loader | None = None, met: Met | None = None) -> int:
    """Serve one client over standard input and output; returns the exit code. `met` if it was met already.

    That is 0 after `shutdown` and `exit`, and 1 if the client left otherwise.

    Raises:
        OSError: the log file cannot be written.
    """
    set_up_logging(options.log_file, options.log_level)
    client = met or meet()
    server: list[InfillServer] = []

    async def run() -> int:
        server.append(new_server(options, loader))
        connection = Connection(server[0].protocol)
        server[0].protocol.answered, server[0].seen_alive = client.answered, client.process_id
        server[0].protocol.set_writer(PipeWriter(client.pipe, connection))
        if client.received:  # handled once `serve` has begun
            asyncio.get_running_loop().call_soon(connection.feed, client.received)
        start_reading(sys.stdin.fileno(), connection)
        return await server[0].serve(connection, watch=True)

    return _end(asyncio.run(run()), server[0])


def serve_tcp(options: ServerOptions, host: str, port: int, loader: Loader | None = None) -> int:
    """Serve the first client that connects, for debugging; returns the exit code.

    Where it listens is said on standard error, so that `port` can be 0. Further clients are turned away.

    Raises:
        OSError: the log file cannot be written, or nothing can listen there.
    """
    set_up_logging(options.log_file, options.log_level)
    server: list[InfillServer] = []

    async def run() -> int:
        server.append(new_server(options, loader))
        return await _serve_one(server[0], host, port)

    return _end(asyncio.run(run()), server[0])


async def _serve_one(server: InfillServer, host: str, port: int) -> int:
    connection = Connection(server.protocol)
    taken = False

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal taken
        if taken:
            logger.warning("a second client was turned away")
            writer.close()
            return
        taken = True
        server.protocol.set_writer(writer)
        try:
            chunk = b"more"
            while chunk:
                chunk = await reader.read(_CHUNK_BYTES)
                connection.feed(chunk)
        except OSError:
            connection.end(1)
        finally:
            writer.close()

    listener = await asyncio.start_server(connected, host, port)
    address = listener.sockets[0].getsockname()
    print(f"infill: listening on {address[0]}:{address[1]}", file=sys.stderr, flush=True)
    async with listener:
        code = await server.serve(connection, watch=False)
        if isinstance(server.protocol.writer, asyncio.StreamWriter):
            server.protocol.writer.close()
    return code


def _end(code: int, server: InfillServer) -> int:
    """Let the model's thread end, or do without: a model that is being loaded cannot be stopped."""
    if not server.worker.join(_JOIN_TIMEOUT_S):
        logging.shutdown()
        os._exit(code)
    return code
