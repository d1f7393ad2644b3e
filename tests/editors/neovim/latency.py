"""`python -m tests.editors.neovim.latency NVIM`: from a key typed to the suggestion on the screen.

Twice: with the real server and the embedded model, warm, and with a scripted server that answers at once,
which leaves the client's own share (the pause it waits for further keys included). Every round's line has a
name of its own, so that no answer comes from memory. Ends with one JSON line, in milliseconds; `shown` is how
many rounds had a suggestion within the patience.
"""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from tests.editors.neovim.child import SERVER, Neovim
from tests.editors.neovim.conftest import EXAMPLE, SCRIPTED

ROUNDS = 20
PATIENCE_S = 5.0


def before_key(number: int) -> str:
    """A round's line up to the key."""
    return f"        self.items{number}.append"


def measure(program: str, server: list[str], folder: Path) -> list[float]:
    """Milliseconds from a key to painted ghost text, one for each round that had a suggestion, sorted."""
    times: list[float] = []
    neovim = Neovim(program, folder)
    try:
        neovim.setup(cmd=server)
        neovim.edit("stack.py", EXAMPLE)
        neovim.ready()
        for number in range(ROUNDS + 1):
            _enter(neovim, before_key(number))
            began = time.perf_counter()
            neovim.keys("(")
            try:
                neovim.until(neovim.ghost, "suggested", PATIENCE_S)
            except AssertionError:
                continue
            if number > 0:  # the first one warms up
                times.append((time.perf_counter() - began) * 1000)
    finally:
        neovim.close()
    return sorted(times)


def _enter(neovim: Neovim, before: str) -> None:
    """Make the line, and wait in insert mode for the key."""
    neovim.keys("<Esc>")
    neovim.until(lambda: neovim.nvim.api.get_mode()["mode"] == "n", "in normal mode")
    neovim.nvim.funcs.setline(14, f"{before})")
    neovim.nvim.funcs.cursor(14, len(before))
    neovim.keys("a")
    neovim.until(lambda: neovim.nvim.api.get_mode()["mode"] == "i", "in insert mode")


def _summary(times: list[float]) -> dict[str, Any]:
    if not times:
        return {"shown": 0, "of": ROUNDS}
    p90 = times[int(0.9 * len(times))]
    return {
        "shown": len(times),
        "of": ROUNDS,
        "p50_ms": round(statistics.median(times)),
        "p90_ms": round(p90),
        "min_ms": round(times[0]),
    }


def main() -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        script = folder / "script.json"
        suggestions = {f"{before_key(number)}(": ["item"] for number in range(ROUNDS + 1)}
        script.write_text(json.dumps({"suggestions": suggestions}))
        report = {
            "real": _summary(measure(sys.argv[1], SERVER, folder / "real")),
            "client": _summary(
                measure(sys.argv[1], [sys.executable, str(SCRIPTED), str(script)], folder / "scripted")
            ),
        }
    sys.stdout.write(json.dumps(report) + "\n")


if __name__ == "__main__":
    main()
