"""HTTP as all endpoints of the service need it: bodies, errors, event streams, and who may come in."""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import json
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import parse_qs

from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from engine.errors import EngineError, InvalidRequest

logger = logging.getLogger(__name__)

Handler = Callable[[Request], Awaitable[Response]]

LARGEST_BODY_BYTES = 16 * 1024 * 1024
_BODY_TIMEOUT_S = 20.0
_OPEN = ("/health", "/v1/health")
"""What says nothing of anybody needs no token."""

COOKIE = "infill_key"


class Refused(Exception):
    """A request that is answered with an error: status, a type as OpenAI names them, and a sentence."""

    def __init__(self, status: int, kind: str, message: str, param: str | None = None) -> None:
        super().__init__(message)
        self.status, self.kind, self.message, self.param = status, kind, message, param

    def response(self) -> Response:
        """The error as a body."""
        return error_response(self.status, self.kind, self.message, self.param)


def error_response(status: int, kind: str, message: str, param: str | None = None) -> Response:
    """An error in the shape OpenAI's clients and ours know."""
    error = {"message": message, "type": kind, "param": param, "code": status}
    return Json({"error": error}, status_code=status)


class Json(JSONResponse):
    """JSON; lone surrogates, which JSON can name and UTF-8 has none of, become question marks."""

    def render(self, content: Any) -> bytes:
        """See `starlette.responses.Response.render`."""
        text = json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        return text.encode("utf-8", "replace")


async def read_object(request: Request) -> dict[str, Any]:
    """The JSON object in a request's body.

    Raises:
        Refused: it is too large, does not arrive, or is no JSON object.
    """
    chunks, size = [], 0
    try:
        async with asyncio.timeout(_BODY_TIMEOUT_S):
            async for chunk in request.stream():
                size += len(chunk)
                if size > LARGEST_BODY_BYTES:
                    raise Refused(413, "invalid_request_error", "the request is too large")
                chunks.append(chunk)
    except TimeoutError:
        raise Refused(408, "invalid_request_error", "the request did not arrive in time") from None
    except ClientDisconnect:
        raise Refused(400, "invalid_request_error", "the request broke off") from None
    try:
        data = json.loads(b"".join(chunks))
    except (ValueError, RecursionError):
        raise Refused(400, "invalid_request_error", "the body is not JSON") from None
    if not isinstance(data, dict):
        raise Refused(400, "invalid_request_error", "the body is not a JSON object")
    return data


def answering(handler: Handler) -> Handler:
    """A handler whose errors become answers."""

    async def answer(request: Request) -> Response:
        try:
            return await handler(request)
        except Refused as refused:
            return refused.response()
        except InvalidRequest as error:
            return error_response(400, "invalid_request_error", str(error))
        except EngineError as error:
            return error_response(503, "engine_error", str(error))
        except Exception as error:
            logger.exception("a request failed")
            return error_response(500, "internal_error", f"internal error ({type(error).__name__})")

    return answer


def event(data: Any, name: str | None = None) -> bytes:
    """One server-sent event; `data` is made JSON unless it is text, or JSON already."""
    if isinstance(data, bytes):
        text = data
    else:
        made = data if isinstance(data, str) else json.dumps(data, ensure_ascii=False, separators=(",", ":"))
        text = made.encode("utf-8", "replace")
    head = f"event: {name}\n".encode() if name else b""
    return b"%sdata: %s\n\n" % (head, text)


class Events(Response):
    """A stream of server-sent events; its source is closed as soon as the client has gone."""

    def __init__(self, source: AsyncGenerator[bytes]) -> None:
        super().__init__(media_type="text/event-stream", headers={"Cache-Control": "no-store"})
        del self.headers["content-length"]
        self._source = source

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        sending = asyncio.ensure_future(self._send(send))
        leaving = asyncio.ensure_future(_disconnected(receive))
        try:
            await asyncio.wait((sending, leaving), return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (sending, leaving):
                task.cancel()
            for task in (sending, leaving):
                with contextlib.suppress(asyncio.CancelledError, OSError):
                    await task

    async def _send(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        source = self._source
        try:
            async for chunk in source:
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
            await send({"type": "http.response.body", "body": b""})
        finally:
            await source.aclose()


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def while_connected(request: Request, work: Awaitable[Any]) -> Any:
    """The result of `work`, which is cancelled if the client goes; the body must have been read.

    Raises:
        Refused: the client has gone, and nobody reads this.
    """
    working = asyncio.ensure_future(work)
    leaving = asyncio.ensure_future(_disconnected(request.receive))
    try:
        await asyncio.wait((working, leaving), return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise Refused(499, "cancelled", "the client has gone")
        return working.result()
    finally:
        for task in (working, leaving):
            task.cancel()
        await asyncio.gather(working, leaving, return_exceptions=True)


class Guard:
    """Lets in whoever comes through the Unix socket, and who has the token through the loopback port.

    A web page of somebody else's can reach the port too: its requests name another host, or lack the token.
    """

    def __init__(self, app: ASGIApp, token: str) -> None:
        self._app, self._token = app, token.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and (refused := self._refuse(scope)) is not None:
            await refused(scope, receive, send)
            return
        if scope["type"] == "http" and scope["method"] == "GET" and "key" in _query(scope):
            send = self._with_cookie(send)
        await self._app(scope, receive, send)

    def _refuse(self, scope: Scope) -> Response | None:
        if not scope.get("client") and not _port(scope):
            return None
        headers = dict(scope["headers"])
        host = headers.get(b"host", b"").decode("latin-1").rpartition(":")[0].strip("[]")
        if host not in ("127.0.0.1", "localhost", "::1"):
            return error_response(403, "permission_error", "this engine is for this machine only")
        if scope["path"] in _OPEN or any(hmac.compare_digest(k, self._token) for k in _keys(scope, headers)):
            return None
        return error_response(401, "authentication_error", "the engine's key is missing or wrong")

    def _with_cookie(self, send: Send) -> Send:
        cookie = f"{COOKIE}={self._token.decode()}; HttpOnly; SameSite=Strict; Path=/"

        async def with_cookie(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], (b"set-cookie", cookie.encode())]
            await send(message)

        return with_cookie


def _port(scope: Scope) -> bool:
    server = scope.get("server") or ("", None)
    return server[1] is not None


def _query(scope: Scope) -> dict[str, list[str]]:
    return parse_qs(scope.get("query_string", b"").decode("latin-1"))


def _keys(scope: Scope, headers: dict[bytes, bytes]) -> list[bytes]:
    """Every key a request brings: as a bearer's, in a cookie, or in the address of a page."""
    scheme, _, key = headers.get(b"authorization", b"").partition(b" ")
    keys = [key.strip()] if scheme.lower() == b"bearer" else []
    if scope["method"] == "GET":
        keys += [value.encode() for value in _query(scope).get("key", [])]
    with contextlib.suppress(CookieError):
        cookie = SimpleCookie(headers.get(b"cookie", b"").decode("latin-1")).get(COOKIE)
        keys += [cookie.value.encode()] if cookie is not None else []
    return keys
