"""`textDocument/diagnostic`: the doubtful places of a text, as hints; off unless the setting says otherwise.

Editors pull at their own pace; what was found for a text is kept until it changes. The lines around the last
edit are read first, and reading ends when the time is over.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from lsprotocol import types

from infill.code.document import Document
from infill.fixes.suspicious import Doubt, find_doubts
from lsp.documents import OpenDocument
from lsp.quick_fixes import diagnostic_of
from lsp.session import InfillServer

if TYPE_CHECKING:
    from engine.request import Engine

_BUDGET_S = 4.0
_STRIDE_CHARS = 2000


@dataclass(frozen=True, kw_only=True)
class _Known:
    """What a `model` found in a text at a revision; `text` is that text."""

    model: str
    revision: int
    text: str
    items: list[types.Diagnostic]


_known: WeakKeyDictionary[OpenDocument, _Known] = WeakKeyDictionary()


def register(server: InfillServer) -> None:
    """Connect the method to a server."""
    options = types.DiagnosticOptions(
        identifier="infill", inter_file_dependencies=False, workspace_diagnostics=False
    )

    @server.feature(types.TEXT_DOCUMENT_DIAGNOSTIC, options)
    async def diagnostic(params: types.DocumentDiagnosticParams) -> types.DocumentDiagnosticReport:
        opened = server.documents.get(params.text_document.uri)
        engine = server.loading.engine
        left_alone = server.why_not(params.text_document.uri) is not None
        if opened is None or engine is None or left_alone or not server.settings.diagnostics:
            return types.RelatedFullDocumentDiagnosticReport(items=[])
        known, now = _known.get(opened), (engine.info().model, opened.revision)
        if known is None or (known.model, known.revision) != now:
            known = await _read(server, engine, opened, known) or known
        items = known.items if known is not None and known.revision == opened.revision else []
        return types.RelatedFullDocumentDiagnosticReport(items=items)


async def _read(
    server: InfillServer, engine: Engine, opened: OpenDocument, before: _Known | None
) -> _Known | None:
    """Read the text again; None where something newer came in between."""
    document, revision, model = opened.document.snapshot(), opened.revision, engine.info().model
    first = _changed_at(before.text, document.text) if before is not None else 0

    def task(cancelled: threading.Event) -> list[Doubt]:
        return read_within(engine, document, first, cancelled, _BUDGET_S)

    doubts = await server.worker.run(f"diagnostics {opened.uri}", task, behind=True)
    if doubts is None or opened.revision != revision:
        return None
    items = [diagnostic_of(opened, server, d.edit, d.now, d.kind, d.confidence) for d in doubts]
    _known[opened] = _Known(model=model, revision=revision, text=document.text, items=items)
    return _known[opened]


def read_within(
    engine: Engine, document: Document, first: int, cancelled: threading.Event, budget_s: float
) -> list[Doubt]:
    """The doubts of a text, from those around `first` outwards, until the time is over."""
    ends = time.monotonic() + budget_s
    length = len(document.text)
    starts = range(0, length, _STRIDE_CHARS)
    found: list[Doubt] = []
    for start in sorted(starts, key=lambda at: abs(at + _STRIDE_CHARS // 2 - first)):
        if cancelled.is_set() or time.monotonic() > ends:
            break
        end = min(length, start + _STRIDE_CHARS)
        inside = find_doubts(engine, document, start, end, cancelled=cancelled)
        # Whole lines are read: those that reach into a neighbouring stride belong to it.
        found += [d for d in inside if start <= d.edit.start < end and d not in found]
    return sorted(found, key=lambda doubt: doubt.edit.start)


def _changed_at(old: str, new: str) -> int:
    """Where two texts begin to differ."""
    shorter = min(len(old), len(new))
    return next((at for at in range(shorter) if old[at] != new[at]), shorter)
