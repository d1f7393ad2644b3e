"""Draws a hole and the code around it in a terminal, while it denoises and when it is filled.

Knows nothing of models, files or the protocol: it is given text and tokens with confidences, and a
rich console to draw on.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType

from rich.console import Console
from rich.live import Live
from rich.style import Style
from rich.table import Table
from rich.text import Text

from engine.request import CanvasToken
from infill.code.lines import line_number

CONTEXT_LINES = 5
"""Lines of code shown before and after the hole."""

_MAX_COLUMNS = 120
_UNSURE, _SURE = (150, 110, 60), (90, 220, 140)
_BIDI_CONTROLS = (*range(0x202A, 0x202F), *range(0x2066, 0x206A))
_HARMLESS = {
    **{code: 0x2400 + code for code in range(0x20) if code not in (0x09, 0x0A)},
    0x7F: 0x2421,
    **dict.fromkeys((*range(0x80, 0xA0), *_BIDI_CONTROLS), 0xFFFD),
}


def harmless(text: str) -> str:
    """Replace every line ending by "\\n" and what could steer a terminal by a visible sign.

    Code and canvases are other people's text: an escape sequence in them must not be obeyed.
    """
    return text.replace("\r\n", "\n").replace("\r", "\n").translate(_HARMLESS)


def shade(confidence: float) -> Style:
    """The style of a token with this probability, 0 to 1: amber and dim to green and bold."""
    share = min(max(confidence, 0.0), 1.0)
    red, green, blue = (round(a + (b - a) * share) for a, b in zip(_UNSURE, _SURE, strict=True))
    return Style(color=f"#{red:02x}{green:02x}{blue:02x}", dim=share < 0.5, bold=share >= 0.9)


@dataclass(frozen=True, kw_only=True)
class Surroundings:
    """The code around a hole, cut to what is worth showing; `first_line` counts from 1."""

    before: str
    after: str
    first_line: int


def surroundings(text: str, start: int, end: int, lines: int = CONTEXT_LINES) -> Surroundings:
    """Cut `lines` lines before and after `start` to `end` (code points), long lines shortened."""
    # Far more than is shown, and far less than a line of a megabyte: only this much is looked at.
    reach = (lines + 1) * 4 * _MAX_COLUMNS
    nearest = harmless(text[max(0, start - reach) : start]).split("\n")
    following = harmless(text[end : end + reach]).split("\n")
    before, after = nearest[-lines - 1 :], following[: lines + 1]
    return Surroundings(
        before="\n".join([*map(_shorten, before[:-1]), _shorten_left(before[-1])]),
        after="\n".join(map(_shorten, after)),
        first_line=line_number(text, start) + 1 - len(before),
    )


def _shorten(line: str) -> str:
    return line if len(line) <= _MAX_COLUMNS else line[: _MAX_COLUMNS - 1] + "…"


def _shorten_left(line: str) -> str:
    return line if len(line) <= _MAX_COLUMNS else "…" + line[1 - _MAX_COLUMNS :]


def draw_code(around: Surroundings, middle: Text) -> Table:
    """The code with `middle` in its hole, a numbered row for each line."""
    code = Text(tab_size=4)
    code.append(around.before, Style(color="grey62"))
    code.append_text(middle)
    code.append(around.after, Style(color="grey62"))
    table = Table.grid(padding=(0, 1))
    table.add_column(justify="right", style="grey35", no_wrap=True)
    table.add_column(overflow="fold")
    for number, line in enumerate(code.split("\n", allow_blank=True), around.first_line):
        table.add_row(str(number), line)
    return table


def draw_tokens(tokens: Sequence[CanvasToken]) -> Text:
    """A canvas, each token shaded by its confidence."""
    text = Text()
    for token in tokens:
        text.append(harmless(token.text), shade(token.confidence))
    return text


@dataclass(frozen=True, kw_only=True)
class Frame:
    """One state of a canvas: the step's number (from 1), what it holds, and the time it took so far."""

    number: int
    tokens: tuple[CanvasToken, ...]
    confidence: float
    elapsed_ms: float


def draw_frame(around: Surroundings, frame: Frame) -> Table:
    """A frame with its counters above: at the top, so that a long canvas cannot push them off."""
    tokens = "1 token" if len(frame.tokens) == 1 else f"{len(frame.tokens)} tokens"
    counters = f"step {frame.number} · {tokens} · {frame.confidence:.0%} sure · {frame.elapsed_ms:.0f} ms"
    table = Table.grid()
    table.add_row(Text(counters, Style(color="cyan")))
    table.add_row(draw_code(around, draw_tokens(frame.tokens)))
    return table


class CanvasView:
    """Shows frames in place, each for at least `frame_ms`; nothing of it stays on the screen.

    The pause does not slow the denoiser as long as it runs in another thread.
    """

    def __init__(self, console: Console, frame_ms: float) -> None:
        self._pause_s = frame_ms / 1000
        self._live = Live(console=console, auto_refresh=False, transient=True, vertical_overflow="crop")

    def __enter__(self) -> CanvasView:
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()

    def show(self, around: Surroundings, frame: Frame) -> None:
        """Draw a frame over the previous one."""
        self._live.update(draw_frame(around, frame), refresh=True)
        time.sleep(self._pause_s)
