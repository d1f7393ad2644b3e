"""Draws the losses of training runs: `python -m engine.training.curves RUN… --to docs/loss-curves.svg`.

The runs follow one another; each one's `log.jsonl` is drawn over the batches it counts. Knows nothing of
models.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from xml.sax.saxutils import escape

_WIDTH, _HEIGHT = 860, 420
_LEFT, _RIGHT, _TOP, _BOTTOM = 60, 20, 40, 50
_COLOURS = {
    "causal": "#1f77b4",
    "denoising": "#d62728",
    "held out causal": "#17becf",
    "held out denoising@0.5": "#ff7f0e",
    "held out denoising@1.0": "#9467bd",
}

Points = list[tuple[float, float]]


def read_curves(runs: Sequence[Path]) -> dict[str, Points]:
    """(batch, nats per token) of every loss, in order; raises OSError where a run has no log."""
    curves: dict[str, Points] = {name: [] for name in _COLOURS}
    for run in runs:
        for line in (run / "log.jsonl").read_text(encoding="utf-8").splitlines():
            entry = json.loads(line)
            prefix = "held out " if entry["kind"] == "held out" else ""
            for name in ("causal", "denoising", "denoising@0.5", "denoising@1.0"):
                if name in entry and prefix + name in curves:
                    curves[prefix + name].append((entry["batch"], entry[name]))
    return {name: points for name, points in curves.items() if points}


def draw(curves: dict[str, Points], title: str) -> str:
    """An SVG of the curves; losses above 8 nats, which only a first few batches have, are left out."""
    shown = {name: [(x, y) for x, y in points if y <= 8] for name, points in curves.items()}
    batches = [x for points in shown.values() for x, _ in points]
    left, right = min(batches), max(batches)
    top = max(y for points in shown.values() for _, y in points)

    def at(x: float, y: float) -> str:
        px = _LEFT + (_WIDTH - _LEFT - _RIGHT) * (x - left) / max(1, right - left)
        py = _HEIGHT - _BOTTOM - (_HEIGHT - _TOP - _BOTTOM) * y / top
        return f"{px:.1f},{py:.1f}"

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" font-family="sans-serif" '
        'font-size="12"><rect width="100%" height="100%" fill="white"/>',
        f'<text x="{_LEFT}" y="22" font-size="15">{escape(title)}</text>',
        *_grid(left, right, top, at),
    ]
    for index, (name, points) in enumerate(shown.items()):
        line = " ".join(at(x, y) for x, y in points)
        colour = _COLOURS[name]
        dots = "".join(
            f'<circle cx="{xy.split(",")[0]}" cy="{xy.split(",")[1]}" r="2.5" fill="{colour}"/>'
            for xy in (line.split() if name.startswith("held out") else [])
        )
        parts.append(f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="1.4"/>{dots}')
        x, y = _LEFT + 10 + 160 * index, _HEIGHT - 8
        parts.append(f'<text x="{x}" y="{y}" fill="{colour}">{escape(name)}</text>')
    return "\n".join([*parts, "</svg>\n"])


def _grid(left: float, right: float, top: float, at: Callable[[float, float], str]) -> Iterable[str]:
    for level in range(int(top) + 1):
        x, y = at(left, level).split(",")
        yield f'<line x1="{x}" x2="{_WIDTH - _RIGHT}" y1="{y}" y2="{y}" stroke="#ddd"/>'
        yield f'<text x="{_LEFT - 8}" y="{y}" text-anchor="end" dominant-baseline="middle">{level}</text>'
    for step in range(5):
        batch = left + (right - left) * step / 4
        x, y = at(batch, 0).split(",")
        anchor = "end" if step == 4 else "middle"
        yield f'<text x="{x}" y="{float(y) + 18:.1f}" text-anchor="{anchor}">batch {batch:.0f}</text>'


def main() -> int:
    """The command line; see `--help`."""
    parser = argparse.ArgumentParser(prog="python -m engine.training.curves", description=__doc__)
    parser.add_argument("runs", nargs="+", type=Path, help="folders of runs, first to last")
    parser.add_argument("--to", type=Path, required=True, help="the SVG to write")
    parser.add_argument("--title", default="Losses in nats per token")
    args = parser.parse_args()
    args.to.write_text(draw(read_curves(args.runs), args.title), encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
