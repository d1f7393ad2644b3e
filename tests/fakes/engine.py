"""An engine that says what a test tells it to; it knows no model and needs no torch."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise

from engine.request import (
    Canvas,
    CanvasToken,
    DenoiseRequest,
    EngineInfo,
    Layout,
    Reading,
    ReadRequest,
    Scored,
    ScoreRequest,
    Step,
    Stop,
    TokenScore,
)

_POLL_S = 0.005  # how long a closed gate waits before it looks at `cancelled` again


class ScriptedEngine:
    """Implements `engine.request.Engine` with prepared middles.

    Each request takes the next `DenoiseRequest.candidates` middles, one where it names no number; when they
    run out the last one is repeated. A middle that does not begin with `Prompt.typed` gets it put in front,
    since every canvas of a real engine begins with it. With `DenoiseRequest.layouts` every free segment of
    every layout, in order, takes the next middle. The text grows over `steps` steps.

    `score` gives a middle its mean log-probability; `doubts` maps a word to what stands there instead
    more likely, with that one's probability, wherever the word is read.

    With a `gate` only the first step is given before the gate opens; cancelling ends the wait. `started`
    is set once a first step was produced, `finished` when a request's last step was.
    """

    def __init__(
        self,
        middles: Sequence[str],
        steps: int = 3,
        ended: bool = True,
        gate: threading.Event | None = None,
        *,
        prefix_chars: int = 2000,
        suffix_chars: int = 1000,
        snippet_chars: int = 0,
        nearby_chars: int = 0,
        confidence: float = 0.9,
        score: Callable[[str], float] = lambda _middle: -0.1,
        doubts: Mapping[str, tuple[str, float]] | None = None,
        searches: bool = False,
    ) -> None:
        self.requests: list[DenoiseRequest] = []
        self.scored: list[ScoreRequest] = []
        self.read_requests: list[ReadRequest] = []
        self.stops: list[Stop] = []  # how each request ended, in order of ending
        self.started = threading.Event()
        self.finished = threading.Event()
        self._middles = tuple(middles)
        self._next = 0
        self._steps = steps
        self._ended = ended
        self._gate = gate
        self._confidence = confidence
        self._score, self._doubts = score, doubts or {}
        self._info = EngineInfo(
            model="scripted",
            parameters=0,
            device="none",
            dtype="none",
            prefix_chars=prefix_chars,
            suffix_chars=suffix_chars,
            snippet_chars=snippet_chars,
            nearby_chars=nearby_chars,
            searches=searches,
        )

    def info(self) -> EngineInfo:
        """The scripted model's particulars."""
        return self._info

    def denoise(self, request: DenoiseRequest, cancelled: threading.Event) -> Iterator[Step]:
        """Yield the request's middles, a step at a time; see the class."""
        self.requests.append(request)
        if request.layouts:
            return self._run([self._fill(layout) for layout in request.layouts], cancelled)
        typed = request.prompt.typed
        middles = [self._take() for _ in range(request.candidates or self._info.candidates)]
        middles = [m if m.startswith(typed) else typed + m for m in middles]
        return self._run([(middle,) for middle in middles], cancelled)

    def score(self, request: ScoreRequest, cancelled: threading.Event) -> tuple[Scored, ...]:
        """Every middle's scripted score, on tokens of four characters."""
        self.scored.append(request)
        if cancelled.is_set():
            return ()
        return tuple(self._scored(middle) for middle in request.middles)

    def read(self, request: ReadRequest, cancelled: threading.Event) -> tuple[Reading, ...]:
        """Words and single other characters, the doubted ones with what they should be."""
        self.read_requests.append(request)
        if cancelled.is_set():
            return ()
        return tuple(self._reading(found) for found in re.finditer(r"\w+|\W", request.text))

    def _scored(self, middle: str) -> Scored:
        mean = self._score(middle)
        tokens = tuple(TokenScore(text=text, log_probability=mean) for text in _in_fours(middle))
        return Scored(tokens=tokens, end=mean)

    def _reading(self, found: re.Match[str]) -> Reading:
        other, probability = self._doubts.get(found[0], ("", 0.01))
        own = 0.01 if other else 0.99
        return Reading(
            start=found.start(),
            text=found[0],
            probability=own,
            other=other or "x",
            other_probability=probability,
        )

    def _fill(self, layout: Layout) -> tuple[str, ...]:
        return tuple(segment.text if segment.pinned else self._take() for segment in layout)

    def _run(self, middles: list[tuple[str, ...]], cancelled: threading.Event) -> Iterator[Step]:
        last: Step | None = None
        for number in range(1, self._steps + 1):
            if number > 1:
                self._wait(cancelled)
            if cancelled.is_set():
                self._end(Stop.CANCELLED)
                if last is not None:
                    yield Step(number=number, canvases=last.canvases, elapsed_ms=1.0, stop=Stop.CANCELLED)
                return
            done = number == self._steps
            canvases = tuple(self._laid_out(parts, number, i) for i, parts in enumerate(middles))
            last = Step(
                number=number,
                canvases=canvases,
                elapsed_ms=float(number),
                stop=Stop.CONFIDENT if done else None,
            )
            if done:
                self._end(Stop.CONFIDENT)
            self.started.set()
            yield last

    def _laid_out(self, parts: tuple[str, ...], number: int, candidate: int) -> Canvas:
        canvas = self._canvas("".join(parts), number)
        whole = number == self._steps and len(parts) > 1
        return replace(canvas, segments=parts if whole else (), candidate=candidate)

    def _canvas(self, middle: str, number: int) -> Canvas:
        done = number == self._steps
        text = middle if done else middle[: len(middle) * number // self._steps]
        tokens = tuple(CanvasToken(text=part, confidence=self._confidence) for part in _in_fours(text))
        return Canvas(text=text, tokens=tokens, ended=self._ended and done, score=-0.1)

    def _wait(self, cancelled: threading.Event) -> None:
        while self._gate is not None and not self._gate.wait(_POLL_S):
            if cancelled.is_set():
                return

    def _end(self, stop: Stop) -> None:
        self.stops.append(stop)
        self.finished.set()

    def _take(self) -> str:
        middle = self._middles[min(self._next, len(self._middles) - 1)]
        self._next += 1
        return middle


def _in_fours(text: str) -> list[str]:
    """Tokens of four characters."""
    return [text[a:b] for a, b in pairwise([*range(0, len(text), 4), len(text)])]
