"""The service's own endpoints: fill, score, read, attach, status, and the application they are part of.

`/v1/fill` answers with server-sent events: `step` (an `engine.request.Step`) as often as there is one, then
`end`, or `error`. `/v1/attach` stays open for as long as a client lives. Those of other servers'
clients are in `llama` and `openai`.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.routing import Route, Router
from starlette.types import ASGIApp

from engine.audience import Fate
from engine.errors import EngineError
from engine.request import DenoiseRequest, Engine, ReadRequest, ScoreRequest, Step
from engine.service import llama, openai
from engine.service.core import Client, Origin, Service
from engine.service.http import Events, Guard, Json, Refused, answering, event, read_object, while_connected
from engine.service.lanes import Lane
from engine.service.metrics import resident_bytes
from engine.service.scheduler import Dropped
from engine.service.wire import encode, from_json, to_json

logger = logging.getLogger(__name__)

_PING_S = 2.0
_LONGEST_NAME = 4096
"""Characters of a model's name: what fails to load is kept by it."""
_OLDEST_S = 600.0
"""How old a request may say it is."""
_FRAME_S = 0.08
_PAGE = Path(__file__).with_name("page.html")


@dataclass(frozen=True, kw_only=True)
class Endpoints:
    """The handlers, around one service; `stop` ends the process, `version` is the program's."""

    service: Service
    stop: Callable[[], None]
    version: str

    def app(self, token: str) -> ASGIApp:
        """The whole application; `token` is for those who do not come through the Unix socket."""
        own = {
            "/v1/attach": self.attach,
            "/v1/fill": self.fill,
            "/v1/score": self.score,
            "/v1/read": self.read,
            "/v1/stop": self.shut_down,
            "/infill": llama.Llama(self.service).infill,
            "/v1/completions": openai.OpenAI(self.service).completions,
        }
        asked = {
            "/": self.page,
            "/health": self.health,
            "/v1/health": self.health,
            "/metrics": self.metrics,
            "/props": llama.Llama(self.service).props,
            "/v1/models": openai.OpenAI(self.service).models,
            "/v1/status": self.status,
            "/v1/watch": self.watch,
        }
        routes = [Route(path, answering(handler), methods=["POST"]) for path, handler in own.items()]
        routes += [Route(path, answering(handler), methods=["GET"]) for path, handler in asked.items()]
        # What a Starlette adds around a router is for errors, which are answered already.
        return Guard(Router(routes=routes), token)

    async def health(self, request: Request) -> Response:
        """That it lives, and as whom."""
        return Json({"status": "ok", "pid": os.getpid(), "version": self.version})

    async def fill(self, request: Request) -> Response:
        """Denoise one hole, streaming its steps."""
        data = await read_object(request)
        ask = from_json(DenoiseRequest, data.get("request"))
        return Events(self._steps(ask, self._origin(data, "fill")))

    async def score(self, request: Request) -> Response:
        """The causal direction's log-probabilities."""
        data = await read_object(request)
        ask = from_json(ScoreRequest, data.get("request"))
        result = await while_connected(request, self.service.score(ask, self._origin(data, "score")))
        return _answer(result)

    async def read(self, request: Request) -> Response:
        """What the denoiser makes of a text."""
        data = await read_object(request)
        ask = from_json(ReadRequest, data.get("request"))
        result = await while_connected(request, self.service.read(ask, self._origin(data, "read")))
        return _answer(result)

    async def attach(self, request: Request) -> Response:
        """Be known as a client for as long as this stays open, and be told which model there is."""
        data = await read_object(request)
        origin = _origin(data, "attach")
        name, pid = data.get("name", ""), data.get("pid", 0)
        if not origin.client or not isinstance(name, str) or not isinstance(pid, int):
            raise Refused(400, "invalid_request_error", "a client needs an id, a name and a pid")
        return Events(self._attached(origin, Client(name=name[:80], pid=pid)))

    async def status(self, request: Request) -> Response:
        """Everything `infill engine status` shows."""
        return Json(self.describe())

    async def metrics(self, request: Request) -> Response:
        """Prometheus' text format."""
        service = self.service
        gauges = {
            "queue_length": float(service.scheduler.waiting),
            "running": float(service.scheduler.running),
            "clients": float(len(service.clients)),
            "models_loaded": float(len(service.models.loaded)),
            **{
                name: float(value)
                for name, value in _caches([m.engines for m in service.models.loaded.values()]).items()
            },
            "resident_memory_bytes": float(resident_bytes()),
            "uptime_seconds": time.monotonic() - service.started,
        }
        return PlainTextResponse(service.metrics.text(gauges), media_type="text/plain; version=0.0.4")

    async def page(self, request: Request) -> Response:
        """Status and the live canvas, for a browser."""
        policy = (
            "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; connect-src 'self'"
        )
        headers = {"Content-Security-Policy": policy, "Referrer-Policy": "no-referrer"}
        return HTMLResponse(_PAGE.read_text(encoding="utf-8"), headers=headers)

    async def watch(self, request: Request) -> Response:
        """Status and canvases as they change."""
        return Events(self._watched())

    async def shut_down(self, request: Request) -> Response:
        """End the process, when this has been answered."""
        asyncio.get_running_loop().call_later(0.05, self.stop)
        return Json({"stopping": True})

    def describe(self) -> dict[str, Any]:
        """The state of everything."""
        service, now = self.service, time.monotonic()
        return {
            "version": self.version,
            "pid": os.getpid(),
            "uptime_s": now - service.started,
            "memory_bytes": resident_bytes(),
            "models": [
                {**to_json(m.info), "users": m.users, "idle_s": now - m.used_at, "load_s": m.load_s}
                for m in service.models.loaded.values()
            ],
            "failures": dict(service.models.failures),
            **_caches([model.engines for model in service.models.loaded.values()]),
            "clients": [
                {"name": c.name, "pid": c.pid, "for_s": now - c.since, "requests": c.requests}
                for c in service.clients.values()
            ],
            "waiting": service.scheduler.waiting,
            "running": service.scheduler.running,
            "requests": {f"{e}/{o}": n for (e, o), n in sorted(service.metrics.requests.items())},
            "suggestions": {fate.value: service.metrics.fates[fate.value] for fate in Fate},
            "acceptance": service.metrics.acceptance,
            "steps": service.metrics.steps,
            "p50_ms": service.metrics.quantile_ms(0.5),
            "p95_ms": service.metrics.quantile_ms(0.95),
        }

    def _origin(self, data: dict[str, Any], endpoint: str) -> Origin:
        """Who asks; what they tell of earlier suggestions is noted."""
        origin = _origin(data, endpoint)
        self.service.metrics.told(data.get("fates"))
        return origin

    async def _steps(self, ask: DenoiseRequest, origin: Origin) -> AsyncGenerator[bytes]:
        dropped: Dropped | None = None
        last = b""
        try:
            async with aclosing(self.service.denoise(ask, origin)) as steps:
                async for step in steps:
                    if not isinstance(step, Step):
                        dropped = step
                    elif step.stop is None:
                        yield event(encode(step), "step")
                    else:  # goes out with the end, which is half the writing
                        last = event(encode(step), "step")
        except Exception as error:
            yield last + _error(error)
        else:
            yield last + event({"dropped": dropped and dropped.name.lower()}, "end")

    async def _attached(self, origin: Origin, client: Client) -> AsyncGenerator[bytes]:
        service = self.service
        service.clients[origin.client] = client
        try:
            yield event({}, "attached")
            try:
                async for line in self._loading(origin.model):
                    yield line
                told = None
                while True:
                    # An unloaded model is still the one there will be.
                    there = service.models.serving(origin.model)
                    if there is not None and there != told:
                        told = there
                        yield event(encode(there), "info")
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(_PING_S):
                            await service.closing.wait()
                        yield event({}, "bye")
                        return
                    yield b": ping\n\n"
            except EngineError as error:
                yield _error(error)
        finally:
            if service.clients.get(origin.client) is client:
                del service.clients[origin.client]
                service.scheduler.forget_client(origin.client)
            service.active_at = time.monotonic()

    async def _loading(self, model: str | None) -> AsyncGenerator[bytes]:
        """Progress lines until the model is there; a client must not take a long load for an end."""
        lines: asyncio.Queue[str | None] = asyncio.Queue()
        task = asyncio.ensure_future(self.service.models.get(model, lines.put_nowait))
        task.add_done_callback(lambda _: lines.put_nowait(None))
        try:
            line: str | None = ""
            while line is not None:
                try:
                    async with asyncio.timeout(_PING_S):
                        line = await lines.get()
                except TimeoutError:
                    yield b": ping\n\n"
                else:
                    if line is not None:
                        yield event({"message": line}, "progress")
            task.result()
        finally:
            task.cancel()

    async def _watched(self) -> AsyncGenerator[bytes]:
        seen, told = -1, 0.0
        while not self.service.closing.is_set():
            live, now = self.service.live, time.monotonic()
            if live.number != seen:
                seen = live.number
                tokens = [[token.text, round(token.confidence, 2)] for token in live.tokens]
                yield event({"step": live.step, "done": live.done, "tokens": tokens}, "canvas")
            if now - told >= 1:
                told = now
                yield event(self.describe(), "status")
            await asyncio.sleep(_FRAME_S)


def _caches(models: list[list[Engine]]) -> dict[str, int]:
    """What all models' prefix caches hold and have spared; bytes and tokens."""
    budgets = [engines[0].budget for engines in models if engines and isinstance(engines[0], Lane)]
    return {
        "cache_bytes": sum(budget.bytes for budget in budgets),
        "cache_limit_bytes": sum(budget.max_bytes for budget in budgets),
        "prompt_tokens": sum(budget.asked_tokens for budget in budgets),
        "cached_tokens": sum(budget.kept_tokens for budget in budgets),
    }


def _origin(data: dict[str, Any], endpoint: str) -> Origin:
    model, client = data.get("model"), data.get("client", "")
    if not isinstance(client, str) or not (model is None or isinstance(model, str)):
        raise Refused(400, "invalid_request_error", "a model and a client are named by strings")
    if model is not None and len(model) > _LONGEST_NAME:
        raise Refused(400, "invalid_request_error", f"no model's name has {len(model)} characters")
    origin = Origin(endpoint=endpoint, client=client[:80], model=model or None)
    # A client on this machine has our clock; what makes no sense on it is another's.
    asked_at = data.get("asked_at")
    if isinstance(asked_at, float) and 0 <= origin.asked_at - asked_at <= _OLDEST_S:
        origin = replace(origin, asked_at=asked_at)
    return origin


def _answer(result: Any) -> Response:
    if isinstance(result, Dropped):
        return Json({"dropped": result.name.lower(), "result": []})
    return Json({"dropped": None, "result": to_json(result)})


def _error(error: Exception) -> bytes:
    if not isinstance(error, EngineError):
        logger.error("a request failed", exc_info=error)
        return event({"type": "EngineError", "message": f"internal error ({type(error).__name__})"}, "error")
    return event({"type": type(error).__name__, "message": str(error)}, "error")
