"""Quick fixes: for the diagnostics an editor passes in, whoever made them, and for our own doubts.

A doubt brings its swap along, so its action has an edit and a title that says it from the start. For another
tool's diagnostic the model is asked once the action is chosen.
"""

from __future__ import annotations

import threading

from lsprotocol import types

from infill.fixes.diagnostic import fix_diagnostic, target, title
from infill.fixes.edit import Edit, Ranked
from lsp.actions import Place, disabled, tag_generated
from lsp.checker import Checker, CheckerError, agreed
from lsp.convert import Replacement, offset_of, range_of, workspace_edit
from lsp.documents import OpenDocument
from lsp.session import InfillServer
from lsp.suggest import name_of
from lsp.workspace import path_of

SOURCE = "infill"
"""The source of our own diagnostics."""

_MOST = 3  # diagnostics of one range that get an action
_RANKS = 2  # candidates offered for each: the best, and the next best
_CHECKED = 6  # candidates a checker is asked about, each a run of it
_NAME_CHARS = 40


class QuickFixes:
    """Offers `quickfix` for diagnostics; see `lsp.actions.Provider`."""

    name = "quick-fixes"
    kinds = (types.CodeActionKind.QuickFix.value,)

    def offer(
        self, server: InfillServer, document: OpenDocument, params: types.CodeActionParams
    ) -> list[types.CodeAction]:
        """The actions for the diagnostics of a range; those of our doubts are whole already."""
        actions = []
        for diagnostic in params.context.diagnostics[:_MOST]:
            swap = swap_of(document, server, diagnostic)
            if swap is not None:
                actions.append(self._swap(server, document, diagnostic, swap))
            else:
                for rank in range(_RANKS):
                    actions.append(self._lazy(server, document, diagnostic, rank))
        return actions

    async def resolve(
        self, server: InfillServer, action: types.CodeAction, place: Place, cancelled: threading.Event
    ) -> types.CodeAction:
        """The action with its edit and a title that says it, or why there is none."""
        opened = server.documents.get(place.uri)
        engine = server.loading.engine
        if opened is None or engine is None:
            return disabled(action, "the model is not ready yet" if opened else "the document is not open")
        more = place.more or {}
        message, rank = str(more.get("message", "")), more.get("rank", 0)
        document, revision = opened.document.snapshot(), opened.revision
        settings = server.settings_for(opened.uri)

        checker, file = server.options.checker, _file_of(place.uri)

        def task(stop: threading.Event) -> list[Ranked]:
            either = _Either(stop, cancelled)
            ranked = fix_diagnostic(
                engine,
                document,
                place.start,
                place.end,
                message,
                cancelled=either,
                deadline_ms=settings.deadline_ms,
                most=_RANKS + 1 if checker is None else _CHECKED,
                seed=settings.seed,
            )
            if checker is None:
                return ranked
            return _agreed(checker, document.text, file, place.start, message, ranked, either)

        try:
            found = await server.worker.run(f"quick-fix {place.uri}", task, behind=True)
        except CheckerError as error:
            return disabled(action, str(error))
        if found is None or not server.documents.is_current(opened, revision):
            return disabled(action, "the text changed meanwhile")
        if not isinstance(rank, int) or not 0 <= rank < len(found):
            return disabled(action, "the model has no fix for this" if rank == 0 else "there is no other fix")
        edit = found[rank].edit
        action.title = title(document, edit)
        action.edit = _workspace_edit(server, opened, edit)
        return action

    def _swap(
        self, server: InfillServer, document: OpenDocument, diagnostic: types.Diagnostic, swap: Edit
    ) -> types.CodeAction:
        action = types.CodeAction(
            title=title(document.document, swap),
            kind=types.CodeActionKind.QuickFix,
            diagnostics=[diagnostic],
            edit=_workspace_edit(server, document, swap),
        )
        return tag_generated(action, server)

    def _lazy(
        self, server: InfillServer, document: OpenDocument, diagnostic: types.Diagnostic, rank: int
    ) -> types.CodeAction:
        encoding = server.documents.encoding
        start = offset_of(document.lines, diagnostic.range.start, encoding)
        end = max(start, offset_of(document.lines, diagnostic.range.end, encoding))
        node = target(document.document, start, end)
        what = " ".join(document.document.text[node.start : node.end].split())
        shown = what if len(what) <= _NAME_CHARS else what[: _NAME_CHARS - 1] + "…"
        place = Place(
            provider=self.name,
            uri=document.uri,
            version=document.version,
            start=start,
            end=end,
            more={"message": str(diagnostic.message), "rank": rank},
        )
        action = types.CodeAction(
            title=f"Fix `{shown}` with Infill" + (" (another way)" if rank else ""),
            kind=types.CodeActionKind.QuickFix,
            diagnostics=[diagnostic],
            data=place.data(),
        )
        return tag_generated(action, server)


def _agreed(
    checker: Checker,
    text: str,
    file: str,
    start: int,
    message: str,
    ranked: list[Ranked],
    cancelled: threading.Event,
) -> list[Ranked]:
    """The fixes with which the checker has nothing new to say, and no longer what the diagnostic says.

    Where the diagnostic is none of the checker's, it is enough that it has nothing new to say.
    """
    standing = checker.complaints(text, file, cancelled)
    line = text.count("\n", 0, start) + 1
    same = (c for c in standing if c.line == line and (c.message in message or message in c.message))
    texts = (candidate.edit.applied(text) for candidate in ranked)
    target = next(same, None)
    settled = agreed(checker, standing, texts, file, target, wanted=_RANKS, cancelled=cancelled)
    return [ranked[index] for index, _ in settled]


def _file_of(uri: str) -> str:
    """The file a document is, for a checker to name; a name where it is none."""
    path = path_of(uri)
    return str(path) if path is not None else name_of(uri)


class _Either(threading.Event):
    """Set as soon as one of two events is."""

    def __init__(self, one: threading.Event, other: threading.Event) -> None:
        super().__init__()
        self._events = (one, other)

    def is_set(self) -> bool:
        return any(event.is_set() for event in self._events)


def swap_of(document: OpenDocument, server: InfillServer, diagnostic: types.Diagnostic) -> Edit | None:
    """The swap one of our own diagnostics carries, provided that it still fits the text; else None."""
    data = diagnostic.data
    if diagnostic.source != SOURCE or not isinstance(data, dict):
        return None
    now, text = data.get("now"), data.get("text")
    start = offset_of(document.lines, diagnostic.range.start, server.documents.encoding)
    end = offset_of(document.lines, diagnostic.range.end, server.documents.encoding)
    if not isinstance(now, str) or not isinstance(text, str) or document.document.text[start:end] != now:
        return None
    return Edit(start=start, end=end, text=text)


def _workspace_edit(server: InfillServer, opened: OpenDocument, edit: Edit) -> types.WorkspaceEdit:
    workspace = server.client_capabilities.workspace
    supported = workspace.workspace_edit if workspace is not None else None
    versioned = bool(supported is not None and supported.document_changes)
    change = Replacement(start=edit.start, end=edit.end, text=edit.text)
    return workspace_edit(opened, [change], server.documents.encoding, versioned=versioned)


def diagnostic_of(
    opened: OpenDocument, server: InfillServer, edit: Edit, now: str, kind: str, confidence: float
) -> types.Diagnostic:
    """A doubt as a hint, its swap in its `data`."""
    return types.Diagnostic(
        range=range_of(opened.lines, edit.start, edit.end, server.documents.encoding),
        message=f"{title(opened.document, edit)}? ({confidence:.0%} sure)",
        severity=types.DiagnosticSeverity.Hint,
        source=SOURCE,
        code=kind,
        data={"now": now, "text": edit.text},
    )
