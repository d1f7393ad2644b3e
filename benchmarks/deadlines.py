"""Quality against milliseconds: fills with ever longer deadlines, scored like `infill eval holes`.

    python benchmarks/deadlines.py DIR [--limit 200] [--seed 0] [--ms 2 5 10 25] [--svg FILE]

DIR is a package to cut holes from; never one of those that judge us. Ends with one JSON line.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from threading import Event

sys.path.insert(0, str(Path(__file__).parent))
from chart import Series, write_chart

from engine.inprocess import load_engine
from engine.request import DenoiseRequest, Engine, EngineInfo, Step
from infill.evaluate.holes import cut_holes
from infill.evaluate.score import evaluate_holes


class Hurried:
    """An engine every request of which has a deadline of `ms`."""

    def __init__(self, engine: Engine, ms: float) -> None:
        self._engine, self._ms = engine, ms
        self.score, self.read = engine.score, engine.read

    def info(self) -> EngineInfo:
        """That of the engine."""
        return self._engine.info()

    def denoise(self, request: DenoiseRequest, cancelled: Event) -> Iterator[Step]:
        """Denoise, but not for longer than the deadline."""
        return self._engine.denoise(replace(request, deadline_ms=self._ms), cancelled)


def main() -> None:
    """Parse the arguments, evaluate once a deadline, draw, print the line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--limit", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--ms", type=float, nargs="+", default=[2, 5, 10, 15, 25, 50, 100])
    parser.add_argument("--svg", type=Path)
    arguments = parser.parse_args()
    holes = cut_holes(arguments.directory, arguments.limit, arguments.seed)
    engine = load_engine(None)
    points = []
    for ms in arguments.ms:
        report = evaluate_holes(Hurried(engine, ms), holes, seed=arguments.seed)
        row = next(row for row in report.rows if row.kind == "all" and row.method == report.rows[0].method)
        points.append(
            {
                "deadline_ms": ms,
                "exact": row.exact_match,
                "similarity": row.edit_similarity,
                "parses": row.parse_rate,
                "steps": row.steps_mean,
                "ms_p50": row.ms_p50,
            }
        )
    if arguments.svg:
        curves = [
            Series(name=name, points=[(point["deadline_ms"], point[key]) for point in points])
            for name, key in (("edit similarity", "similarity"), ("exact", "exact"))
        ]
        write_chart(arguments.svg, "Quality of fills", "deadline, ms", "share", curves)
    print(json.dumps({"benchmark": "deadlines", "holes": len(holes), "points": points}))


if __name__ == "__main__":
    main()
