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

MOST_AT_ONCE = 64
"""Candidates, layouts, views or middles of one request: they are computed together, and others share the
engine's memory."""

LONGEST_TYPED = 256
"""Characters of `Prompt.typed`: as many tokens as a canvas has may not be enough for more."""

MOST_AVOIDED = 1024
"""Texts of `DenoiseRequest.avoid`: each is looked for in all that is written."""


class Priority(Enum):
    """Who goes first where several want the same engine, the most urgent first."""

    INVOKED = "invoked"  # somebody pressed a key and waits
    AUTOMATIC = "automatic"  # somebody typed and may look
    PREFETCH = "prefetch"  # somebody may want it next
    BACKGROUND = "background"  # nobody waits


@dataclass(frozen=True, kw_only=True)
class Snippet:
    """Code from elsewhere that helps to fill the hole; `path` is relative, with forward slashes."""

    path: str
    text: str


@dataclass(frozen=True, kw_only=True)
class Prompt:
    """The hole's surroundings.

    `typed` are the characters of the word or the punctuation at the cursor that the user has already
    typed: they are not part of `prefix`, and every canvas begins with them (token healing). `snippets`
    come most useful first; a model that was not trained on any is not shown them (see
    `EngineInfo.snippet_chars`). `before` and `after` are what stands before `prefix` and after `suffix`: too
    much to be read, but an engine may look up in it how the text repeats itself (see `EngineInfo.far_chars`).
    `nearby` are texts of other files, most useful first, for the same use (see `EngineInfo.nearby_chars`).
    """

    prefix: str
    suffix: str = ""
    typed: str = ""
    snippets: tuple[Snippet, ...] = ()
    before: str = ""
    after: str = ""
    nearby: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Segment:
    """A stretch of a canvas: `text` that is pinned, or `free_tokens` positions for the model to fill.

    A free stretch begins as noise, or as `text` where it has some (cut or padded with noise to
    `free_tokens`), of which each token is replaced by noise with probability `noise`.

    Raises:
        InvalidRequest: a pinned stretch without text, or a number out of its range.
    """

    text: str = ""
    free_tokens: int = 0
    noise: float = 1.0

    def __post_init__(self) -> None:
        if self.free_tokens < 0 or not (self.free_tokens or self.text):
            raise InvalidRequest("a segment is either pinned text or a positive number of free tokens")
        if not 0 <= self.noise <= 1:  # NaN is refused too
            raise InvalidRequest(f"noise of {self.noise}; it lies between 0 and 1")

    @property
    def pinned(self) -> bool:
        """Whether the text stays as it is."""
        return self.free_tokens == 0


Layout = tuple[Segment, ...]
"""What one canvas is made of, in order. Where the last segment is pinned the canvas ends with it; where it
is free, the model says where within it the canvas ends."""


class Decoding(Enum):
    """How a middle comes about."""

    DENOISE = "denoise"  # all of a canvas at once, step by step
    SEARCH = "search"  # left to right by the causal direction, along several beams at once
    VERIFY = "verify"  # likewise the likeliest token each time, drafts of several tokens verified
    CAUSAL = "causal"  # left to right, a token at a time: what the others are measured against


@dataclass(frozen=True, kw_only=True)
class DenoiseRequest:
    """One hole to denoise.

    `candidates` is how many middles to choose among, None as many as the model does best with.
    `seed` makes a result repeatable. `deadline_ms` counts from the call; when it passes, the best
    canvas so far is the answer. `max_steps` lowers the model's own number of steps. With `layouts` there is
    one candidate for each of them and `candidates` does not count; a layout that does not fit the canvas
    is refused. `one_line` says that the middle ends with its line, unless it has opened a bracket.
    `decoding` chooses how; None is what the model does best at this canvas length, and with layouts it is
    always denoised. Where lines are searched for, one with one of the texts in `avoid` is not looked for, and
    less is given up in a `wide` search, for when nothing that was found is fit; elsewhere these are of no
    account. Of steps that come faster than one in `frame_ms` some are left out, never the last.

    An engine that many share serves the more urgent `priority` first, and drops a request as
    soon as the same client asks another of the same `key`, which is any string that stands for a document;
    an empty one stands for none.

    Raises:
        InvalidRequest: a length that is not in `CANVAS_LENGTHS`, a number below its minimum or above its
            maximum, or layouts where something was typed.
    """

    prompt: Prompt
    canvas_tokens: int = 64
    candidates: int | None = None
    seed: int = 0
    max_steps: int | None = None
    deadline_ms: float | None = None
    layouts: tuple[Layout, ...] = ()
    one_line: bool = False
    decoding: Decoding | None = None
    avoid: tuple[str, ...] = ()
    wide: bool = False
    frame_ms: float = 0.0
    priority: Priority = Priority.AUTOMATIC
    key: str = ""

    def __post_init__(self) -> None:
        if self.layouts and self.prompt.typed:
            raise InvalidRequest("what was typed is pinned by the layouts themselves")
        if self.canvas_tokens not in CANVAS_LENGTHS:
            raise InvalidRequest(f"canvas of {self.canvas_tokens} tokens; choose one of {CANVAS_LENGTHS}")
        if self.candidates is not None:
            _check_at_once("candidates", self.candidates)
        _check_at_once("layouts", len(self.layouts), least=0)
        if len(self.prompt.typed) > LONGEST_TYPED:
            raise InvalidRequest(f"{len(self.prompt.typed)} typed characters; at most {LONGEST_TYPED}")
        if len(self.avoid) > MOST_AVOIDED:
            raise InvalidRequest(f"{len(self.avoid)} texts to avoid; at most {MOST_AVOIDED}")
        if self.max_steps is not None and self.max_steps < 1:
            raise InvalidRequest(f"{self.max_steps} denoising steps; at least 1 is needed")
        if not 0 <= self.seed < 2**63:
            raise InvalidRequest(f"seed {self.seed} is not between 0 and 2**63 - 1")
        if self.deadline_ms is not None and not self.deadline_ms >= 0:  # NaN is refused too
            raise InvalidRequest(f"a deadline of {self.deadline_ms} ms")


def _check_at_once(name: str, count: int, least: int = 1) -> None:
    if not least <= count <= MOST_AT_ONCE:
        raise InvalidRequest(f"{count} {name}; {least} to {MOST_AT_ONCE} are possible")


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
    on the last step of several candidates it is the causal direction's, and where the line goes on behind
    the hole, that it does so from there counts as well. `ran_on` is what the model wrote behind the middle
    of what follows it anyway; None where nobody has looked for that. `segments` is the text of each
    segment of the canvas's layout, empty where there was none; `candidate` is the index of that layout.
    """

    text: str
    tokens: tuple[CanvasToken, ...]
    ended: bool
    score: float
    ran_on: str | None = None
    segments: tuple[str, ...] = ()
    candidate: int = 0

    @property
    def confidence(self) -> float:
        """The mean probability over the middle's tokens, 0.0 where there are none."""
        return sum(t.confidence for t in self.tokens) / len(self.tokens) if self.tokens else 0.0

    @property
    def total(self) -> float:
        """The score of the middle as a whole, its end included, in nats."""
        return self.score * (len(self.tokens) + 1)


@dataclass(frozen=True, kw_only=True)
class Step:
    """The state after one denoising step: `number` counts from 1, `stop` is set on the last one.

    `canvases` has one entry per candidate; on the last step they are sorted, best first, and where the line
    goes on behind the hole, they are the best of all that candidates begin with.
    """

    number: int
    canvases: tuple[Canvas, ...]
    elapsed_ms: float
    stop: Stop | None = None


@dataclass(frozen=True, kw_only=True)
class ScoreRequest:
    """How likely the causal direction, reading left to right, finds each of `middles` in the hole.

    Raises:
        InvalidRequest: more than `MOST_AT_ONCE` middles.
    """

    prompt: Prompt
    middles: tuple[str, ...]
    priority: Priority = Priority.AUTOMATIC

    def __post_init__(self) -> None:
        _check_at_once("middles", len(self.middles), least=0)


@dataclass(frozen=True, kw_only=True)
class TokenScore:
    """One token of a middle and its log-probability in nats given all before it."""

    text: str
    log_probability: float


@dataclass(frozen=True, kw_only=True)
class Scored:
    """One middle's tokens in order; `end` is the log-probability that it ends where it does."""

    tokens: tuple[TokenScore, ...]
    end: float

    @property
    def mean(self) -> float:
        """Nats per token, the end counted as one."""
        return (sum(t.log_probability for t in self.tokens) + self.end) / (len(self.tokens) + 1)


@dataclass(frozen=True, kw_only=True)
class ReadRequest:
    """Have the denoiser read `text`, which stands between the prompt's prefix and its suffix.

    With one view the model sees every token as it is and says what it would put there. With more, each of
    `views` canvases has every `views`-th token replaced by noise, so that each token is judged once
    without having been seen, by its neighbours on both sides. `seed` makes that noise repeatable.

    Raises:
        InvalidRequest: less than one view, more than `MOST_AT_ONCE`, or a prompt with something typed.
    """

    prompt: Prompt
    text: str
    views: int = 1
    seed: int = 0
    priority: Priority = Priority.BACKGROUND

    def __post_init__(self) -> None:
        _check_at_once("views", self.views)
        if self.prompt.typed:
            raise InvalidRequest("a text that is read has nothing typed before it")


@dataclass(frozen=True, kw_only=True)
class Reading:
    """What the denoiser makes of one token: its own probability, and the likeliest other one's.

    `start` is the token's first code point within the text that was read.
    """

    start: int
    text: str
    probability: float
    other: str
    other_probability: float


@dataclass(frozen=True, kw_only=True)
class EngineInfo:
    """What is known of a loaded engine.

    `prefix_chars` and `suffix_chars` are how much text is worth sending; the engine cuts what exceeds
    its token budget at the end far from the hole. `snippet_chars` is the same for snippets, 0 where the
    model was not trained on any, `far_chars` for each of `Prompt.before` and `Prompt.after`, and
    `nearby_chars` for all of `Prompt.nearby`, 0 where they are of no use. `candidates` is how many canvases
    are denoised at once where nobody asks for a number. `warm_starts` tells whether a canvas that begins
    with an older one's text is worth denoising: not for a model that writes better left to right. `searches`
    tells whether it searches for lines, so that a wider search may find others.
    """

    model: str
    parameters: int
    device: str
    dtype: str
    prefix_chars: int
    suffix_chars: int
    candidates: int = 1
    snippet_chars: int = 0
    far_chars: int = 0
    nearby_chars: int = 0
    warm_starts: bool = True
    searches: bool = False


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

    def score(self, request: ScoreRequest, cancelled: threading.Event) -> tuple[Scored, ...]:
        """The causal direction's log-probabilities, one entry for each middle; empty if cancelled.

        Raises:
            EngineError: the request cannot be served, such as a middle that is longer than what the model
                can read behind its prompt.
        """
        ...

    def read(self, request: ReadRequest, cancelled: threading.Event) -> tuple[Reading, ...]:
        """What the denoiser makes of each token of a text, in order; empty if cancelled.

        A text that is longer than the longest canvas is read in several.

        Raises:
            EngineError: the request cannot be served.
        """
        ...
