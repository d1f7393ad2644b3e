"""The path of a suggestion: restraint, memory, a moment's wait, the model.

Every way to ask for one (ghost text, the popup, prefetching) comes through here with its text already
snapped; what the client gets to see is made elsewhere.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from engine.request import (
    DenoiseRequest,
    Engine,
    EngineInfo,
    Priority,
    Reading,
    ReadRequest,
    Scored,
    ScoreRequest,
    Step,
    Stop,
)
from infill.request import FillRequest, Rejected, Suggestion
from infill.variants import fill_variants
from lsp.canvas import CanvasView
from lsp.restraint import hold_back
from lsp.settings import Settings
from lsp.snapshot import STALE, SUPERSEDED, Asked, Empty

if TYPE_CHECKING:
    from lsp.session import InfillServer

logger = logging.getLogger(__name__)

_INVOKED_PATIENCE = 4
"""How many times the deadline somebody waits who asked with a key."""
_INVOKED_LOAD_WAIT_S = 10.0
"""How long they wait for a model that is still loading; an automatic request does not."""


@dataclass(kw_only=True)
class Work:
    """What the log says of a request; filled in as it goes."""

    version: int | None = None
    prompt_chars: int = 0
    snippets: int = 0
    steps: int = 0
    queued_ms: float = 0.0
    reused: bool = False


async def suggest(
    server: InfillServer, asked: Asked, work: Work, *, deadline_ms: float | None = None
) -> tuple[Suggestion, ...] | Empty:
    """Suggestions for what is asked, best first; one unless somebody asked with a key.

    Raises:
        EngineError: the engine cannot serve it.
        CancelledError: nobody wants it any more.
    """
    opened = asked.opened
    server.worker.supersede(opened.uri)
    if (held := hold_back(server.settings, asked)) is not None:
        return held
    if found := _recall(server, asked, work):
        return found
    engine = await server.loading.wait(_INVOKED_LOAD_WAIT_S if asked.invoked else 0.0)
    if engine is None:
        return Empty(reason=server.loading.reason)
    opened.requests += 1
    number = opened.requests
    await _pause(server, asked)
    await server.prefetch.join(asked)
    if not asked.is_current(server):
        return STALE
    if number != opened.requests:
        return SUPERSEDED
    if found := _recall(server, asked, work):
        return found
    return await _ask(server, engine, asked, work, deadline_ms)


async def generate(
    server: InfillServer,
    engine: Engine,
    asked: Asked,
    *,
    key: str,
    deadline_ms: float,
    work: Work,
    watched: bool = True,
) -> tuple[Suggestion, ...] | Rejected | None:
    """What the model says, remembered for later; None if another task took `key`.

    The client may watch, unless the text is one that it does not have.
    """
    opened, text = asked.opened, asked.document.text
    where = server.notebooks.of(opened.uri) or opened.uri
    request = _request(server.settings_for(opened.uri), asked)
    gather = server.indexing.gatherer(where, asked.document, asked.offset)
    wanted = server.settings.alternatives if asked.invoked else 1
    rest = opened.memory.rest_against(text, asked.offset)
    view = CanvasView.of(server, asked) if watched else None
    queued = time.perf_counter()
    priority = Priority.INVOKED if asked.invoked else Priority.AUTOMATIC if watched else Priority.PREFETCH

    def task(cancelled: threading.Event) -> tuple[Suggestion, ...] | Rejected:
        work.queued_ms = ms_since(queued)
        # Whoever waits does not care whether it is for us or for another document's request.
        elsewhere = gather(engine.info())
        left_ms = max(1.0, deadline_ms - ms_since(queued))
        timely = replace(request, snippets=elsewhere.snippets, nearby=elsewhere.nearby, deadline_ms=left_ms)
        return fill_variants(
            Watched(engine, work, priority, asked),
            asked.document,
            timely,
            wanted=wanted,
            rest=rest,
            cancelled=cancelled,
            on_step=view,
        )

    server.status.begin()
    try:
        result = await server.worker.run(key, task)
    finally:
        server.status.end()
    if isinstance(result, tuple):
        server.status.counts.renoised += rest is not None
        opened.memory.remember(text, result)
    if result is not None:
        server.pace.answered(ms_since(queued) - work.queued_ms)
    return result


def name_of(uri: str) -> str:
    """The file's name, without its folders."""
    return PurePosixPath(unquote(urlsplit(uri).path)).name


def ms_since(began: float) -> float:
    """Milliseconds since a moment of `time.perf_counter`."""
    return (time.perf_counter() - began) * 1000


async def _ask(
    server: InfillServer, engine: Engine, asked: Asked, work: Work, deadline_ms: float | None
) -> tuple[Suggestion, ...] | Empty:
    patience = _INVOKED_PATIENCE if asked.invoked else 1
    settings = server.settings_for(asked.opened.uri)
    result = await generate(
        server,
        engine,
        asked,
        key=asked.opened.uri,
        deadline_ms=deadline_ms or settings.deadline_ms * patience,
        work=work,
    )
    if not asked.is_current(server):
        return STALE
    if result is None:
        return SUPERSEDED
    if isinstance(result, Rejected):
        return Empty(reason=result.message, text=result.text)
    if not asked.invoked and asked.opened.memory.is_rejected(result[0].text):
        return Empty(reason="it was dismissed a moment ago", text=result[0].text)
    return _short(server, asked, result)


def _recall(server: InfillServer, asked: Asked, work: Work) -> tuple[Suggestion, ...]:
    """What the memory has; for somebody who asked with a key, only if it is more than they have seen."""
    found = asked.opened.memory.recall(asked.document.text, asked.offset)
    if asked.invoked and len(found) < 2:
        return ()
    if found:
        work.reused = True
        server.status.counts.reused += 1
    return _short(server, asked, found)


def _short(server: InfillServer, asked: Asked, found: tuple[Suggestion, ...]) -> tuple[Suggestion, ...]:
    """One for an automatic request, of no more lines than the user wants; all for an invoked one."""
    most = server.settings.max_lines
    if asked.invoked:
        return found
    if most is None:
        return found[:1]
    return tuple(replace(s, text=_lines(s.text, most)) for s in found[:1])


def _lines(text: str, most: int) -> str:
    return "\n".join(text.split("\n")[:most]).rstrip("\r")


async def _pause(server: InfillServer, asked: Asked) -> None:
    """Wait whether more is typed, where that saves work."""
    if asked.invoked:
        return
    wait_ms = server.pace.wait_ms(asked.opened.uri, server.settings)
    if wait_ms > 0:
        await asyncio.sleep(wait_ms / 1000)


def _request(settings: Settings, asked: Asked) -> FillRequest:
    return FillRequest(
        text=asked.document.text,
        language=asked.document.language,
        offset=asked.offset,
        path=name_of(asked.opened.uri),
        seed=settings.seed,
        # Somebody who asks with a key wants to see whatever there is.
        min_confidence=0.0 if asked.invoked else settings.min_confidence,
        max_steps=settings.max_steps,
        inside_word=asked.invoked,
        lenient=asked.invoked,
    )


class Watched:
    """An engine that notes how large the prompt was and how far denoising came."""

    def __init__(self, engine: Engine, work: Work, priority: Priority, asked: Asked) -> None:
        self._engine = engine
        self._work = work
        self._priority = priority
        # A number, not the URI: nothing of where the code lies goes further than this package.
        self._key = f"{hash(asked.opened.uri):x}"

    def info(self) -> EngineInfo:
        """What model this is."""
        return self._engine.info()

    def denoise(self, request: DenoiseRequest, cancelled: threading.Event) -> Iterator[Step]:
        """The engine's steps, counted."""
        prompt = request.prompt
        self._work.prompt_chars = len(prompt.prefix) + len(prompt.suffix) + len(prompt.typed)
        self._work.snippets = len(prompt.snippets)
        request = replace(request, priority=self._priority, key=self._key)
        for step in self._engine.denoise(request, cancelled):
            if step.stop is not Stop.CANCELLED:  # that one was not made
                self._work.steps = step.number
            logger.debug("step %d after %.0f ms, %s", step.number, step.elapsed_ms, step.stop or "goes on")
            yield step

    def score(self, request: ScoreRequest, cancelled: threading.Event) -> tuple[Scored, ...]:
        """The engine's scores."""
        return self._engine.score(request, cancelled)

    def read(self, request: ReadRequest, cancelled: threading.Event) -> tuple[Reading, ...]:
        """The engine's readings."""
        return self._engine.read(request, cancelled)
