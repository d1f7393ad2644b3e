"""What is asked of an engine and what it answers: plain text and numbers, no tensors.

Everything a client of the engine needs is here, and importing it does not import torch. Offsets do not
occur: a prompt is text before the hole and text after it.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from engine.errors import InvalidRequest

CANVAS_LENGTHS = (32, 64, 128, 256)
"""Canvas lengths, in tokens, an engine is asked for; fixed so that shapes stay static."""


@dataclass(frozen=True, kw_only=True)
class Prompt:
    """The hole's surroundings.

    `typed` are the characters of the word or the punctuation at the cursor that the user has already
    typed: they are not part of `prefix`, and every canvas begins with them (token healing).
    """

    prefix: str
    suffix: str = ""
    typed: str = ""


@dataclass(frozen=True, kw_only=True)
class DenoiseRequest:
    """One hole to denoise.

    `seed` makes a result repeatable. `deadline_ms` counts from the call; when it passes, the best
    canvas so far is the answer. `max_steps` lowers the model's own number of steps.

    Raises:
        InvalidRequest: a length that is not in `CANVAS_LENGTHS`, or a number below its minimum.
    """

    prompt: Prompt
    canvas_tokens: int = 64
    candidates: int = 1
    seed: int = 0
    max_steps: int | None = None
    deadline_ms: float | None = None

    def __post_init__(self) -> None:
        if self.canvas_tokens not in CANVAS_LENGTHS:
            raise InvalidRequest(f"canvas of {self.canvas_tokens} tokens; choose one of {CANVAS_LENGTHS}")
        if self.candidates < 1:
            raise InvalidRequest(f"{self.candidates} candidates; at least 1 is needed")
        if self.max_steps is not None and self.max_steps < 1:
            raise InvalidRequest(f"{self.max_steps} denoising steps; at least 1 is needed")
        if not 0 <= self.seed < 2**63:
            raise InvalidRequest(f"seed {self.seed} is not between 0 and 2**63 - 1")
        if self.deadline_ms is not None and not self.deadline_ms >= 0:  # NaN is refused too
            raise InvalidRequest(f"a deadline of {self.deadline_ms} ms")


class Stop(Enum):
    """Why denoising ended."""

    CONFIDENT = "confident"  # the canvas repeated itself and its entropy is under the threshold
    STEPS = "steps"  # the step budget is spent
    DEADLINE = "deadline"  # a further step would pass the deadline; the canvas is the best so far
    CANCELLED = "cancelled"  # the caller no longer wants it


@dataclass(frozen=True, kw_only=True)
class CanvasToken:
    """One canvas position: its text ("" for special tokens) and the probability the model gives it."""

    text: str
    confidence: float


@dataclass(frozen=True, kw_only=True)
class Canvas:
    """One canvas after a step.

    `text` is the middle: everything before the first end-of-middle token, `Prompt.typed` included.
    `tokens` holds the same positions, so `"".join(t.text for t in tokens) == text` up to characters
    split between byte-level tokens. `ended` tells whether an end-of-middle token was seen: without it
    the middle was cut off by the canvas. `score` ranks candidates: the mean log-probability in nats
    of its tokens, the end-of-middle token included. It is the denoiser's own, over what it chose freely;
    on the last step of several candidates it is the causal direction's.
    """

    text: str
    tokens: tuple[CanvasToken, ...]
    ended: bool
    score: float

    @property
    def confidence(self) -> float:
        """The mean probability over the middle's tokens, 0.0 where there are none."""
        return sum(t.confidence for t in self.tokens) / len(self.tokens) if self.tokens else 0.0


@dataclass(frozen=True, kw_only=True)
class Step:
    """The state after one denoising step: `number` counts from 1, `stop` is set on the last one.

    `canvases` has one entry per candidate; on the last step they are sorted, best first.
    """

    number: int
    canvases: tuple[Canvas, ...]
    elapsed_ms: float
    stop: Stop | None = None


@dataclass(frozen=True, kw_only=True)
class EngineInfo:
    """What is known of a loaded engine.

    `prefix_chars` and `suffix_chars` are how much text is worth sending; the engine cuts what exceeds
    its token budget at the end far from the hole. `candidates` is how many canvases to draw at once where
    nobody asks for a number.
    """

    model: str
    parameters: int
    device: str
    dtype: str
    prefix_chars: int
    suffix_chars: int
    candidates: int = 1


class Engine(Protocol):
    """A denoiser that is loaded and ready; every client of the model has this shape."""

    def info(self) -> EngineInfo:
        """What model this is and how much text it wants."""
        ...

    def denoise(self, request: DenoiseRequest, cancelled: threading.Event) -> Iterator[Step]:
        """Denoise one hole, a step at a time; the last step carries `stop`.

        `cancelled` is checked before every step. At least one step is always yielded unless the
        request is cancelled before the first, in which case nothing is.

        Raises:
            EngineError: the request cannot be served.
        """
        ...
