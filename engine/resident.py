"""The client of the resident engine: has the shape of `engine.request.Engine`, and no model in it.

Starts the engine where there is none, and again, with growing pauses, where it has died; a request that was
under way then is lost, the next is served. Importing this imports neither torch nor a server.
"""

from __future__ import annotations

import json
import logging
import os
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from engine.audience import Fate
from engine.errors import EngineError, EngineUnavailable
from engine.request import (
    DenoiseRequest,
    EngineInfo,
    Reading,
    ReadRequest,
    Scored,
    ScoreRequest,
    Step,
)
from engine.service.exchange import Exchange, Overdue, error_of
from engine.service.lifecycle import COMMAND, Backoff, last_words, running, start
from engine.service.place import Address, Place, find_place
from engine.service.wire import decode, from_json, to_json

logger = logging.getLogger(__name__)

_JOIN_S = 2.0
_LOOK_S = 0.25
_SILENCE_S = 15.0
"""An engine that says nothing for so long, though it was asked to every two seconds, is not well."""
_GRACE_S = 2.0
"""How much later than its deadline an answer may come before it is given up: the engine tells on time that
it cannot keep one, unless it has no processor to do so with."""

_HEALTHY_S = 5.0
"""An engine that lives for so long has started well."""
_PATIENCE = 3
"""Starts that may fail before whoever waits for the first is told."""

Report = Callable[[str], None]


def open_resident(
    model: str | None,
    on_progress: Report | None = None,
    *,
    name: str = "infill",
    place: Place | None = None,
    arguments: Sequence[str] = (),
    command: Sequence[str] = COMMAND,
    timeout_s: float = 120.0,
) -> ResidentEngine:
    """The resident engine with `model` loaded (None: the one the user has chosen), started if need be.

    Raises:
        EngineUnavailable: it cannot be started or reached.
        EngineError: the model cannot be loaded.
    """
    engine = ResidentEngine(model, name, place or find_place(), [*command, *arguments])
    try:
        engine.attach(on_progress or (lambda _line: None), timeout_s)
    except BaseException:
        engine.close()
        raise
    return engine


class ResidentEngine:
    """One client of the resident engine; see `engine.request.Engine`. Any thread may use it."""

    def __init__(self, model: str | None, name: str, place: Place, command: Sequence[str]) -> None:
        self._model, self._name, self._place, self._command = model, name, place, list(command)
        self._client = uuid.uuid4().hex
        self._backoff = Backoff()
        self._info: EngineInfo | None = None
        self._failure: EngineError | None = None
        self._attached = False
        self._settled = threading.Event()
        self._closed = threading.Event()
        self._wanted = threading.Event()
        self._report: Report = lambda _line: None
        self._thread: threading.Thread | None = None
        self._fates: Counter[str] = Counter()
        self._fates_lock = threading.Lock()

    def attach(self, on_progress: Report, timeout_s: float) -> None:
        """Be known to the engine from now on, and wait until it has the model.

        Raises:
            EngineError: see `open_resident`.
        """
        self._report = on_progress
        self._thread = threading.Thread(target=self._stay_attached, name="attached", daemon=True)
        self._thread.start()
        if not self._settled.wait(timeout_s):
            raise EngineUnavailable(f"the engine was not ready within {timeout_s:.0f} s")
        if self._info is None:
            raise self._failure or EngineUnavailable("the engine has no model")

    def close(self) -> None:
        """Leave; the engine stays for others."""
        self._closed.set()
        if self._thread is not None:
            self._thread.join(_JOIN_S)

    def info(self) -> EngineInfo:
        """What model the engine has; see `engine.request.Engine.info`."""
        assert self._info is not None, "attach first"
        return self._info

    def denoise(self, request: DenoiseRequest, cancelled: threading.Event) -> Iterator[Step]:
        """Denoise one hole; see `engine.request.Engine.denoise`.

        An engine that cannot keep up leaves out steps, never the last. Nothing is yielded where the deadline
        passed before it got to it (also to say so), or a newer request of the same key took its place.

        Raises:
            EngineUnavailable: the engine has gone, and is being started again.
            EngineError: the request cannot be served.
        """
        limit = None if request.deadline_ms is None else request.deadline_ms / 1000 + _GRACE_S
        with self._ask("/v1/fill", request, limit) as exchange:
            try:
                for kind, data in exchange.events(cancelled):
                    if kind == "step":
                        yield decode(Step, data)
                    elif kind == "error":
                        raise error_of(data)
                    elif kind == "end":
                        _if_stopped(json.loads(data))
                        self._backoff.succeeded()
                        return
            except Overdue:
                if not self._attached:  # else it lives, and others or other programs keep it busy
                    raise

    def score(self, request: ScoreRequest, cancelled: threading.Event) -> tuple[Scored, ...]:
        """See `engine.request.Engine.score`."""
        return self._call("/v1/score", request, cancelled, Scored)

    def read(self, request: ReadRequest, cancelled: threading.Event) -> tuple[Reading, ...]:
        """See `engine.request.Engine.read`."""
        return self._call("/v1/read", request, cancelled, Reading)

    def tell(self, fate: Fate) -> None:
        """See `engine.audience.Audience`; the engine learns of it with the next request."""
        with self._fates_lock:
            self._fates[fate.value] += 1

    def _call(self, path: str, request: object, cancelled: threading.Event, kind: Any) -> tuple[Any, ...]:
        with self._ask(path, request, None) as exchange:
            body = exchange.body(cancelled)
        if body is None:
            return ()
        _if_stopped(body)
        return tuple(from_json(kind, item) for item in body["result"])

    def _ask(self, path: str, request: object, limit_s: float | None) -> Exchange:
        if (address := running(self._place)) is None:
            self._wanted.set()
            raise self._failure or EngineUnavailable("the engine is being started again")
        with self._fates_lock:
            fates, self._fates = self._fates, Counter()
        body = {
            "request": to_json(request),
            "client": self._client,
            "model": self._model,
            "fates": fates,
            "asked_at": time.monotonic(),
        }
        try:
            return Exchange(address, path, body, limit_s)
        except EngineUnavailable:
            with self._fates_lock:
                self._fates += fates
            raise

    def _stay_attached(self) -> None:
        while not self._closed.is_set():
            began = time.monotonic()
            try:
                if self._attach_once():
                    # Somebody stopped it, or it was not needed: it is started when it is.
                    self._failure = _stopped()
                    self._wanted.clear()
                    while not (self._closed.is_set() or running(self._place)):
                        if self._wanted.wait(_LOOK_S):
                            break
                    continue
                reason = f"the engine has gone: {last_words(self._place)}"
            except EngineUnavailable as error:
                reason = str(error)
            except EngineError as error:
                # The model is at fault, and will be the next time.
                self._failure = error
                self._settled.set()
                return
            if self._closed.is_set():
                return
            self._lost(reason, time.monotonic() - began)
            self._closed.wait(self._backoff.wait_s)

    def _lost(self, reason: str, lived_s: float) -> None:
        if (lived_s < self._backoff.most_s and self._info is None) or self._backoff.failures or lived_s < 1:
            self._backoff.failed(reason)
            self._failure = EngineUnavailable(reason)
        if self._backoff.failures >= _PATIENCE:
            self._settled.set()
        logger.warning("%s; starting it again in %.1f s", reason, self._backoff.wait_s)

    def _attach_once(self) -> bool:
        """Start the engine if need be, and stay attached until that ends; True if the engine said so."""
        address = running(self._place) or start(self._place, 30.0, command=self._command)
        body = {"client": self._client, "name": self._name, "pid": os.getpid(), "model": self._model}
        with Exchange(address, "/v1/attach", body, None, silence_s=_SILENCE_S) as exchange:
            try:
                for kind, data in exchange.events(self._closed):
                    self._attached = True
                    if kind == "progress":
                        self._report(str(json.loads(data)["message"]))
                    elif kind == "error":
                        raise error_of(data)
                    elif kind == "info":
                        self._info, self._failure = decode(EngineInfo, data), None
                        self._settled.set()
                    elif kind == "bye":
                        return True
            finally:
                self._attached = False
        return False


def _if_stopped(end: dict[str, Any]) -> None:
    """Raises EngineUnavailable where an answer ended, as its `end` says, because the engine does."""
    if end.get("dropped") == "closed":
        raise _stopped()


def _stopped() -> EngineUnavailable:
    return EngineUnavailable("the engine was stopped; it is being started again")


def ask_status(address: Address, timeout_s: float = 5.0) -> dict[str, Any]:
    """What the engine says of itself; see `engine.service.app.Endpoints.describe`.

    Raises:
        EngineUnavailable: it does not answer.
    """
    with Exchange(address, "/v1/status", None, timeout_s, method="GET") as exchange:
        state: dict[str, Any] = exchange.body(threading.Event())
    return state
