"""Works out what will be asked for next, once a suggestion was accepted.

That is the place behind it, and the next line. What comes of it goes into the document's memory, from which
the request is answered if it comes; one that comes while it is being worked on waits for it.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from infill.code.document import Document
from infill.reuse import after_enter
from lsp.documents import OpenDocument
from lsp.snapshot import Asked
from lsp.suggest import Work, generate

if TYPE_CHECKING:
    from lsp.session import InfillServer


@dataclass(frozen=True, kw_only=True)
class _Target:
    """A text and a cursor that may be asked about; `done` is set when the model has said something."""

    text: str
    offset: int
    done: asyncio.Event = field(default_factory=asyncio.Event)


class Prefetch:
    """What is being prefetched, one thing per document."""

    def __init__(self, server: InfillServer) -> None:
        self._server = server
        self._targets: dict[str, _Target] = {}

    def start(self, opened: OpenDocument, document: Document, offset: int) -> None:
        """Begin with `document`, which is the opened one with a suggestion accepted before `offset`."""
        if self._server.settings.prefetch:
            self._server.background(self._run(opened, document, offset))

    async def join(self, asked: Asked) -> None:
        """Wait if this very thing is being prefetched; what else is makes room for it."""
        uri = asked.opened.uri
        for other in [one for one in self._targets if one != uri]:
            self.stop(other)  # there is one engine, and somebody waits
        target = self._targets.get(uri)
        if target is None:
            return
        if target.text == asked.document.text and target.offset == asked.offset and not asked.invoked:
            await target.done.wait()
        else:
            self.stop(uri)

    def stop(self, uri: str) -> None:
        """Give up what is being prefetched for a document."""
        self._server.worker.supersede(_key(uri))

    async def _run(self, opened: OpenDocument, document: Document, offset: int) -> None:
        engine = self._server.loading.engine
        if engine is None:
            return
        next_line = after_enter(document, offset)
        for text, at in ((document, offset), *((next_line,) if next_line is not None else ())):
            target = self._targets[opened.uri] = _Target(text=text.text, offset=at)
            asked = Asked(
                opened=opened,
                revision=opened.revision,
                version=opened.version,
                document=text,
                offset=at,
            )
            try:
                result = await generate(
                    self._server,
                    engine,
                    asked,
                    key=_key(opened.uri),
                    deadline_ms=self._server.settings_for(opened.uri).deadline_ms,
                    work=Work(),
                    watched=False,
                )
            finally:
                target.done.set()
                if self._targets.get(opened.uri) is target:
                    del self._targets[opened.uri]
                self._server.status.settle()
            if result is None:
                return
            self._server.status.counts.prefetched += isinstance(result, tuple)


def _key(uri: str) -> str:
    return f"prefetch {uri}"
