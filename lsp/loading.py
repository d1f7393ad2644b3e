"""Loads the model in the background, with progress, and says what became of it.

What loading means is the `Loader`'s business; the default one imports torch, which is why it does so only
when it is called.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from lsprotocol import types

from engine.errors import EngineError, EngineUnavailable
from engine.request import Engine
from lsp.progress import Progress

if TYPE_CHECKING:
    from lsp.session import InfillServer

logger = logging.getLogger(__name__)

RESIDENT = "resident"
IN_PROCESS = "in-process"

Loader = Callable[[str | None, Callable[[str], None]], Engine]
"""Takes a model (None for the embedded one) and a function for progress messages; raises EngineError."""


def load_in_process(model: str | None, on_progress: Callable[[str], None]) -> Engine:
    """Load a model into this process.

    Raises:
        EngineError: it cannot be loaded.
    """
    from engine.inprocess import load_engine

    return load_engine(model, on_progress)


def load_resident(model: str | None, on_progress: Callable[[str], None]) -> Engine:
    """The engine all windows share, started if need be; one in this process where that cannot be.

    Raises:
        EngineError: the model cannot be loaded.
    """
    from engine.resident import open_resident

    try:
        return open_resident(model, on_progress, name="infill lsp")
    except EngineUnavailable as error:
        logger.warning(
            "the model is loaded into this process, since the shared engine cannot be used: %s", error
        )
        return load_in_process(model, on_progress)


def loader_of(engine: str) -> Loader:
    """How the model is come by: `resident`, `in-process`, or the URL of an OpenAI-compatible server.

    Raises:
        ValueError: it is none of these.
    """
    if engine == RESIDENT:
        return load_resident
    if engine == IN_PROCESS:
        return load_in_process
    if engine.startswith(("http://", "https://")):
        from engine.remote import open_remote

        return lambda model, _on_progress: open_remote(engine, model)
    raise ValueError(f"{engine!r} is neither {RESIDENT}, {IN_PROCESS} nor a URL")


class Loading:
    """The model, on its way or here: `engine` is set once it can be used, `failure` if it never will.

    `begun` tells whether it is on its way at all.
    """

    def __init__(self) -> None:
        self.engine: Engine | None = None
        self.failure: str | None = None
        self.begun = False
        self._settled = asyncio.Event()

    @property
    def reason(self) -> str:
        """Why there is no engine."""
        return self.failure or "the model is loading"

    async def wait(self, timeout_s: float) -> Engine | None:
        """The engine, waiting for it if need be; None if it failed or takes longer."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._settled.wait()
        except TimeoutError:
            pass
        return self.engine

    async def load(self, server: InfillServer, loader: Loader, model: str | None) -> None:
        """Load the model; never raises, a failure is shown to the user."""
        self.begun = True
        began = time.perf_counter()
        progress = Progress(server, "Infill: loading the model")
        server.status.loading(self.reason)
        loop = asyncio.get_running_loop()

        def report(message: str) -> None:
            loop.call_soon_threadsafe(progress.report, message)

        try:
            self.engine = await server.worker.call(lambda: loader(model, report))
        except EngineError as error:
            self.failure = f"the model cannot be loaded: {error}"
        except Exception as error:
            logger.exception("loading the model failed")
            self.failure = f"the model cannot be loaded: {type(error).__name__}: {error}"
        finally:
            self._settled.set()
            progress.end(self.failure or "ready")
        if server.loading is not self:
            return  # the engine was restarted meanwhile
        if self.engine is None:
            server.status.failed(self.reason)
            server.tell_once(self.reason, types.MessageType.Error)
        else:
            info, seconds = self.engine.info(), time.perf_counter() - began
            server.status.loaded(info.model, automatic=server.settings.automatic)
            if server.settings.diagnostics:
                server.refresh_diagnostics()  # whoever asked before was told that there are none
            server.log(f"loaded {info.model} ({info.device}, {info.dtype}) in {seconds:.1f} s")
