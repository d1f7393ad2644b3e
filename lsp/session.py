"""The state of one session with one client, and what the parts of the server share.

What is done for each method is under `features/`, which are connected to it in `server`. Importing this does
not import torch.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lsprotocol import types
from pygls.exceptions import JsonRpcException
from pygls.lsp.server import LanguageServer

from infill.code.languages import PLAIN
from lsp.checker import Checker
from lsp.documents import Documents
from lsp.early import is_alive
from lsp.indexing import Indexing
from lsp.loading import RESIDENT, Loader, Loading, loader_of
from lsp.notebooks import NOTEBOOK_SYNC, Notebooks
from lsp.offers import Offers
from lsp.prefetch import Prefetch
from lsp.protocol import Protocol
from lsp.restraint import Pace
from lsp.settings import Settings
from lsp.status import NOTIFICATION, Status
from lsp.transport import Connection, end_with_client
from lsp.version import __version__
from lsp.work import Worker
from lsp.workspace import Folders

logger = logging.getLogger(__name__)

_KEYS_OF_A_TEXT = ("{}", "holes {}", "diagnostics {}", "quick-fix {}")
"""What the worker knows the work on a text by."""


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

    def load_model(self) -> None:
        """Begin to load the model, in the background."""
        model = self.settings.model or self.options.model
        loader = self._loader or loader_of(self.options.engine)
        self.background(self.loading.load(self, loader, model))

    def end_work_on(self, uri: str) -> None:
        """Stop what is being done for a text as it was."""
        for key in _KEYS_OF_A_TEXT:
            self.worker.supersede(key.format(uri))

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

    def settings_for(self, uri: str) -> Settings:
        """The settings that count for a document: a folder's `infill.toml` has a say in some."""
        return self.folders.settings(self.notebooks.of(uri) or uri, self.settings)

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

    def tell(self, message: str, kind: types.MessageType) -> None:
        """Show the user a message."""
        self.window_show_message(types.ShowMessageParams(type=kind, message=f"Infill: {message}"))

    def tell_once(self, message: str, kind: types.MessageType = types.MessageType.Warning) -> None:
        """Show the user a message, the first time only."""
        if message not in self._told:
            self._told.add(message)
            logger.warning("%s", message)
            self.tell(message, kind)

    def refresh_diagnostics(self) -> None:
        """Have the client ask for hints again, where it offers to: by itself it does when a text changes."""
        workspace = self.client_capabilities.workspace
        support = workspace.diagnostics if workspace is not None else None
        if support is not None and support.refresh_support:
            self.background(self._refresh_diagnostics())

    async def _refresh_diagnostics(self) -> None:
        try:
            await self.workspace_diagnostic_refresh_async(None)
        except JsonRpcException as error:  # it offered, and refuses
            logger.info("the client does not ask for diagnostics again: %s", error)

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
