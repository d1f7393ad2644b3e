"""`textDocument/inlineCompletion`: one suggestion for the cursor, or an empty list and a reason in the log.

The answer is always a list, never null, which some editors take for "keep what is shown". Whatever fails
in here fails as an empty list too.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from lsprotocol import types

from engine.errors import EngineError
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
from infill.document import Document
from infill.pipeline import fill
from infill.request import FillRequest, Rejected, Suggestion
from lsp.convert import Selected, inline_item, offset_of
from lsp.documents import OpenDocument
from lsp.notebooks import in_notebook

if TYPE_CHECKING:
    from lsp.server import InfillServer

logger = logging.getLogger(__name__)

_INVOKED_PATIENCE = 4
"""How many times the deadline somebody waits who asked with a key."""
_INVOKED_LOAD_WAIT_S = 10.0
"""How long they wait for a model that is still loading; an automatic request does not."""


def register(server: InfillServer) -> None:
    """Connect the method to a server."""

    @server.feature(types.TEXT_DOCUMENT_INLINE_COMPLETION, types.InlineCompletionOptions())
    async def inline_completion(params: types.InlineCompletionParams) -> types.InlineCompletionList:
        return await answer(server, params)


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A request and the text it is about, as they were when it came; later edits do not reach them."""

    opened: OpenDocument
    revision: int
    document: Document
    offset: int
    selected: Selected | None
    invoked: bool
    base: int = 0  # where the text of a notebook's cell begins in `document`, to which `offset` refers


@dataclass(kw_only=True)
class _Work:
    """What the log says of a request; filled in as it goes."""

    version: int | None = None
    prompt_chars: int = 0
    snippets: int = 0
    steps: int = 0
    queued_ms: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Empty:
    """There is nothing to suggest, and why."""

    reason: str


_STALE = Empty(reason="the text changed meanwhile")


async def answer(server: InfillServer, params: types.InlineCompletionParams) -> types.InlineCompletionList:
    """Answer one request; every request leaves one line in the log.

    Raises:
        CancelledError: the client no longer wants an answer.
    """
    began, work = time.perf_counter(), _Work()
    outcome: types.InlineCompletionItem | Empty = Empty(reason="cancelled by the client")
    try:
        outcome = await _suggest(server, params, work)
    except EngineError as error:
        outcome = Empty(reason=str(error))
        server.tell_once(str(error), types.MessageType.Error)
    except Exception as error:
        logger.exception("a suggestion could not be made")
        outcome = Empty(reason=f"internal error ({type(error).__name__})")
        server.tell_once(f"internal error ({type(error).__name__}); the log has the details")
    finally:
        server.log(
            f"inline completion {server.protocol.msg_id}: {_name(params.text_document.uri)} "
            f"version {work.version}, prompt {work.prompt_chars} characters{_and_snippets(work)}, "
            f"{work.steps} steps, "
            f"{_ms_since(began):.0f} ms ({work.queued_ms:.0f} queued): "
            + (f"nothing: {outcome.reason}" if isinstance(outcome, Empty) else "1 item")
        )
    return types.InlineCompletionList(items=[] if isinstance(outcome, Empty) else [outcome])


async def _suggest(
    server: InfillServer, params: types.InlineCompletionParams, work: _Work
) -> types.InlineCompletionItem | Empty:
    """The path of a request: take a snapshot, wait for the model, fill, convert."""
    if (why := server.why_not(params.text_document.uri)) is not None:
        return Empty(reason=why)
    asked = snapshot(server, params)
    if isinstance(asked, Empty):
        return asked
    work.version = asked.opened.version
    engine = await server.loading.wait(_INVOKED_LOAD_WAIT_S if asked.invoked else 0.0)
    if engine is None:
        return Empty(reason=server.loading.reason)
    if not _is_current(server, asked):
        return _STALE
    result = await _fill(server, engine, asked, work)
    if not _is_current(server, asked):
        return _STALE
    if result is None:
        return Empty(reason="a newer request replaced this one")
    if isinstance(result, Rejected):
        return Empty(reason=result.message)
    if result.start < asked.base:
        return Empty(reason="it would change the cell above")
    result = replace(result, start=result.start - asked.base, end=result.end - asked.base)
    item = inline_item(result, asked.opened.lines, server.documents.encoding, asked.selected)
    return item or Empty(reason="it would replace more than one line")


def snapshot(server: InfillServer, params: types.InlineCompletionParams) -> Asked | Empty:
    """Everything the request depends on, before anything is awaited."""
    opened = server.documents.get(params.text_document.uri)
    if opened is None:
        return Empty(reason="the document is not open")
    encoding = server.documents.encoding
    offset = offset_of(opened.lines, params.position, encoding)
    document, selected = opened.document.snapshot(), None
    if (info := params.context.selected_completion_info) is not None:
        selected = Selected(
            start=offset_of(opened.lines, info.range.start, encoding),
            end=offset_of(opened.lines, info.range.end, encoding),
            text=info.text,
        )
        if not selected.start <= offset <= selected.end:
            return Empty(reason="the entry selected in the popup is not at the cursor")
        document = document.filled(selected.start, selected.end, selected.text)
        offset = selected.start + len(selected.text)
    around = server.notebooks.around(opened.uri, document.language, server.documents)
    base = len(around[0])
    return Asked(
        opened=opened,
        revision=opened.revision,
        document=in_notebook(document, around),
        offset=base + offset,
        base=base,
        selected=selected,
        invoked=params.context.trigger_kind is types.InlineCompletionTriggerKind.Invoked,
    )


async def _fill(
    server: InfillServer, engine: Engine, asked: Asked, work: _Work
) -> Suggestion | Rejected | None:
    where = server.notebooks.of(asked.opened.uri) or asked.opened.uri
    settings = server.folders.settings(where, server.settings)
    deadline_ms = settings.deadline_ms * (_INVOKED_PATIENCE if asked.invoked else 1)
    request = FillRequest(
        text=asked.document.text,
        language=asked.document.language,
        offset=asked.offset,
        path=_name(asked.opened.uri),
        seed=settings.seed,
        # Somebody who asks with a key wants to see whatever there is.
        min_confidence=0.0 if asked.invoked else settings.min_confidence,
        max_steps=settings.max_steps,
    )
    queued = time.perf_counter()
    gather = server.indexing.gatherer(where, asked.document, asked.offset)

    def task(cancelled: threading.Event) -> Suggestion | Rejected:
        work.queued_ms = _ms_since(queued)
        snippets = gather(engine.info().snippet_chars)
        # Whoever waits does not care whether it is for us or for another document's request.
        timely = replace(request, snippets=snippets, deadline_ms=max(1.0, deadline_ms - _ms_since(queued)))
        return fill(_Watched(engine, work), asked.document, timely, cancelled=cancelled)

    return await server.worker.run(asked.opened.uri, task)


def _is_current(server: InfillServer, asked: Asked) -> bool:
    return server.documents.is_current(asked.opened, asked.revision)


class _Watched:
    """An engine that notes how large the prompt was and how far denoising came."""

    def __init__(self, engine: Engine, work: _Work) -> None:
        self._engine = engine
        self._work = work

    def info(self) -> EngineInfo:
        return self._engine.info()

    def denoise(self, request: DenoiseRequest, cancelled: threading.Event) -> Iterator[Step]:
        prompt = request.prompt
        self._work.prompt_chars = len(prompt.prefix) + len(prompt.suffix) + len(prompt.typed)
        self._work.snippets = len(prompt.snippets)
        for step in self._engine.denoise(request, cancelled):
            self._work.steps = step.number
            logger.debug("step %d after %.0f ms, %s", step.number, step.elapsed_ms, step.stop or "goes on")
            yield step

    def score(self, request: ScoreRequest, cancelled: threading.Event) -> tuple[Scored, ...]:
        return self._engine.score(request, cancelled)

    def read(self, request: ReadRequest, cancelled: threading.Event) -> tuple[Reading, ...]:
        return self._engine.read(request, cancelled)


def _and_snippets(work: _Work) -> str:
    return f" and {work.snippets} snippets" if work.snippets else ""


def _name(uri: str) -> str:
    """The file's name, without its folders."""
    return PurePosixPath(unquote(urlsplit(uri).path)).name


def _ms_since(began: float) -> float:
    return (time.perf_counter() - began) * 1000
