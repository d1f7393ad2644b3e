"""One HTTP request to the engine in another process, over a socket, which can be given up at any time.

Knows nothing of what is asked. Importing this imports no HTTP client but the parser.
"""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import h11

from engine import errors
from engine.errors import EngineError, EngineUnavailable
from engine.service.place import Address

_POLL_S = 0.02
"""How long a client that waits goes without looking whether it still should."""
_CONNECT_S = 2.0


class Overdue(EngineUnavailable):
    """No answer within the time that there was for it."""


class Exchange:
    """One request to the engine and its answer, over a connection of its own.

    It can be given up at any time, which closes the connection, by which the engine knows.
    """

    def __init__(
        self,
        address: Address,
        path: str,
        body: object,
        limit_s: float | None,
        silence_s: float | None = None,
        method: str = "POST",
    ) -> None:
        self._until = None if limit_s is None else time.monotonic() + limit_s
        self._silence_s = silence_s
        self._http = h11.Connection(h11.CLIENT)
        self._socket = connect(address)
        data = json.dumps(body, ensure_ascii=True).encode("ascii")
        headers = [
            ("Host", "localhost:0"),
            ("Authorization", f"Bearer {address.token}"),
            ("Content-Type", "application/json"),
            ("Content-Length", str(len(data))),
            ("Connection", "close"),
        ]
        message = self._http.send(h11.Request(method=method, target=path, headers=headers)) or b""
        message += self._http.send(h11.Data(data=data)) or b""
        self._http.send(h11.EndOfMessage())
        try:
            self._socket.sendall(message)
            self._socket.settimeout(_POLL_S)
        except OSError as error:
            self._socket.close()
            raise EngineUnavailable(f"the engine has gone: {error}") from error

    def __enter__(self) -> Exchange:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def body(self, cancelled: threading.Event) -> Any:
        """The JSON of an answer that is no stream; None if cancelled.

        Raises:
            EngineError: the engine has gone, does not answer, or answers with an error.
        """
        chunks = list(self._data(cancelled))
        return None if cancelled.is_set() else json.loads(b"".join(chunks))

    def events(self, cancelled: threading.Event) -> Iterator[tuple[str, bytes]]:
        """The name and the data, JSON, of each server-sent event, until the stream ends or nobody wants more.

        Raises:
            EngineError: see `body`.
        """
        rest = b""
        for chunk in self._data(cancelled):
            *blocks, rest = (rest + chunk).split(b"\n\n")
            for block in blocks:
                kind, data = "", b""
                for line in block.split(b"\n"):
                    field, _, value = line.partition(b": ")
                    if field == b"event":
                        kind = value.decode()
                    elif field == b"data":
                        data += value
                if data:
                    yield kind, data

    def _data(self, cancelled: threading.Event) -> Iterator[bytes]:
        """The body as it arrives."""
        status, refused = 0, b""
        while not cancelled.is_set():
            try:
                event = self._http.next_event()
            except h11.RemoteProtocolError as error:
                raise EngineUnavailable("the engine has gone in the middle of an answer") from error
            if event is h11.NEED_DATA:
                self._receive(cancelled)
            elif isinstance(event, h11.Response):
                status = event.status_code
            elif isinstance(event, h11.Data):
                if status == 200:
                    yield bytes(event.data)
                else:
                    refused += bytes(event.data)
            elif isinstance(event, h11.EndOfMessage | h11.ConnectionClosed):
                if status != 200:
                    raise _refusal(status, refused)
                return

    def _receive(self, cancelled: threading.Event) -> None:
        """Wait for bytes, looking now and then whether anybody still wants them."""
        silent_since = time.monotonic()
        while not cancelled.is_set():
            try:  # with the socket's own timeout: `select` takes no descriptor above 1023
                self._http.receive_data(self._socket.recv(65536))
                return
            except TimeoutError:
                pass
            except OSError as error:
                raise EngineUnavailable(f"the engine has gone: {error}") from error
            now = time.monotonic()
            late = self._until is not None and now > self._until
            if late or (self._silence_s is not None and now - silent_since > self._silence_s):
                raise Overdue("the engine does not answer")


def connect(address: Address) -> socket.socket:
    """A connection to the engine.

    Raises:
        EngineUnavailable: nobody listens there.
    """
    if address.socket:
        link = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        target: Any = address.socket
    else:
        link = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        target = (address.host, address.port)
    link.settimeout(_CONNECT_S)
    try:
        link.connect(target)
    except OSError as error:
        link.close()
        raise EngineUnavailable(f"the engine cannot be reached: {error}") from error
    return link


def error_of(text: bytes) -> EngineError:
    """The engine's own error, as it would have been raised here; `text` is the event's JSON."""
    data = json.loads(text)
    kind = getattr(errors, str(data.get("type")), EngineError)
    return kind(str(data.get("message"))) if issubclass(kind, EngineError) else EngineError(str(data))


def _refusal(status: int, body: bytes) -> EngineError:
    try:
        message = str(json.loads(body)["error"]["message"])
    except (ValueError, KeyError, TypeError):
        message = f"the engine answered with {status}"
    return errors.InvalidRequest(message) if status == 400 else EngineUnavailable(message)
