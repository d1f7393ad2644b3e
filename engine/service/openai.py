"""OpenAI's `/v1/completions` with `suffix`, and `/v1/models`.

Parameters that change nothing of a diffusion model's sampling are ignored; those whose answer would be wrong
without them are refused.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import AsyncGenerator
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from engine.request import Prompt
from engine.service.core import Origin, Service
from engine.service.fills import Ask, Filled, field, fill, strings
from engine.service.http import Events, Json, Refused, event, read_object, while_connected

DEFAULT_MODEL = "default"
"""What stands for the model the user has chosen."""

_DEFAULT_TOKENS = 64
_MOST_CHOICES = 8
_REFUSED = {"logprobs": None, "echo": False, "best_of": None}


class OpenAI:
    """The handlers, around one service."""

    def __init__(self, service: Service) -> None:
        self._service = service

    async def completions(self, request: Request) -> Response:
        """Fill the hole between `prompt` and `suffix`."""
        data = await read_object(request)
        asks, model = _asks(data), self._model(data)
        origin = Origin(endpoint="completions", model=model)
        filled: list[Filled] = []
        for ask in asks:
            filled += await while_connected(request, fill(self._service, ask, origin))
        head = {
            "id": f"cmpl-{uuid.uuid4().hex}",
            "object": "text_completion",
            "created": int(time.time()),
            "model": data.get("model") or DEFAULT_MODEL,
        }
        if field(data, "stream", bool, False):
            options = field(data, "stream_options", dict, {})
            return Events(_streamed(head, filled, with_usage=bool(options.get("include_usage"))))
        choices = [_choice(index, each, each.text, last=True) for index, each in enumerate(filled)]
        return Json({**head, "choices": choices, "usage": _usage(filled)})

    async def models(self, request: Request) -> Response:
        """What can be named as a model: the default, and what is in memory."""
        names = [DEFAULT_MODEL, *(each.info.model for each in self._service.models.loaded.values())]
        listed = [
            {"id": name, "object": "model", "created": 0, "owned_by": "infill"}
            for name in dict.fromkeys(names)
        ]
        return Json({"object": "list", "data": listed})

    def _model(self, data: dict[str, Any]) -> str | None:
        """The model that is named; not any: a name from the network must not start a download."""
        name = field(data, "model", str, DEFAULT_MODEL)
        if name in ("", DEFAULT_MODEL):
            return None
        for key, there in self._service.models.loaded.items():
            if there.info.model == name:
                return key
        raise Refused(404, "not_found_error", f"there is no model {name}; /v1/models lists them", "model")


def _asks(data: dict[str, Any]) -> list[Ask]:
    for name, allowed in _REFUSED.items():
        value = data.get(name)
        if value not in (None, allowed) and not (name == "best_of" and value == data.get("n", 1)):
            raise Refused(400, "invalid_request_error", f"{name} is not supported", name)
    prompts = strings(data, "prompt")  # tokens of another tokenizer mean nothing here
    tokens, candidates = field(data, "max_tokens", int, _DEFAULT_TOKENS), field(data, "n", int, 1)
    if tokens < 1:
        raise Refused(400, "invalid_request_error", "max_tokens should be at least 1", "max_tokens")
    if not 1 <= candidates <= _MOST_CHOICES:
        raise Refused(400, "invalid_request_error", f"n should be 1 to {_MOST_CHOICES}", "n")
    suffix, stop = field(data, "suffix", str, ""), strings(data, "stop")
    seed = abs(field(data, "seed", int, 0)) % 2**63
    return [
        Ask(
            prompt=Prompt(prefix=prompt, suffix=suffix),
            tokens=tokens,
            stop=stop,
            candidates=candidates,
            seed=seed,
        )
        for prompt in prompts or ("",)
    ]


def _choice(index: int, filled: Filled, text: str, *, last: bool) -> dict[str, Any]:
    reason = ("length" if filled.why == "length" else "stop") if last else None
    return {"index": index, "text": text, "logprobs": None, "finish_reason": reason}


def _usage(filled: list[Filled]) -> dict[str, int]:
    tokens = sum(each.tokens for each in filled)
    return {"prompt_tokens": 0, "completion_tokens": tokens, "total_tokens": tokens}


async def _streamed(head: dict[str, Any], filled: list[Filled], *, with_usage: bool) -> AsyncGenerator[bytes]:
    # A canvas settles everywhere at once: each choice is one piece of text.
    for index, each in enumerate(filled):
        yield event({**head, "choices": [_choice(index, each, each.text, last=False)]})
        yield event({**head, "choices": [_choice(index, each, "", last=True)]})
    if with_usage:
        yield event({**head, "choices": [], "usage": _usage(filled)})
    yield event("[DONE]")
