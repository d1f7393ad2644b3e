"""Holes on demand: markers, cursors and selections of an open document, and the edit that fills them.

Whatever asked for it (a command, a request, a code action) gets one edit that is tied to the version it was
made for, or the reason why there is none.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from lsprotocol import types

from engine.request import Engine
from infill.code.document import Document
from infill.marked.joint import Holes, Wish, fill_holes
from infill.marked.markers import Marker
from infill.pipeline import fill
from infill.request import FillRequest, Rejected, Suggestion
from lsp.canvas import CanvasView
from lsp.convert import Replacement, workspace_edit
from lsp.documents import OpenDocument
from lsp.progress import Progress
from lsp.session import InfillServer
from lsp.snapshot import CANCELLED, STALE, SUPERSEDED, Empty

_PATIENCE = 4
"""How many times the deadline each hole may take: somebody has asked for it."""
_LOAD_WAIT_S = 10.0

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Edit:
    """An edit of one document; `reason` says what it leaves out, if anything."""

    edit: types.WorkspaceEdit
    filled: int
    reason: str | None = None


async def fill_markers(
    server: InfillServer,
    opened: OpenDocument,
    markers: Sequence[Marker],
    token: types.ProgressToken | None = None,
) -> Edit | Empty:
    """Fill markers of a document as it is now, together where they fit.

    Raises:
        EngineError: the engine cannot serve it.
        CancelledError: nobody wants it any more.
    """
    if not markers:
        return _conclude(server, opened, Empty(reason="there is nothing to fill here"))
    settings = server.settings_for(opened.uri)
    wish = Wish(
        seed=settings.seed,
        max_steps=settings.max_steps,
        deadline_ms=settings.deadline_ms * _PATIENCE * len(markers),
    )
    view = _view(server, opened, markers)
    progress = Progress(server, "Infill: filling holes", token) if len(markers) > 1 or token else None
    loop = asyncio.get_running_loop()

    def on_hole(done: int) -> None:
        if progress is not None:
            loop.call_soon_threadsafe(progress.report, f"{done} of {len(markers)}")

    def task(engine: Engine, document: Document, cancelled: threading.Event) -> Holes:
        on_step = view.show if view is not None else None
        return fill_holes(
            engine, document, markers, wish, cancelled=cancelled, on_step=on_step, on_hole=on_hole
        )

    found: Edit | Empty = CANCELLED
    try:
        outcome = await _run(server, opened, task)
        found = outcome if isinstance(outcome, Empty) else _edit_of(server, opened, outcome)
    finally:
        if progress is not None:
            progress.end(found.reason if isinstance(found, Empty) else f"{found.filled} filled")
        _conclude(server, opened, found)
    return found


async def fill_at(
    server: InfillServer, opened: OpenDocument, offset: int, token: types.ProgressToken | None = None
) -> Edit | Empty:
    """Fill the marker at a cursor, or else what is missing there.

    Raises:
        EngineError: the engine cannot serve it.
        CancelledError: nobody wants it any more.
    """
    markers = opened.markers(offset, offset)
    if markers:
        return await fill_markers(server, opened, markers[:1], token)
    return await rewrite(server, opened, offset, offset)


async def rewrite(server: InfillServer, opened: OpenDocument, start: int, end: int) -> Edit | Empty:
    """Write the code points `start` to `end` of a document anew; only add something where they are equal.

    Raises:
        EngineError: the engine cannot serve it.
        CancelledError: nobody wants it any more.
    """
    settings = server.settings_for(opened.uri)
    request = FillRequest(
        text=opened.document.text,
        language=opened.document.language,
        offset=start,
        end=end if end > start else None,
        seed=settings.seed,
        max_steps=settings.max_steps,
        deadline_ms=settings.deadline_ms * _PATIENCE,
    )
    view = _view(server, opened)

    def task(engine: Engine, document: Document, cancelled: threading.Event) -> Suggestion | Rejected:
        return fill(engine, document, request, cancelled=cancelled, on_step=view)

    found: Edit | Empty = CANCELLED
    try:
        outcome = await _run(server, opened, task)
        if isinstance(outcome, Rejected):
            found = Empty(reason=outcome.message, text=outcome.text)
        elif isinstance(outcome, Empty):
            found = outcome
        else:
            new = Replacement(start=outcome.start, end=outcome.end, text=outcome.text)
            found = _edit(server, opened, [new])
    finally:
        _conclude(server, opened, found)
    return found


async def apply(server: InfillServer, label: str, found: Edit | Empty) -> dict[str, object]:
    """Have the client make an edit, and say what became of it.

    An edit for a text that has moved on is refused by the client, which knows the version.
    """
    if isinstance(found, Empty):
        return {"applied": False, "filled": 0, "reason": found.reason}
    params = types.ApplyWorkspaceEditParams(edit=found.edit, label=label)
    result = await server.workspace_apply_edit_async(params)
    reason = found.reason if result.applied else result.failure_reason or "the editor refused the edit"
    return {"applied": result.applied, "filled": found.filled if result.applied else 0, "reason": reason}


async def _run(
    server: InfillServer,
    opened: OpenDocument,
    task: Callable[[Engine, Document, threading.Event], T],
) -> T | Empty:
    """Run a task on the document as it is now; nothing comes of it once the text has changed."""
    if (why := server.why_not(opened.uri)) is not None:
        return Empty(reason=why)
    revision, document = opened.revision, opened.document.snapshot()
    engine = await server.loading.wait(_LOAD_WAIT_S)
    if engine is None:
        return Empty(reason=server.loading.reason)
    if not server.documents.is_current(opened, revision):
        return STALE
    server.prefetch.stop(opened.uri)
    server.status.begin()
    try:
        result = await server.worker.run(
            f"holes {opened.uri}", lambda cancelled: task(engine, document, cancelled)
        )
    finally:
        server.status.end()
    if not server.documents.is_current(opened, revision):
        return STALE
    return SUPERSEDED if result is None else result


def _edit_of(server: InfillServer, opened: OpenDocument, holes: Holes) -> Edit | Empty:
    """The edit for what was filled; the first reason why the rest was not."""
    reasons = [rejected for _, rejected in holes.rejected]
    if not holes.filled:
        return Empty(reason=reasons[0].message, text=reasons[0].text)
    reason = f"{len(reasons)} left: {reasons[0].message}" if reasons else None
    new = [Replacement(start=one.start, end=one.end, text=one.text) for one in holes.filled]
    return _edit(server, opened, new, reason)


def _edit(
    server: InfillServer, opened: OpenDocument, new: list[Replacement], reason: str | None = None
) -> Edit:
    workspace = server.client_capabilities.workspace
    support = workspace.workspace_edit if workspace is not None else None
    versioned = support is not None and bool(support.document_changes)
    edit = workspace_edit(opened, new, server.documents.encoding, versioned=versioned)
    return Edit(edit=edit, filled=len(new), reason=reason)


def _view(server: InfillServer, opened: OpenDocument, markers: Sequence[Marker] = ()) -> CanvasView | None:
    return CanvasView(server, opened, opened.revision, markers) if server.settings.canvas else None


def _conclude(server: InfillServer, opened: OpenDocument, found: Edit | Empty) -> Edit | Empty:
    """Say how it ended."""
    nothing = found if isinstance(found, Empty) else None
    server.status.conclude(opened.uri, nothing)
    server.log(f"filling holes: nothing: {found.reason}" if nothing else "filling holes: 1 edit")
    return found
