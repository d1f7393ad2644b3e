"""The language server: its state, and how it is started over stdio or TCP.

What it does for each method is under `features/`; how bytes come and go is in `transport`. Importing this
does not import torch, and neither does answering `initialize`.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from collections.abc import Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lsprotocol import types
from pygls.lsp.server import LanguageServer

from infill.languages import PLAIN
from lsp import features
from lsp.checker import Checker
from lsp.documents import Documents
from lsp.early import Met, is_alive, meet
from lsp.features.notebook import SYNC_OPTIONS as NOTEBOOK_SYNC
from lsp.indexing import Indexing
from lsp.loading import RESIDENT, Loader, Loading, loader_of
from lsp.logs import set_up_logging
from lsp.notebooks import Notebooks
from lsp.offers import Offers
from lsp.prefetch import Prefetch
from lsp.protocol import Protocol
from lsp.restraint import Pace
from lsp.settings import Settings
from lsp.status import NOTIFICATION, Status
from lsp.transport import Connection, PipeWriter, end_with_client, start_reading
from lsp.version import __version__
from lsp.work import Worker
from lsp.workspace import Folders

logger = logging.getLogger(__name__)

_CHUNK_BYTES = 64 * 1024
_JOIN_TIMEOUT_S = 1.0


@dataclass(frozen=True, kw_only=True)
class ServerOptions:
    """What the command line says.

    `model` is a checkpoint's directory or hub id, `None` the embedded one; a client's own setting goes
    before it. `engine` is where the model runs, see `lsp.loading.loader_of`. Without `log_file` the log goes
    to standard error. `log_level` is one of `logging`'s. `checker` is asked again about quick fixes; nothing
    but the command line may name it, since it is run.
    """

    model: str | None = None
    engine: str = RESIDENT
    log_file: Path | None = None
    log_level: int = logging.WARNING
    checker: Checker | None = None


class InfillServer(LanguageServer):
    """The state of one session with one client."""

    protocol: Protocol

    def __init__(self, options: ServerOptions, loader: Loader | None = None) -> None:
        super().__init__("infill", __version__, protocol_cls=Protocol, notebook_document_sync=NOTEBOOK_SYNC)
        self.options = options
        self.settings = Settings()
        self.setting_problems: list[str] = []
        self.initial_options: dict[str, Any] = {}
        self.documents = Documents()
        self.notebooks = Notebooks()
        self.folders = Folders()
        self.indexing = Indexing(self)
        self.worker = Worker()
        self.loading = Loading()
        self.status = Status(lambda params: self.protocol.notify(NOTIFICATION, params))
        self.pace = Pace()
        self.prefetch = Prefetch(self)
        self.offers = Offers(self)
        self._loader = loader
        self._told: set[str] = set()
        self._tasks: set[asyncio.Task[Any]] = set()
        self.seen_alive: int | None = None
        """A process that was there when the client was met, even if it is gone by now."""
        self._connection: Connection | None = None
        features.register(self)

    def load_model(self) -> None:
        """Begin to load the model, in the background."""
        model = self.settings.model or self.options.model
        loader = self._loader or loader_of(self.options.engine)
        self.background(self.loading.load(self, loader, model))

    def restart_engine(self) -> None:
        """Let go of the model and everything it is doing, and load it anew."""
        self.worker.close()
        self.worker, self.loading = Worker(), Loading()
        self.load_model()
        self.background(self.indexing.begin())

    def describe(self) -> dict[str, Any]:
        """What there is to know, for the command `infill.status`."""
        engine, counts = self.loading.engine, self.status.counts
        info = engine.info() if engine is not None else None
        log = self.options.log_file
        return {
            "state": self.status.state,
            "message": self.status.message,
            "model": info and info.model,
            "parameters": info and info.parameters,
            "device": info and info.device,
            "dtype": info and info.dtype,
            "p50Ms": self.pace.percentile_ms(0.5),
            "p90Ms": self.pace.percentile_ms(0.9),
            "requests": counts.requests,
            "offered": counts.offered,
            "shown": counts.shown,
            "accepted": counts.accepted,
            "partiallyAccepted": counts.partially_accepted,
            "rejected": counts.rejected,
            "acceptedChars": counts.accepted_chars,
            "reused": counts.reused,
            "renoised": counts.renoised,
            "prefetched": counts.prefetched,
            "nothing": dict(counts.nothing),
            "logFile": str(log.absolute()) if log is not None else None,
            "version": __version__,
        }

    def watch_client(self, process_id: int | None) -> None:
        """End when the client's process does, where the transport would not notice by itself.

        One that is not there to begin with is in another container, and says nothing.
        """
        if process_id is None or self._connection is None:
            return
        if is_alive(process_id) or process_id == self.seen_alive:
            self.background(end_with_client(process_id, self._connection))
        else:
            logger.info("the client's process %d cannot be seen from here", process_id)

    def why_not(self, uri: str) -> str | None:
        """Why a document is left alone, whatever is asked about it; None if it is not."""
        opened = self.documents.get(uri)
        language = opened.document.language if opened is not None else PLAIN
        return self.folders.why_not(self.notebooks.of(uri) or uri, language)

    def background(self, work: Coroutine[Any, Any, None]) -> None:
        """Run something beside the handlers; what it raises is logged."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._finished)

    def log(self, message: str) -> None:
        """One line for the user's log, in the editor and in ours."""
        logger.info("%s", message)
        self.window_log_message(types.LogMessageParams(type=types.MessageType.Info, message=message))
        if self.protocol.trace is not types.TraceValue.Off:
            self.protocol.notify(types.LOG_TRACE, types.LogTraceParams(message=message))

    def tell_once(self, message: str, kind: types.MessageType = types.MessageType.Warning) -> None:
        """Show the user a message, the first time only."""
        if message not in self._told:
            self._told.add(message)
            logger.warning("%s", message)
            self.window_show_message(types.ShowMessageParams(type=kind, message=f"Infill: {message}"))

    def report_server_error(self, error: Exception, source: type[Exception]) -> None:
        """Log what pygls could not handle; its own way shows the user a message each time."""
        logger.error("%s: %s", source.__name__, type(error).__name__, exc_info=error)

    async def serve(self, connection: Connection, *, watch: bool) -> int:
        """Stay until the connection ends; returns the exit code. `watch` the client's process."""
        self._connection = connection if watch else None
        try:
            return await connection.ended()
        finally:
            self.worker.close()
            self.indexing.close()

    def _finished(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.error("a background task failed", exc_info=error)


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
        server.append(InfillServer(options, loader))
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
        server.append(InfillServer(options, loader))
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
