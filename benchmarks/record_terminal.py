"""Records `infill fill` in a terminal as one picture, docs/fill.svg, from a real run.

Fills a hole of a sample file with the drawing code of the command itself, on a recording console:
the command line, a few of the denoising steps one below the other, and the result. Nothing is posed:
what the model says is what is drawn, a rejection too.

    python benchmarks/record_terminal.py [--model DIR|HUB_ID] [--seed N] [FILE:LINE:COL] [OUTPUT]
"""

from __future__ import annotations

import argparse
import io
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.rule import Rule
from rich.text import Text

from engine.inprocess import load_engine
from infill.pipeline import Progress
from infill.request import FillRequest, Rejected, Suggestion
from lsp.commands.fill import FillOptions, fill_in_thread, frame_of, prepare
from lsp.terminal import draw_code, draw_frame, harmless, shade, surroundings

ROOT = Path(__file__).resolve().parent.parent
TARGET = "examples/stack.py:14:27"
OUTPUT = "docs/fill.svg"
COLUMNS = 84
SHOWN_STEPS = 4
CONTEXT_LINES = 2


def main() -> int:
    """Run the fill, draw it, and say in one JSON line what was recorded."""
    parser = argparse.ArgumentParser(description="Record `infill fill` as a picture.")
    parser.add_argument("target", nargs="?", default=TARGET, metavar="FILE:LINE:COL")
    parser.add_argument("output", nargs="?", default=OUTPUT, type=Path)
    parser.add_argument("--model")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    os.chdir(ROOT)
    options = FillOptions(target=arguments.target, model=arguments.model, seed=arguments.seed)
    _, request = prepare(options)
    engine = load_engine(options.model)
    fill_in_thread(engine, request, lambda progress: None)  # the first fill pays for warming up
    steps: list[Progress] = []
    outcome = fill_in_thread(engine, request, steps.append)
    console = Console(
        record=True, force_terminal=True, color_system="truecolor", width=COLUMNS, file=io.StringIO()
    )
    draw(console, options.target, request, steps, outcome)
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    arguments.output.write_text(console.export_svg(title="infill fill", unique_id="fill"), encoding="utf-8")
    report = {
        "picture": str(arguments.output),
        "target": options.target,
        "seed": options.seed,
        "model": outcome.model,
        "steps": outcome.steps,
        "ms": round(outcome.elapsed_ms, 1),
        "text": outcome.text,
        "rejected": outcome.message if isinstance(outcome, Rejected) else None,
    }
    print(json.dumps(report))
    return 0


def draw(
    console: Console,
    target: str,
    request: FillRequest,
    steps: Sequence[Progress],
    outcome: Suggestion | Rejected,
) -> None:
    """Draw the command, some steps and the outcome, as a terminal shows them one after the other."""
    console.print(Text(f"$ infill fill {target}", "bold"))
    for progress in spread(steps, SHOWN_STEPS):
        console.print(Rule(style="grey23"))
        around = surroundings(request.text, progress.start, progress.hole.end, CONTEXT_LINES)
        console.print(draw_frame(around, frame_of(progress)))
    console.print(Rule(style="grey50"))
    if isinstance(outcome, Rejected):
        console.print(Text(f"no suggestion: {harmless(outcome.message)}"))
        return
    around = surroundings(request.text, outcome.start, outcome.end, CONTEXT_LINES)
    console.print(draw_code(around, Text(harmless(outcome.text), shade(1.0))))
    console.print(
        Text(f"{outcome.steps} steps · {outcome.elapsed_ms:.0f} ms · {outcome.confidence:.0%} sure", "cyan")
    )


def spread(steps: Sequence[Progress], count: int) -> list[Progress]:
    """The first step, the last, and others evenly between, `count` in all where there are as many."""
    if len(steps) <= count:
        return list(steps)
    return [steps[round(index * (len(steps) - 1) / (count - 1))] for index in range(count)]


if __name__ == "__main__":
    sys.exit(main())
