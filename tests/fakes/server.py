"""`python -m tests.fakes.server`: the real server over stdio, with an engine that needs no model.

The engine suggests "1", or the JSON list that follows `--middles`, one after the other; where the text
before the hole has `WAIT` in it, it goes on denoising until it is cancelled. `test/engine` tells what it
was asked and how it ended. `--snippets` wants code from elsewhere, `--tcp` listens instead, `--no-model`
cannot load one, `--slow-load` never finishes, `--resident` uses the fake service's engine, and `--print`
writes to standard output while loading.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from typing import Any

from engine.errors import ModelNotFound
from engine.request import (
    DenoiseRequest,
    Engine,
    EngineInfo,
    Reading,
    ReadRequest,
    Scored,
    ScoreRequest,
    Step,
)
from lsp import server as lsp_server
from lsp.server import serve_stdio, serve_tcp
from lsp.session import InfillServer, ServerOptions
from tests.fakes.engine import ScriptedEngine


def middles() -> list[str]:
    """What the options have the engine suggest."""
    if "--middles" not in sys.argv:
        return ["1"]
    found: list[str] = json.loads(sys.argv[sys.argv.index("--middles") + 1])
    return found


class WaitingEngine:
    """Two scripted engines: one that answers, and one whose gate stays shut."""

    def __init__(self) -> None:
        self.answering = ScriptedEngine(middles(), snippet_chars=2000 if "--snippets" in sys.argv else 0)
        self.waiting = ScriptedEngine(["1"], steps=1000, gate=threading.Event())

    def info(self) -> EngineInfo:
        """The scripted model's particulars."""
        return self.answering.info()

    def denoise(self, request: DenoiseRequest, cancelled: threading.Event) -> Iterator[Step]:
        """Answer, or wait to be cancelled."""
        engine = self.waiting if "WAIT" in request.prompt.prefix + request.prompt.typed else self.answering
        return engine.denoise(request, cancelled)

    def score(self, request: ScoreRequest, cancelled: threading.Event) -> tuple[Scored, ...]:
        """The answering engine's scores."""
        return self.answering.score(request, cancelled)

    def read(self, request: ReadRequest, cancelled: threading.Event) -> tuple[Reading, ...]:
        """The answering engine's readings."""
        return self.answering.read(request, cancelled)


ENGINE = WaitingEngine()


def load(model: str | None, on_progress: Callable[[str], None]) -> Engine:
    """What the options say loading is like."""
    if "--print" in sys.argv:
        print("a library says hello")
        os.write(1, b"and so does a compiled one\n")
    if "--no-model" in sys.argv:
        raise ModelNotFound("there is no model here")
    if "--slow-load" in sys.argv:
        time.sleep(3600)
    on_progress("half of it is there")
    if "--resident" in sys.argv:
        from engine.resident import open_resident

        return open_resident(model, on_progress, command=(sys.executable, "-m", "tests.fakes.service"))
    return ENGINE


class ObservedServer(InfillServer):
    """The server, with a window for tests."""

    def __init__(self, *args: object, **others: object) -> None:
        super().__init__(*args, **others)  # type: ignore[arg-type]

        @self.feature("test/engine")
        def engine(params: Any) -> dict[str, object]:
            return {
                "prompts": [asdict(request.prompt) for request in ENGINE.answering.requests],
                "requests": [asdict(request) for request in ENGINE.answering.requests],
                "waiting": len(ENGINE.waiting.requests),
                "started": ENGINE.waiting.started.is_set(),
                "stops": [stop.value for stop in ENGINE.waiting.stops],
            }


if __name__ == "__main__":
    lsp_server.InfillServer = ObservedServer  # type: ignore[misc]
    options = ServerOptions(log_level=logging.INFO)
    sys.exit(serve_tcp(options, "127.0.0.1", 0, load) if "--tcp" in sys.argv else serve_stdio(options, load))
