"""One hole for clients that know neither steps nor canvases: text in, text out, with what they ask for.

Both llama.cpp's and OpenAI's endpoints come down to this.
"""

from __future__ import annotations

import time
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Any

from engine.request import CANVAS_LENGTHS, Canvas, DenoiseRequest, Prompt, Step, Stop
from engine.service.core import Origin, Service
from engine.service.http import Refused
from engine.service.scheduler import Dropped
from engine.text.half_typed import typed_before


@dataclass(frozen=True, kw_only=True)
class Ask:
    """A hole, at most `tokens` to fill it with, and the strings that end it.

    `one_line` says that the rest of a line is meant; a model that does not write lines may go on behind it.
    """

    prompt: Prompt
    tokens: int
    stop: tuple[str, ...] = ()
    one_line: bool = False
    candidates: int = 1
    seed: int = 0
    deadline_ms: float | None = None


@dataclass(frozen=True, kw_only=True)
class Filled:
    """A text, how many tokens it is of, and why it ends: at its `end`, at a `stop` string, or by `length`.

    A deadline is `length` too; it leaves whole lines, as long as there is one.
    """

    text: str
    tokens: int
    why: str
    stop: str = ""
    ms: float = 0.0


async def fill(service: Service, ask: Ask, origin: Origin) -> list[Filled]:
    """The best canvases of a hole, as many as were asked for, best first.

    Raises:
        Refused: the engine has too much to do, or the deadline passed before the first step.
        EngineError: the model cannot be loaded, or the request cannot be served.
    """
    began = time.perf_counter()
    longest = min(ask.tokens, CANVAS_LENGTHS[-1])
    prompt = _healed(ask.prompt)
    request = DenoiseRequest(
        prompt=prompt,
        canvas_tokens=next(length for length in CANVAS_LENGTHS if length >= longest),
        # Many lines are found in hardly more time than one, to choose among by more than likelihood.
        candidates=None if ask.one_line and ask.candidates == 1 else ask.candidates,
        seed=ask.seed,
        deadline_ms=ask.deadline_ms,
        one_line=ask.one_line,
    )
    last: Step | None = None
    async with aclosing(service.denoise(request, origin)) as steps:
        async for step in steps:
            if isinstance(step, Dropped):
                raise Refused(503, "overloaded_error", step.value)
            last = step
    if last is None:
        raise Refused(503, "overloaded_error", Dropped.LATE.value)
    ms = 1000 * (time.perf_counter() - began)
    late = last.stop is Stop.DEADLINE
    canvases = [_added(canvas, prompt.typed) for canvas in last.canvases[: ask.candidates]]
    return [_cut(canvas, longest, ask.stop, ms, late) for canvas in canvases]


def _healed(prompt: Prompt) -> Prompt:
    """The prompt with a half-typed token at the end of its prefix set apart; see `engine.text.half_typed`."""
    typed = typed_before(prompt.prefix, len(prompt.prefix))
    if not typed or "\r" in typed:
        return prompt
    return replace(prompt, prefix=prompt.prefix[: -len(typed)], typed=typed)


def _added(canvas: Canvas, typed: str) -> Canvas:
    """A canvas without what was typed before it; the token that ends it is left with the rest of its text."""
    tokens, at = [], 0
    for token in canvas.tokens:
        end = at + len(token.text)
        if at >= len(typed) or end > len(typed):
            tokens.append(replace(token, text=token.text[max(0, len(typed) - at) :]))
        at = end
    return replace(canvas, text=canvas.text[len(typed) :], tokens=tuple(tokens))


def _cut(canvas: Canvas, tokens: int, stop: tuple[str, ...], ms: float, late: bool) -> Filled:
    """What a client gets of a canvas; the stop string itself is left out."""
    kept = canvas.tokens[:tokens]
    # A character may be split between two tokens: the whole text has it, the tokens' texts may not.
    text = canvas.text if len(kept) == len(canvas.tokens) else "".join(token.text for token in kept)
    found = [(at, each) for each in stop if each and (at := text.find(each)) >= 0]
    if found:
        at, each = min(found)
        return Filled(text=text[:at], tokens=len(kept), why="stop", stop=each, ms=ms)
    if late:  # the rest of a line is worse than none
        whole = text[: text.rfind("\n") + 1]
        return Filled(text=whole if whole.strip() else text, tokens=len(kept), why="length", ms=ms)
    if canvas.ended and len(kept) == len(canvas.tokens):
        return Filled(text=text, tokens=len(kept), why="end", ms=ms)
    return Filled(text=_said_once(text), tokens=len(kept), why="length", ms=ms)


def _said_once(text: str) -> str:
    """A text that was cut off, without the whole lines it says again and again at its end."""
    lines = text.split("\n")[:-1]  # the last one is not whole
    for period in range(1, len(lines) // 2 + 1):
        start = len(lines) - period
        again = lines[start:]
        if again == lines[start - period : start] and any(line.strip() for line in again):
            while start and lines[start - 1] == lines[start - 1 + period]:
                start -= 1
            return "\n".join(lines[: start + period])
    return text


def field(data: dict[str, Any], name: str, kind: type | tuple[type, ...], default: Any) -> Any:
    """A parameter, `default` where it is missing or null.

    Raises:
        Refused: it is of another type.
    """
    value = data.get(name)
    if value is None:
        return default
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise Refused(400, "invalid_request_error", f"{name} is of the wrong type", name)
    return value


def strings(data: dict[str, Any], name: str) -> tuple[str, ...]:
    """A parameter that is a string or a list of strings.

    Raises:
        Refused: it is something else.
    """
    value = data.get(name)
    values = [value] if isinstance(value, str) else value or []
    if not isinstance(values, list) or not all(isinstance(item, str) for item in values):
        raise Refused(400, "invalid_request_error", f"{name} should be a string or a list of strings", name)
    return tuple(values)
