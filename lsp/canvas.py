"""`infill/canvas`: the canvas after every denoising step, for clients that asked to watch.

It is called on the engine's thread and sends from the event loop, where the text is looked at.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING

from engine.request import Canvas, Step
from infill.code.lines import with_line_feeds
from infill.marked.markers import Marker
from infill.pipeline import Progress
from lsp.convert import range_of
from lsp.documents import OpenDocument

if TYPE_CHECKING:
    from lsp.session import InfillServer
    from lsp.snapshot import Asked

NOTIFICATION = "infill/canvas"


class CanvasView:
    """Shows what happens to one document's text, as long as that text stays as it is.

    `holes` are the markers being filled, where several may share a canvas.
    """

    def __init__(
        self, server: InfillServer, opened: OpenDocument, revision: int, holes: Sequence[Marker] = ()
    ) -> None:
        self._server, self._opened, self._revision, self._holes = server, opened, revision, holes
        self._loop = asyncio.get_running_loop()

    @classmethod
    def of(cls, server: InfillServer, asked: Asked) -> CanvasView | None:
        """A view for a request; None where nobody watches, or what is denoised is not the real text."""
        if not server.settings.canvas or asked.selected is not None or asked.base:
            return None
        return cls(server, asked.opened, asked.revision)

    def __call__(self, progress: Progress) -> None:
        """Show a step of one hole."""
        self.show(progress.step, progress.start, progress.hole.end)

    def show(self, step: Step, start: int, end: int) -> None:
        """Show the best canvas of a step in place of the code points `start` to `end`."""
        self._loop.call_soon_threadsafe(self._send, step, start, end)

    def _send(self, step: Step, start: int, end: int) -> None:
        server = self._server
        if not step.canvases or not server.documents.is_current(self._opened, self._revision):
            return
        canvas = step.canvases[0]
        confidences = [round(t.confidence, 4) for t in canvas.tokens for _ in with_line_feeds(t.text)]
        message = {
            "uri": self._opened.uri,
            "version": self._opened.version,
            **self._part(start, end, with_line_feeds(canvas.text), confidences),
            "step": step.number,
            "done": step.stop is not None,
        }
        if len(parts := self._parts(canvas, confidences, start, end)) > 1:
            message["parts"] = parts
        server.protocol.notify(NOTIFICATION, message)

    def _parts(
        self, canvas: Canvas, confidences: Sequence[float], start: int, end: int
    ) -> list[dict[str, object]]:
        """What a shared canvas puts into each of its holes; nothing where it has but one.

        Drawn in one piece, the code between the holes would be there twice.
        """
        holes = [hole for hole in self._holes if start <= hole.start and hole.end <= end]
        if len(canvas.segments) != 2 * len(holes) - 1:
            return []
        parts, at = [], 0
        for index, segment in enumerate(map(with_line_feeds, canvas.segments)):
            if index % 2 == 0:  # the ones between are pinned
                hole = holes[index // 2]
                parts.append(
                    self._part(hole.start, hole.end, segment, [*confidences[at : at + len(segment)]])
                )
            at += len(segment)
        return parts

    def _part(self, start: int, end: int, text: str, confidences: list[float]) -> dict[str, object]:
        encoding = self._server.documents.encoding
        found = range_of(self._opened.lines, start, end, encoding)
        return {"range": found, "text": text, "confidences": confidences}
