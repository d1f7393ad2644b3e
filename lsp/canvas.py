"""`infill/canvas`: the canvas after every denoising step, for clients that asked to watch.

It is called on the engine's thread and sends from the event loop, where the text is looked at.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from engine.request import Step
from infill.lines import with_line_feeds
from infill.pipeline import Progress
from lsp.convert import range_of
from lsp.documents import OpenDocument

if TYPE_CHECKING:
    from lsp.server import InfillServer
    from lsp.snapshot import Asked

NOTIFICATION = "infill/canvas"


class CanvasView:
    """Shows what happens to one document's text, as long as that text stays as it is."""

    def __init__(self, server: InfillServer, opened: OpenDocument, revision: int) -> None:
        self._server, self._opened, self._revision = server, opened, revision
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
        server.protocol.notify(
            NOTIFICATION,
            {
                "uri": self._opened.uri,
                "version": self._opened.version,
                "range": range_of(self._opened.lines, start, end, server.documents.encoding),
                "text": with_line_feeds(canvas.text),
                "confidences": [
                    round(t.confidence, 4) for t in canvas.tokens for _ in with_line_feeds(t.text)
                ],
                "step": step.number,
                "done": step.stop is not None,
            },
        )
