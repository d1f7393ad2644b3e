"""Memory of the embedded engine, in a process of its own, after ever more different prompts.

    python benchmarks/memory.py DIR [--prompts 300] [--seed 0] [--decoding verify] [--canvas 32 64 128 256]

Prompts are cut from the Python files in DIR, each with another length and another prefix, as they come up
when somebody works in a project. What libraries keep for each new shape is what grows. Linux only. Ends with
one JSON line.
"""

from __future__ import annotations

import argparse
import json
import sys
import threading
from pathlib import Path

from engine.inprocess import load_engine
from engine.measure import peak_resident_bytes, resident_bytes
from engine.request import CANVAS_LENGTHS, Decoding, DenoiseRequest, Prompt, ReadRequest, ScoreRequest
from infill.evaluate.holes import cut_holes

_SHOWN = (0, 1, 10, 40, 100, 200, 300, 500, 1000)
_READ_EVERY = 10
"""Every so many prompts a text is read and another scored too, as quick fixes and repairs do."""


def main() -> None:
    """Parse the arguments, ask for fill after fill, print the line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--prompts", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--model")
    parser.add_argument("--decoding", choices=[each.value for each in Decoding], default="verify")
    parser.add_argument("--canvas", type=int, nargs="+", default=list(CANVAS_LENGTHS))
    arguments = parser.parse_args()
    holes = cut_holes(arguments.directory, arguments.prompts, arguments.seed)
    engine = load_engine(arguments.model)
    info, never = engine.info(), threading.Event()
    grown = {0: _megabytes(resident_bytes())}
    for number, hole in enumerate(holes, 1):
        prompt = Prompt(
            prefix=hole.before[-info.prefix_chars :][-17 * number % info.prefix_chars :],
            suffix=hole.after[: info.suffix_chars],
        )
        request = DenoiseRequest(
            prompt=prompt,
            canvas_tokens=arguments.canvas[number % len(arguments.canvas)],
            one_line=number % 2 == 0,
            decoding=Decoding(arguments.decoding),
        )
        for _ in engine.denoise(request, never):
            pass
        if number % _READ_EVERY == 0:
            engine.read(
                ReadRequest(prompt=prompt, text=hole.gold, views=number // _READ_EVERY % 3 + 1), never
            )
            engine.score(ScoreRequest(prompt=prompt, middles=(hole.gold, "pass\n")), never)
        if number in _SHOWN or number == len(holes):
            grown[number] = _megabytes(resident_bytes())
            print(f"{number} prompts: {grown[number]} MB", file=sys.stderr, flush=True)
    report = {"benchmark": "memory", "decoding": arguments.decoding, "dtype": info.dtype}
    print(json.dumps(report | {"resident_mb": grown, "peak_mb": _megabytes(peak_resident_bytes())}))


def _megabytes(size: int | None) -> int | None:
    return None if size is None else round(size / 2**20)


if __name__ == "__main__":
    main()
