"""Work-done progress: what the server is at, in the words and the place the editor has for it."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

from lsprotocol import types

if TYPE_CHECKING:
    from lsp.session import InfillServer


class Progress:
    """One piece of work, shown where the client knows how to; its consent is not waited for.

    With `token` the client has asked to be told under that name; without one a name is made up, where the
    client takes any.
    """

    def __init__(self, server: InfillServer, title: str, token: types.ProgressToken | None = None) -> None:
        self._server = server
        self._title = title
        self._token = token if token is not None else str(uuid.uuid4())
        self._begun = False
        self._last: str | None = None
        self._ended: str | None = None
        window = server.client_capabilities.window
        if token is not None:
            self._begin()
        elif window is not None and window.work_done_progress:
            server.background(self._create())

    async def _create(self) -> None:
        params = types.WorkDoneProgressCreateParams(token=self._token)
        await self._server.window_work_done_progress_create_async(params)
        self._begin()

    def _begin(self) -> None:
        self._begun = True
        self._send(types.WorkDoneProgressBegin(title=self._title, message=self._last))
        if self._ended is not None:
            self._send(types.WorkDoneProgressEnd(message=self._ended))

    def report(self, message: str) -> None:
        """Say what is being done."""
        self._last = message
        if self._begun and self._ended is None:
            self._send(types.WorkDoneProgressReport(message=message))

    def end(self, message: str) -> None:
        """Say how it ended."""
        self._ended = message
        if self._begun:
            self._send(types.WorkDoneProgressEnd(message=message))

    def _send(
        self, value: types.WorkDoneProgressBegin | types.WorkDoneProgressReport | types.WorkDoneProgressEnd
    ) -> None:
        self._server.protocol.notify(types.PROGRESS, types.ProgressParams(token=self._token, value=value))
