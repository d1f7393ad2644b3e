"""What state the server is in and why the last request of each document ended as it did.

It counts, and it tells the client in `infill/status` notifications; what the numbers are for is not its
business. All methods are for the event loop's thread.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from lsp.snapshot import OVERTAKEN, Empty

NOTIFICATION = "infill/status"


@dataclass(kw_only=True)
class Counts:
    """What became of requests and suggestions since the server started."""

    requests: int = 0
    offered: int = 0
    reused: int = 0
    renoised: int = 0
    prefetched: int = 0
    shown: int = 0
    accepted: int = 0
    partially_accepted: int = 0
    rejected: int = 0
    accepted_chars: int = 0
    nothing: Counter[str] = field(default_factory=Counter)
    """How often each reason was given, by the part of it before any detail."""


class Status:
    """The state the client is told of; `notify` sends the parameters of a notification."""

    def __init__(self, notify: Callable[[dict[str, Any]], None]) -> None:
        self.counts = Counts()
        self.state = "loading"
        self.message = "the model has yet to be loaded"
        self._notify = notify
        self._busy = 0
        self._model: str | None = None
        self._last: dict[str, Empty | None] = {}

    def loading(self, message: str) -> None:
        """The model is on its way."""
        self._enter("loading", message)

    def loaded(self, model: str, *, automatic: bool) -> None:
        """The model is there; it is `off` where it is only asked for with a key."""
        self._model = model
        if automatic:
            self._enter("ready", f"ready ({model})")
        else:
            self._enter("off", f"automatic suggestions are off ({model})")

    def failed(self, message: str) -> None:
        """There is no model, and there will be none."""
        self._model = None
        self._enter("error", message)

    def begin(self) -> None:
        """The engine is at work; `end` follows."""
        self._busy += 1
        if self._busy == 1 and self.state != "error":
            self._send("busy", "denoising")

    def end(self) -> None:
        """It is done with one thing."""
        self._busy -= 1

    def settle(self) -> None:
        """Nothing that a request waits for is being done: say so, if nothing else is either."""
        if self._busy == 0:
            self._send(self.state, self.message)

    def conclude(self, uri: str, nothing: Empty | None) -> None:
        """A request for a document has ended, with a suggestion or with `nothing` and its reason."""
        self._last[uri] = nothing
        self.counts.requests += 1
        if nothing is not None:
            self.counts.nothing[nothing.reason.partition(" (")[0]] += 1
        reason = nothing.reason if nothing is not None and nothing not in OVERTAKEN else None
        self._send(self.state if self._busy == 0 else "busy", self.message, reason)

    def explain(self, uri: str) -> dict[str, str]:
        """Why the last request for a document gave nothing, and what was turned down."""
        if uri not in self._last:
            return {"reason": "nothing was asked for in this document yet", "text": ""}
        last = self._last[uri]
        if last is None:
            return {"reason": "the last request was answered with a suggestion", "text": ""}
        return {"reason": last.reason, "text": last.text}

    def forget(self, uri: str) -> None:
        """A document was closed."""
        self._last.pop(uri, None)

    def _enter(self, state: str, message: str) -> None:
        self.state, self.message = state, message
        self._send(state, message)

    def _send(self, state: str, message: str, reason: str | None = None) -> None:
        params: dict[str, Any] = {"state": state, "message": message, "busy": self._busy > 0}
        if reason is not None:
            params["reason"] = reason
        if self._model is not None:
            params["model"] = self._model
        self._notify(params)
