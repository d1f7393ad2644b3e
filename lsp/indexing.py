"""Keeps the workspace's index up to date on a thread of its own, and has code gathered for requests from it.

Only where the model has a use for code from elsewhere, and never in restricted mode: otherwise nothing is
read. While a request is being served the thread waits.
"""

from __future__ import annotations

import asyncio
import logging
import os
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from engine.request import EngineInfo, Snippet
from infill.code.document import Document
from infill.ignore import IGNORE_FILES
from infill.workspace.gather import Place, gather
from infill.workspace.index import Index, Scanned
from infill.workspace.nearby import nearby
from infill.workspace.similar import OtherText
from lsp.documents import OpenDocument
from lsp.workspace import path_of

if TYPE_CHECKING:
    from lsp.session import InfillServer

T = TypeVar("T")

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Elsewhere:
    """Code of the workspace for a request: see `infill.request.FillRequest`."""

    snippets: tuple[Snippet, ...] = ()
    nearby: tuple[str, ...] = ()


Gatherer = Callable[[EngineInfo], Elsewhere]
"""Takes what the engine wants; for the model's thread, since it may have to read."""

_MOST_OTHERS = 8  # texts lately looked at that are compared with the one at the cursor
_MOST_CHANGES = 500  # files that change at once, beyond which all of them are looked through
_RESCAN_S = 60.0  # how old the index may become where the client does not watch files for us
_NEARBY_S = 5.0  # how old the texts of other files may become
_BUSY_LOOK_S = 0.02
_BREATH_S = 0.0005  # between two files, for other threads
_FOREVER_S = 1e9


class Indexing:
    """The index of one session; all methods are for the event loop's thread."""

    def __init__(self, server: InfillServer) -> None:
        self.index = Index()
        self.watched = False
        """Whether the client tells us of changed files."""
        self._server = server
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="index")
        self._active = False
        self._closing = threading.Event()
        self._scanning = False
        self._again = False
        self._scanned_at = 0.0
        self.pending: list[asyncio.Future[Any]] = []
        """What the thread has yet to do, in order."""
        self._recent: dict[str, None] = {}  # URIs, the latest last
        self._taken: dict[str, tuple[OpenDocument, int, OtherText]] = {}  # as of a revision
        self._nearby: tuple[str, float, tuple[str, ...]] | None = None  # of a document, at a time

    async def begin(self) -> None:
        """Begin to index once the model is there, if it has a use for it."""
        engine = await self._server.loading.wait(_FOREVER_S)
        info = engine.info() if engine is not None else None
        wanted = info is not None and (info.snippet_chars > 0 or info.nearby_chars > 0)
        self._active = wanted and not self._server.folders.options.restricted and not self._closing.is_set()
        self.rescan()

    def rescan(self) -> None:
        """Look through the folders as they are now."""
        if not self._active:
            return
        self._nearby = None
        self.index.set_folders([folder.rules for folder in self._server.folders])
        self._again = self._scanning  # one that has begun may have passed what is new
        if not self._scanning:
            self._scanning = True
            self._submit(self._scan, self._scanned)

    def changed(self, paths: Iterable[Path]) -> None:
        """The client says that these files were made, changed or deleted."""
        real = [Path(os.path.realpath(path)) for path in paths] if self._active else []
        self._nearby = None
        if len(real) > _MOST_CHANGES or any(path.name in IGNORE_FILES for path in real):
            self.rescan()
        elif real:
            self._submit(lambda: self._update(real))

    def touched(self, uri: str) -> None:
        """The user is looking at a document."""
        if uri != next(reversed(self._recent), None):
            self._nearby = None
        self._recent.pop(uri, None)
        self._recent[uri] = None

    def closed(self, uri: str) -> None:
        """A document was closed: its file counts again."""
        self._recent.pop(uri, None)
        self._nearby = None
        path = path_of(uri)
        if self._taken.pop(uri, None) is not None and path is not None and self._active:
            real = Path(os.path.realpath(path))
            self._submit(lambda: self.index.release(real))

    def gatherer(self, uri: str, document: Document, offset: int) -> Gatherer:
        """What gathers the code for a cursor, from the open texts as they are now."""
        path = path_of(uri)
        if not self._active or path is None:
            return lambda _info: Elsewhere()
        if not self.watched and time.monotonic() - self._scanned_at > _RESCAN_S:
            self.rescan()
        latest = [u for u in reversed(self._recent) if u != uri][:_MOST_OTHERS]
        others = [opened for u in latest if (opened := self._server.documents.get(u)) is not None]
        texts = [(opened, opened.revision, opened.document.text) for opened in others]
        return lambda info: self._gather(path, document, offset, texts, info)

    def close(self) -> None:
        """Stop; what is being read is read to its end."""
        self._closing.set()
        self._active = False
        self._executor.shutdown(wait=False, cancel_futures=True)

    def _gather(
        self,
        path: Path,
        document: Document,
        offset: int,
        texts: list[tuple[OpenDocument, int, str]],
        info: EngineInfo,
    ) -> Elsewhere:
        folder = self._server.folders.of(path)
        if folder is None:
            return Elsewhere()
        others = [other for text in texts if (other := self._other(*text)) is not None]
        inside = Path(os.path.realpath(path)).relative_to(folder.root).as_posix()
        place = Place(document=document, offset=offset, root=folder.root, path=inside)
        try:
            return Elsewhere(
                snippets=self._snippets(place, others, info.snippet_chars),
                nearby=self._texts_near(place, others, info.nearby_chars),
            )
        except Exception:
            logger.exception("no code could be gathered")  # a suggestion does without
            return Elsewhere()

    def _snippets(self, place: Place, others: list[OtherText], budget_chars: int) -> tuple[Snippet, ...]:
        return gather(self.index, place, others, budget_chars=budget_chars) if budget_chars > 0 else ()

    def _texts_near(self, place: Place, others: list[OtherText], budget_chars: int) -> tuple[str, ...]:
        """The texts of other files, which need not be those of this very moment."""
        if budget_chars <= 0:
            return ()
        of, now = f"{place.root}/{place.path}", time.monotonic()
        if self._nearby is None or self._nearby[0] != of or now - self._nearby[1] > _NEARBY_S:
            self._nearby = of, now, nearby(self.index, place, others, budget_chars=budget_chars)
        return self._nearby[2]

    def _other(self, opened: OpenDocument, revision: int, text: str) -> OtherText | None:
        """An open text, which the index takes over too; None if it is to be left alone."""
        path, folders = path_of(opened.uri), self._server.folders
        folder = folders.of(path) if path is not None else None
        if path is None or folder is None:
            return None
        if folders.why_not(opened.uri, opened.document.language):
            if self._taken.pop(opened.uri, None) is not None:  # it may have become ignored
                self.index.forget(Path(os.path.realpath(path)))
            return None
        known = self._taken.get(opened.uri)
        if known is not None and known[0] is opened and known[1] == revision:
            return known[2]
        real = Path(os.path.realpath(path))
        other = OtherText(real.relative_to(folder.root).as_posix(), opened.document.language, text)
        self.index.put(real, text)
        self._taken[opened.uri] = (opened, revision, other)
        return other

    def _pause(self) -> bool:
        """Wait while a request is being served; whether to stop."""
        while self._server.worker.busy and not self._closing.wait(_BUSY_LOOK_S):
            pass
        time.sleep(_BREATH_S)
        return self._closing.is_set()

    def _update(self, paths: list[Path]) -> None:
        for path in paths:
            self.index.update(path)

    def _scan(self) -> Scanned:
        try:
            return self.index.scan(self._pause)
        finally:
            self._scanning, self._scanned_at = False, time.monotonic()

    def _scanned(self, result: Scanned) -> None:
        more = "" if result.complete else "; there are more, which is more than is indexed"
        self._server.log(f"indexed {result.files} files ({result.read} read) in {result.seconds:.1f} s{more}")
        if self._again:
            self.rescan()

    def _submit(self, work: Callable[[], T], then: Callable[[T], None] | None = None) -> None:
        if self._closing.is_set():
            return
        future = asyncio.wrap_future(self._executor.submit(work))
        self.pending.append(future)
        future.add_done_callback(self.pending.remove)

        async def finish() -> None:
            result = await future
            if then is not None and not self._closing.is_set():
                then(result)

        self._server.background(finish())
