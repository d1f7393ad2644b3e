"""A line chart as SVG, without a plotting library; it follows the reader's light or dark theme."""

from __future__ import annotations

import math
from dataclasses import dataclass
from html import escape
from pathlib import Path

_WIDTH, _HEIGHT, _LEFT, _BOTTOM, _TOP, _RIGHT = 640, 370, 64, 48, 58, 150
_COLOURS = ("#3b82f6", "#e11d48", "#16a34a", "#d97706", "#7c3aed")
_TICKS = 5
_APART = 14.0
"""Between the names of two lines, which stand behind their ends."""


@dataclass(frozen=True, kw_only=True)
class Series:
    """One line: its name and its points (x, y), x ascending."""

    name: str
    points: list[tuple[float, float]]


def write_chart(path: Path, title: str, x_name: str, y_name: str, series: list[Series]) -> None:
    """Write `series` as a chart whose axes begin at 0."""
    right = max(x for line in series for x, _ in line.points)
    across, upwards = _step(right), _step(max(y for line in series for _, y in line.points))
    top = upwards * max(1, math.ceil(max(y for line in series for _, y in line.points) / upwards))

    def at(x: float, y: float) -> tuple[float, float]:
        wide, high = _WIDTH - _LEFT - _RIGHT, _HEIGHT - _TOP - _BOTTOM
        return _LEFT + wide * x / right, _HEIGHT - _BOTTOM - high * y / top

    parts = [_text(_LEFT, 22, title, "start", bold=True)]
    parts.append(_text((_LEFT + _WIDTH - _RIGHT) / 2, _HEIGHT - 10, x_name, "middle"))
    parts.append(_text(8, _TOP - 8, y_name, "start"))
    for tick in range(int(right / across + 1e-9) + 1):
        x_at, base = at(tick * across, 0)
        parts.append(_text(x_at, base + 18, f"{tick * across:.3g}", "middle"))
    for tick in range(round(top / upwards) + 1):
        left, y_at = at(0, tick * upwards)
        parts.append(_text(left - 6, y_at + 4, f"{tick * upwards:.3g}", "end"))
        end = _WIDTH - _RIGHT
        parts.append(f'<path d="M{left:.1f} {y_at:.1f}H{end}" stroke="#8888" stroke-width=".5"/>')
    ends = _apart([at(*line.points[-1])[1] for line in series])
    for index, line in enumerate(series):
        colour = _COLOURS[index % len(_COLOURS)]
        path_points = "L".join(f"{x:.1f} {y:.1f}" for x, y in (at(*point) for point in line.points))
        parts.append(f'<path d="M{path_points}" fill="none" stroke="{colour}" stroke-width="2"/>')
        x, _ = at(*line.points[-1])
        parts.append(_text(x + 6, ends[index] + 4, line.name, "start", colour))
    path.write_text(
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" '
        f'font-family="sans-serif" font-size="12">\n' + "\n".join(parts) + "\n</svg>\n",
        encoding="utf-8",
    )


def _step(most: float) -> float:
    """A round number that goes into `most` about `_TICKS` times."""
    rough = (most or 1.0) / _TICKS
    power = 10.0 ** math.floor(math.log10(rough))
    return next(step * power for step in (1, 2, 5, 10) if step * power >= rough)


def _apart(heights: list[float]) -> list[float]:
    """The same heights, moved up as far as they would be too close; the lowest stays."""
    out = [*heights]
    free = math.inf
    for index in sorted(range(len(heights)), key=lambda each: -heights[each]):
        out[index] = free = min(heights[index], free - _APART)
    return out


def _text(x: float, y: float, text: str, anchor: str, colour: str = "#888", *, bold: bool = False) -> str:
    weight = ' font-weight="bold"' if bold else ""
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{colour}"{weight}>{escape(text)}</text>'
    )
