"""`python -m tests.editors.neovim.latency NVIM`: from a key typed to the suggestion on the screen.

The real server and the embedded model, warm. Each round types one character that no suggestion begins with
and then deletes up to the hole again, so that nothing is reused; the time runs from sending the last key to
its ghost text. Ends with one JSON line, in milliseconds.
"""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
import time
from pathlib import Path

from tests.editors.neovim.child import ROOT, Neovim

ROUNDS = 20
TEXT = (ROOT / "examples" / "stack.py").read_text()


def measure(program: str, rounds: int = ROUNDS) -> list[float]:
    """Milliseconds from a key to painted ghost text, one for each round that had a suggestion."""
    times: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        neovim = Neovim(program, Path(folder))
        try:
            neovim.setup()
            neovim.edit("stack.py", TEXT.replace("self.items.append()", "self.items.append)"))
            neovim.ready()
            for number in range(rounds + 1):
                # A name of its own each time: the answer cannot come from memory.
                hole = f"        self.items{number}.append)"
                neovim.keys("<Esc>")
                neovim.until(lambda: neovim.nvim.api.get_mode()["mode"] == "n", "in normal mode")
                neovim.nvim.funcs.setline(14, hole)
                neovim.nvim.funcs.cursor(14, len(hole) - 1)
                neovim.keys("a")
                neovim.until(lambda: neovim.nvim.api.get_mode()["mode"] == "i", "in insert mode")
                began = time.perf_counter()
                neovim.keys("(")
                try:
                    neovim.until(neovim.ghost, "suggested", 5.0)
                except AssertionError:
                    continue
                if number > 0:  # the first one warms up
                    times.append((time.perf_counter() - began) * 1000)
        finally:
            neovim.close()
    return times


def main() -> None:
    """Measure and print."""
    times = sorted(measure(sys.argv[1]))
    report = {
        "shown": len(times),
        "of": ROUNDS,
        "p50_ms": round(statistics.median(times)),
        "p90_ms": round(times[int(0.9 * len(times))]),
        "min_ms": round(times[0]),
    }
    sys.stdout.write(json.dumps(report) + "\n")


if __name__ == "__main__":
    main()
