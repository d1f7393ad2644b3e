"""Fills ten holes of a package the model never saw and prints the README's table, good and bad alike.

The holes are the first ten that `infill eval holes` cuts with this seed: nobody chose them. The package
is `click`, which training never reads (its manifest refuses it):

    pip download --no-deps --no-binary :none: --dest /tmp/click click==8.1.8
    unzip -d /tmp/click /tmp/click/*.whl
    python benchmarks/ten_holes.py /tmp/click/click
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from engine.inprocess import load_engine
from infill.evaluate.holes import Hole, cut_holes
from infill.evaluate.score import Fill, fill_hole

SHOWN_CHARS = 60


def main() -> int:
    """Fill the holes, print a Markdown table and one JSON line."""
    parser = argparse.ArgumentParser(description="Fill ten holes of a package the model never saw.")
    parser.add_argument("directory", type=Path)
    parser.add_argument("--model")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--holes", type=int, default=10)
    arguments = parser.parse_args()
    engine = load_engine(arguments.model)
    holes = cut_holes(arguments.directory, arguments.holes, arguments.seed)
    fills = [fill_hole(engine, hole, arguments.seed) for hole in holes]
    print("| hole | before it | was there | suggested | |")
    print("|---|---|---|---|---|")
    for hole, fill in zip(holes, fills, strict=True):
        print(f"| {_place(hole)} | {_code(_line_before(hole))} | {_code(hole.gold)} | {_told(fill)} |")
    exact = sum(fill.middle.strip() == fill.hole.gold.strip() for fill in fills)
    parse = sum(fill.parses for fill in fills if fill.rejected is None)
    shown = sum(fill.rejected is None for fill in fills)
    print(json.dumps({"holes": len(fills), "exact": exact, "shown": shown, "parse": parse}))
    return 0


def _place(hole: Hole) -> str:
    line = hole.before.count("\n") + 1
    return f"{hole.kind}, {hole.path}:{line}"


def _line_before(hole: Hole) -> str:
    return hole.before.rpartition("\n")[2].strip()


def _told(fill: Fill) -> str:
    if fill.rejected is not None:
        return f"— | not shown: {fill.rejected.replace('_', ' ')}"
    verdict = (
        "exact" if fill.middle.strip() == fill.hole.gold.strip() else "parses" if fill.parses else "broken"
    )
    return f"{_code(fill.middle)} | {verdict}"


def _code(text: str) -> str:
    """One line of code for a table cell; the middle of a long one is left out."""
    line = " ⏎ ".join(part.strip() for part in text.strip().split("\n"))
    if len(line) > SHOWN_CHARS:
        line = f"{line[: SHOWN_CHARS // 2]} … {line[-SHOWN_CHARS // 2 :]}"
    # A pipe would end the cell, a backtick the code.
    line = line.replace("|", "\\|").replace("`", "'")
    return f"`{line}`" if line else ""


if __name__ == "__main__":
    sys.exit(main())
