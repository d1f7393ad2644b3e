"""Processor time of a step by canvas and by prefix length, as a picture.

    python benchmarks/latency.py [--rounds 5] [--svg docs/latency.svg]

Points are measured in turns; each is the median over rounds of the processor's milliseconds, with one
thread, so that other programs change little. Ends with one JSON line.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from chart import Series, write_chart

from engine.inprocess import load_engine
from engine.measure import Meter
from engine.request import CANVAS_LENGTHS

_PREFIXES = (32, 128, 300, 1000)
_STEPS = 6


def main() -> None:
    """Parse the arguments, measure, draw, print the line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--svg", type=Path, default=Path("docs/latency.svg"))
    arguments = parser.parse_args()
    engine = load_engine(None)
    engine.network.use_threads(1)
    meters = {prefix: Meter(engine, prefix) for prefix in _PREFIXES}
    times: dict[tuple[int, int], list[float]] = {}
    for turn in range(arguments.rounds + 1):
        for prefix, meter in meters.items():
            for canvas in CANVAS_LENGTHS:
                meter.steps_ms(canvas_tokens=canvas, candidates=1, steps=1)  # the prompt is cached now
                used = time.process_time()
                meter.steps_ms(canvas_tokens=canvas, candidates=1, steps=_STEPS)
                if turn:
                    times.setdefault((prefix, canvas), []).append(1e3 * (time.process_time() - used) / _STEPS)
    series = [
        Series(
            name=f"{prefix} prompt tokens",
            points=[(float(canvas), statistics.median(times[prefix, canvas])) for canvas in CANVAS_LENGTHS],
        )
        for prefix in _PREFIXES
    ]
    write_chart(arguments.svg, "A denoising step, one thread", "canvas, tokens", "ms", series)
    points = {line.name: dict(line.points) for line in series}
    print(json.dumps({"benchmark": "latency", "dtype": str(engine.info().dtype), "ms_per_step": points}))


if __name__ == "__main__":
    main()
