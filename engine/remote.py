"""The client of somebody else's engine: an OpenAI-compatible server's completions with a suffix.

A server that refuses suffixes, such as vLLM, is asked to continue a conversation in which the suffix was
shown. The code around the hole is sent there, which is said once in the log. The key comes from the
environment or the system's keyring, never from a setting or a command line. A completion comes whole: there
is one step, no confidences, and neither scores nor readings.
"""

from __future__ import annotations

import logging
import os
import random
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as NotYet
from typing import Any
from urllib.parse import urlsplit

from engine.errors import EngineError, EngineUnavailable, InvalidRequest, ModelNotFound
from engine.request import (
    Canvas,
    CanvasToken,
    DenoiseRequest,
    EngineInfo,
    Prompt,
    Reading,
    ReadRequest,
    Scored,
    ScoreRequest,
    Step,
    Stop,
)

logger = logging.getLogger(__name__)

KEY_VARIABLES = ("INFILL_REMOTE_KEY", "OPENAI_API_KEY")
"""Where the key is looked for first, in this order."""

KEYRING_SERVICE = "infill"
"""Under this name, with the server's host for a user, the system's keyring is asked for it next."""

_TIMEOUT_S = 30.0
_CONNECT_S = 5.0
_TRIES = 3
_PAUSE_S = 0.25
_POLL_S = 0.02
_AGAIN = (408, 429, 500, 502, 503, 504)
_CHARS = 6000

_CONTINUE: dict[str, Any] = {
    "add_generation_prompt": False,
    "continue_final_message": True,
    "chat_template_kwargs": {"enable_thinking": False},
}
"""What tells vLLM and SGLang, and in part llama.cpp, to go on with the last message and not to think."""


def open_remote(url: str, model: str | None) -> RemoteEngine:
    """The server at `url`, which may or may not end in `/v1`, with `model` (None: the first it names).

    Raises:
        InvalidRequest: the URL is none of a server, or has a key in it.
        EngineUnavailable: it cannot be reached.
        ModelNotFound: it has no such model.
    """
    host = _host(url)
    base = url.rstrip("/")
    engine = RemoteEngine(base if base.endswith("/v1") else f"{base}/v1", model or "")
    logger.warning("code around the cursor is sent to %s", host)
    try:
        engine.find_model(model)
    except BaseException:
        engine.close()
        raise
    return engine


def _host(url: str) -> str:
    """The server's name, once `url` is known to be an address that can be asked."""
    import httpx2

    try:
        parts = urlsplit(url)
        host = parts.hostname if parts.scheme in ("http", "https") and parts.port != 0 else None
        httpx2.URL(url)
    except (ValueError, httpx2.InvalidURL):
        host = None
    if not host:
        # What stands before an @ may be a key.
        raise InvalidRequest(f"{url.rpartition('@')[2]!r} is not the address of a server")
    if parts.username or parts.password:
        raise InvalidRequest(f"keys belong into {KEY_VARIABLES[0]}, not into the URL")
    return host


class _NoSuffix(Exception):
    """The server names the suffix among its reasons to refuse."""


def find_key(host: str) -> str | None:
    """The key for a server: the environment's, else the system's keyring's; None where neither has one.

    The keyring is only asked where the package of that name is installed, and one that is locked, broken or
    absent counts as empty.
    """
    if named := next((os.environ[name] for name in KEY_VARIABLES if os.environ.get(name)), None):
        return named
    try:
        import keyring
    except ImportError:
        return None
    try:
        found: str | None = keyring.get_password(KEYRING_SERVICE, host)
    except Exception as error:  # what a system's keyring may raise nobody lists
        logger.warning("the keyring cannot be asked: %s", error)
        return None
    return found or None


class RemoteEngine:
    """A server that completes; see `engine.request.Engine`."""

    def __init__(self, base: str, model: str) -> None:
        import httpx2  # slow to import, and needed by few

        key = find_key(urlsplit(base).hostname or "")
        self._base, self._model = base, model
        self._converse = False
        self._http = httpx2.Client(
            headers={"Authorization": f"Bearer {key}"} if key else {},
            timeout=httpx2.Timeout(_TIMEOUT_S, connect=_CONNECT_S),
        )
        self._executor = ThreadPoolExecutor(4, thread_name_prefix="remote")

    def find_model(self, model: str | None) -> None:
        """Ask the server which models it has.

        Raises:
            EngineUnavailable: it cannot be reached.
            ModelNotFound: it has no such model.
        """
        listed = self._exchange("GET", "/models", None, threading.Event())
        data = listed.get("data") if isinstance(listed, dict) else None
        found = [item.get("id") for item in data if isinstance(item, dict)] if isinstance(data, list) else []
        names = [name for name in found if isinstance(name, str) and name]
        if not names or (model is not None and model not in names):
            has = ", ".join(names) or "none"
            raise ModelNotFound(f"{self._base} has no model {model or ''}; it has {has}")
        self._model = model or names[0]

    def close(self) -> None:
        """Close the connections."""
        self._executor.shutdown(wait=False, cancel_futures=True)
        self._http.close()

    def info(self) -> EngineInfo:
        """What little is known of it; see `engine.request.Engine.info`."""
        return EngineInfo(
            model=self._model,
            parameters=0,
            device=urlsplit(self._base).hostname or "remote",
            dtype="unknown",
            prefix_chars=_CHARS,
            suffix_chars=_CHARS // 2,
        )

    def denoise(self, request: DenoiseRequest, cancelled: threading.Event) -> Iterator[Step]:
        """One step with whole completions; nothing where the deadline passed. Layouts are refused.

        Raises:
            EngineError: the server cannot be reached, or refuses.
        """
        if request.layouts:
            raise InvalidRequest("a remote engine fills one hole at a time")
        began = time.perf_counter()
        until = None if request.deadline_ms is None else time.monotonic() + request.deadline_ms / 1000
        try:
            canvases = self._ask(request, cancelled, until)
        except _NoSuffix:
            logger.warning(
                "the remote server takes no suffix; it is asked to continue a conversation instead"
            )
            self._converse = True
            canvases = self._ask(request, cancelled, until)
        elapsed_ms = 1000 * (time.perf_counter() - began)
        if canvases is not None:
            yield Step(number=1, canvases=canvases, elapsed_ms=elapsed_ms, stop=Stop.STEPS)

    def _ask(
        self, request: DenoiseRequest, cancelled: threading.Event, until: float | None
    ) -> tuple[Canvas, ...] | None:
        """What a server writes; None where nobody waits any longer."""
        prompt = request.prompt
        path = "/completions"
        body: dict[str, Any] = {"prompt": prompt.prefix + prompt.typed, "suffix": prompt.suffix}
        if self._converse:
            from engine.text.gemma_chat import cut, messages

            path = "/chat/completions"
            body = {"messages": messages(prompt), **_CONTINUE}
        limits: dict[str, Any] = {
            "model": self._model,
            "max_tokens": request.canvas_tokens,
            "seed": request.seed,
        }
        if request.candidates is not None:
            limits["n"] = request.candidates
        answer = self._exchange("POST", path, {**body, **limits}, cancelled, until)
        if answer is None:
            return None
        canvases = tuple(_canvas(text, ended, prompt.typed) for text, ended in _texts(answer, prompt))
        return tuple(cut(canvas, prompt.suffix) for canvas in canvases) if self._converse else canvases

    def score(self, request: ScoreRequest, cancelled: threading.Event) -> tuple[Scored, ...]:
        """Not to be had.

        Raises:
            InvalidRequest: always.
        """
        raise InvalidRequest("a remote engine gives no scores")

    def read(self, request: ReadRequest, cancelled: threading.Event) -> tuple[Reading, ...]:
        """Not to be had.

        Raises:
            InvalidRequest: always.
        """
        raise InvalidRequest("a remote engine does not read")

    def _exchange(
        self, method: str, path: str, body: Any, cancelled: threading.Event, until: float | None = None
    ) -> Any:
        """The JSON that is answered; None where nobody waits for it any longer."""
        work = self._executor.submit(self._try, method, path, body, cancelled, until)
        while not cancelled.is_set() and (until is None or time.monotonic() < until):
            try:
                return work.result(_POLL_S)
            except NotYet:
                if work.done():  # the answer itself was a timeout of this kind
                    raise
        _ignore(work)
        return None

    def _try(self, method: str, path: str, body: Any, cancelled: threading.Event, until: float | None) -> Any:
        """Try a few times, with growing pauses, as long as somebody waits."""
        import httpx2

        for attempt in range(1, _TRIES + 1):
            try:
                answer = self._http.request(method, self._base + path, json=body)
            except httpx2.HTTPError as error:
                problem = EngineUnavailable(
                    f"{self._base} cannot be reached: {error or type(error).__name__}"
                )
            else:
                if answer.status_code == 200:
                    return _json(answer.content)
                if b"suffix" in answer.content and isinstance(body, dict) and "suffix" in body:
                    raise _NoSuffix
                if answer.status_code not in _AGAIN:
                    raise _refusal(answer.status_code, answer.content)
                problem = EngineUnavailable(f"{self._base} answered with {answer.status_code}")
            pause_s = _PAUSE_S * 2**attempt * random.uniform(0.5, 1.0)
            out_of_time = until is not None and time.monotonic() + pause_s >= until
            if attempt == _TRIES or out_of_time or cancelled.wait(pause_s):
                raise problem
        raise AssertionError


def _ignore(work: Future[Any]) -> None:
    work.cancel()
    work.add_done_callback(lambda done: None if done.cancelled() else done.exception())


def _json(data: bytes) -> Any:
    import json

    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        raise EngineError("the remote server's answer is not JSON") from None


def _refusal(status: int, body: bytes) -> EngineError:
    """What the server said, without what it may have repeated of the request."""
    if status in (401, 403):
        wanted = f"set {KEY_VARIABLES[0]} or `keyring set {KEYRING_SERVICE} HOST`"
        return EngineError(f"the remote server wants another key ({status}); {wanted}")
    if status == 404:
        return ModelNotFound("the remote server has no such model, or no completions")
    return EngineError(f"the remote server refused the request ({status})")


def _texts(answer: Any, prompt: Prompt) -> list[tuple[str, bool]]:
    """What each choice writes behind the cursor, and whether it ended by itself."""
    choices = answer.get("choices") if isinstance(answer, dict) else None
    if not isinstance(choices, list) or not choices:
        raise EngineError("the remote server's answer has no choices")
    out = []
    for choice in choices:
        found: dict[str, Any] = choice if isinstance(choice, dict) else {}
        message = found.get("message")
        text = message.get("content") if isinstance(message, dict) else found.get("text")
        if not isinstance(text, str):
            raise EngineError("the remote server's answer has choices without a text")
        if isinstance(message, dict):  # some repeat what they were to continue
            text = text.removeprefix(prompt.prefix + prompt.typed)
        elif prompt.suffix.strip():  # and some, such as `transformers serve`, what follows it
            text = text.removesuffix(prompt.suffix)
        out.append((text, found.get("finish_reason") == "stop"))
    return out


def _canvas(written: str, ended: bool, typed: str) -> Canvas:
    text = typed + written
    # How sure a model elsewhere is nobody says; it counts as sure.
    tokens = (CanvasToken(text=text, confidence=1.0),) if text else ()
    return Canvas(text=text, tokens=tokens, ended=ended, score=0.0)
