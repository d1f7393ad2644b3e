"""An engine that says what a test tells it to; it knows no model and needs no torch."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from itertools import pairwise

from engine.request import Canvas, CanvasToken, DenoiseRequest, EngineInfo, Step, Stop

_POLL_S = 0.005  # how long a closed gate waits before it looks at `cancelled` again


class ScriptedEngine:
    """Implements `engine.request.Engine` with prepared middles.

    Each request takes the next `DenoiseRequest.candidates` middles; when they run out the last one is
    repeated. A middle that does not begin with `Prompt.typed` gets it put in front, since every canvas
    of a real engine begins with it. The text grows over `steps` steps.

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
        confidence: float = 0.9,
    ) -> None:
        self.requests: list[DenoiseRequest] = []
        self.stops: list[Stop] = []  # how each request ended, in order of ending
        self.started = threading.Event()
        self.finished = threading.Event()
        self._middles = tuple(middles)
        self._next = 0
        self._steps = steps
        self._ended = ended
        self._gate = gate
        self._confidence = confidence
        self._info = EngineInfo(
            model="scripted",
            parameters=0,
            device="none",
            dtype="none",
            prefix_chars=prefix_chars,
            suffix_chars=suffix_chars,
        )

    def info(self) -> EngineInfo:
        """The scripted model's particulars."""
        return self._info

    def denoise(self, request: DenoiseRequest, cancelled: threading.Event) -> Iterator[Step]:
        """Yield the request's middles, a step at a time; see the class."""
        self.requests.append(request)
        typed = request.prompt.typed
        middles = [self._take() for _ in range(request.candidates)]
        middles = [m if m.startswith(typed) else typed + m for m in middles]
        return self._run(middles, cancelled)

    def _run(self, middles: list[str], cancelled: threading.Event) -> Iterator[Step]:
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
            canvases = tuple(self._canvas(middle, number) for middle in middles)
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

    def _canvas(self, middle: str, number: int) -> Canvas:
        done = number == self._steps
        text = middle if done else middle[: len(middle) * number // self._steps]
        cuts = [*range(0, len(text), 4), len(text)]  # tokens of four characters
        tokens = tuple(CanvasToken(text=text[a:b], confidence=self._confidence) for a, b in pairwise(cuts))
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
