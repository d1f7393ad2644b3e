"""llama.cpp's `/infill`, for its editor plugins; parameters that steer its own samplers are ignored."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from engine.request import Prompt, Snippet
from engine.service.core import Origin, Service
from engine.service.fills import Ask, Filled, field, fill, strings
from engine.service.http import Events, Json, Refused, event, read_object, while_connected

_DEFAULT_TOKENS = 128
_MOST_TEXTS = 8
_NOTHING = Filled(text="", tokens=0, why="length")


class Llama:
    """The handlers, around one service."""

    def __init__(self, service: Service) -> None:
        self._service = service

    async def infill(self, request: Request) -> Response:
        """Fill one hole: what is asked of llama.cpp's server, answered in its shape."""
        data = await read_object(request)
        ask = _ask(data)
        if ask is None:  # a plugin warms up a cache of prompts, which ours is not
            return Json(_chosen(_body(_NOTHING), data))
        origin = Origin(endpoint="infill")
        filled = await while_connected(request, fill(self._service, ask, origin))
        if field(data, "stream", bool, False):
            return Events(_streamed(filled))
        bodies = [_chosen(_body(each, index), data) for index, each in enumerate(filled)]
        return Json(bodies[0] if ask.candidates == 1 else bodies)

    async def props(self, request: Request) -> Response:
        """What plugins look at before they begin."""
        return Json({"default_generation_settings": {"n_ctx": 0}, "total_slots": 1, "is_sleeping": False})


def _ask(data: dict[str, Any]) -> Ask | None:
    """What is to be filled; None where nothing is."""
    tokens = field(data, "n_predict", int, _DEFAULT_TOKENS)
    deadline_ms = field(data, "t_max_predict_ms", (int, float), 0)
    seed = field(data, "seed", int, 0)
    prefix, suffix = field(data, "input_prefix", str, ""), field(data, "input_suffix", str, "")
    if tokens == 0:
        return None
    texts = field(data, "n_cmpl", int, field(data, "n", int, 1))
    if not 1 <= texts <= _MOST_TEXTS:
        raise Refused(400, "invalid_request_error", f"n_cmpl should be 1 to {_MOST_TEXTS}", "n_cmpl")
    snippets = _snippets(data)
    prefix += field(data, "prompt", str, "")
    return Ask(
        prompt=Prompt(
            prefix=prefix,
            suffix=suffix,
            snippets=snippets,
            nearby=tuple(snippet.text for snippet in snippets),
        ),
        tokens=tokens if tokens > 0 else _DEFAULT_TOKENS,
        stop=strings(data, "stop"),
        one_line=bool(prefix.rpartition("\n")[2].strip()),
        candidates=texts,
        seed=max(0, seed),
        deadline_ms=deadline_ms if deadline_ms > 0 else None,
    )


def _snippets(data: dict[str, Any]) -> tuple[Snippet, ...]:
    """Theirs come most useful last, ours first."""
    extra = field(data, "input_extra", list, [])
    out = []
    for item in extra:
        if not isinstance(item, dict) or not isinstance(item.get("text"), str):
            raise Refused(
                400, "invalid_request_error", "input_extra holds objects with a text", "input_extra"
            )
        out.append(Snippet(path=str(item.get("filename") or ""), text=item["text"]))
    return tuple(reversed(out))


def _body(filled: Filled, index: int = 0) -> dict[str, Any]:
    ms = max(filled.ms, 1e-3)
    return {
        "index": index,
        "content": filled.text,
        "stop": True,
        "stop_type": {"end": "eos", "stop": "word", "length": "limit"}[filled.why],
        "stopping_word": filled.stop,
        "tokens_predicted": filled.tokens,
        "truncated": False,
        "tokens_cached": 0,
        "timings": {
            "prompt_n": 0,
            "prompt_ms": 0.0,
            "prompt_per_token_ms": 0.0,
            "prompt_per_second": 0.0,
            "predicted_n": filled.tokens,
            "predicted_ms": ms,
            "predicted_per_token_ms": ms / max(1, filled.tokens),
            "predicted_per_second": 1000 * filled.tokens / ms,
        },
    }


def _chosen(body: dict[str, Any], data: dict[str, Any]) -> dict[str, Any]:
    """Only the fields that were asked for; one inside another is named, and comes, with a slash."""
    wanted = strings(data, "response_fields")
    if not wanted:
        return body
    out = {}
    for path in wanted:
        value: Any = body
        for part in path.split("/"):
            value = value.get(part) if isinstance(value, dict) else None
        if value is not None:
            out[path] = value
    return out


async def _streamed(filled: list[Filled]) -> AsyncGenerator[bytes]:
    # A canvas settles everywhere at once: each text is one piece, sent when it is done.
    for index, each in enumerate(filled):
        yield event({"index": index, "content": each.text, "stop": False})
        yield event({**_body(each, index), "content": ""})
