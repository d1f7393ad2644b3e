"""`textDocument/inlineCompletion`: one suggestion for the cursor, or an empty list and a reason in the log.

The answer is always a list, never null, which some editors take for "keep what is shown". Whatever fails
in here fails as an empty list too.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from lsprotocol import types

from engine.errors import EngineError
from engine.request import DenoiseRequest, Engine, EngineInfo, Step
from infill.document import Document
from infill.pipeline import fill
from infill.request import FillRequest, Rejected, Suggestion
from lsp.convert import Selected, inline_item, offset_of
from lsp.documents import OpenDocument

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
    version: int
    revision: int
    document: Document
    offset: int
    selected: Selected | None
    invoked: bool


@dataclass(kw_only=True)
class _Work:
    """What the log says of a request; filled in as it goes."""

    prompt_chars: int = 0
    steps: int = 0
    queued_ms: float = 0.0


class Empty(Exception):
    """There is nothing to suggest; the text says why. It does not leave this module."""


async def answer(server: InfillServer, params: types.InlineCompletionParams) -> types.InlineCompletionList:
    """Answer one request; every request leaves one line in the log.

    Raises:
        CancelledError: the client no longer wants an answer.
    """
    began, work, outcome = time.perf_counter(), _Work(), "cancelled by the client"
    name, version = _name(params.text_document.uri), None
    items: list[types.InlineCompletionItem] = []
    try:
        asked = snapshot(server, params)
        version = asked.version
        engine = await _engine(server, asked)
        suggestion = await _fill(server, engine, asked, work)
        items = [_convert(server, asked, suggestion)]
        outcome = f"suggested {len(suggestion.text)} characters, {suggestion.confidence:.0%} sure"
    except Empty as reason:
        outcome = f"nothing: {reason}"
    except EngineError as error:
        outcome = f"nothing: {error}"
        server.tell_once(str(error), types.MessageType.Error)
    except Exception as error:
        outcome = f"nothing: {type(error).__name__}"
        logger.exception("a suggestion could not be made")
        server.tell_once(f"internal error ({type(error).__name__}); the log has the details")
    finally:
        server.log(
            f"inline completion {server.protocol.msg_id}: {name} version {version}, "
            f"prompt {work.prompt_chars} characters, {work.steps} steps, "
            f"{_ms_since(began):.0f} ms ({work.queued_ms:.0f} queued): {outcome}"
        )
    return types.InlineCompletionList(items=items)


def snapshot(server: InfillServer, params: types.InlineCompletionParams) -> Asked:
    """Everything the request depends on, before anything is awaited.

    Raises:
        Empty: there is no such document, or the selected entry of the popup is not at the cursor.
    """
    opened = server.documents.get(params.text_document.uri)
    if opened is None:
        raise Empty("the document is not open")
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
            raise Empty("the selected entry is not at the cursor")
        document = document.filled(selected.start, selected.end, selected.text)
        offset = selected.start + len(selected.text)
    return Asked(
        opened=opened,
        version=opened.version,
        revision=opened.revision,
        document=document,
        offset=offset,
        selected=selected,
        invoked=params.context.trigger_kind is types.InlineCompletionTriggerKind.Invoked,
    )


async def _engine(server: InfillServer, asked: Asked) -> Engine:
    engine = await server.loading.wait(_INVOKED_LOAD_WAIT_S if asked.invoked else 0.0)
    if engine is None:
        raise Empty(server.loading.reason)
    _check_current(server, asked)
    return engine


async def _fill(server: InfillServer, engine: Engine, asked: Asked, work: _Work) -> Suggestion:
    settings = server.settings
    request = FillRequest(
        text=asked.document.text,
        language=asked.document.language,
        offset=asked.offset,
        path=_name(asked.opened.uri),
        seed=settings.seed,
        max_steps=settings.max_steps,
        deadline_ms=settings.deadline_ms * (_INVOKED_PATIENCE if asked.invoked else 1),
    )
    queued = time.perf_counter()

    def task(cancelled: threading.Event) -> Suggestion | Rejected:
        work.queued_ms = _ms_since(queued)
        return fill(_Watched(engine, work), asked.document, request, cancelled=cancelled)

    result = await server.worker.run(asked.opened.uri, task)
    _check_current(server, asked)
    if result is None:
        raise Empty("a newer request replaced this one")
    if isinstance(result, Rejected):
        raise Empty(result.message)
    return result


def _check_current(server: InfillServer, asked: Asked) -> None:
    if not server.documents.is_current(asked.opened, asked.revision):
        raise Empty("the text changed meanwhile")


def _convert(server: InfillServer, asked: Asked, suggestion: Suggestion) -> types.InlineCompletionItem:
    item = inline_item(suggestion, asked.opened.lines, server.documents.encoding, asked.selected)
    if item is None:
        raise Empty("it would replace more than one line")
    return item


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
        for step in self._engine.denoise(request, cancelled):
            self._work.steps = step.number
            yield step


def _name(uri: str) -> str:
    """The file's name, without its folders."""
    return PurePosixPath(unquote(urlsplit(uri).path)).name


def _ms_since(began: float) -> float:
    return (time.perf_counter() - began) * 1000
