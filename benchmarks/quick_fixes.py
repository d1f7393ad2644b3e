"""A quick fix from the request to the edit: `python -m benchmarks.quick_fixes DIR [--bugs 5]`.

The server and its protocol are the real ones, over pipes in this process, with the embedded model. One-token
bugs are put into the Python functions of DIR; each is told to the server as another tool's diagnostic, and
what is timed is `textDocument/codeAction` with the `codeAction/resolve` of its first answer, on the clock and
on the processor. Ends with one JSON line.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import time
from pathlib import Path

from engine.inprocess import load_engine
from infill.evaluate.fixes_bugs import TOKENS, Bug, inject
from infill.evaluate.fixes_functions import functions
from infill.evaluate.metrics import percentile
from tests.lsp.session import URI, Json, Session, connect


def bugs(directory: Path, each: int, seed: int) -> list[Bug]:
    """So many of each kind, in the order of a keyboard's user: mixed."""
    pool = functions(directory, 2000, seed)
    draw = random.Random(seed)
    found: list[Bug] = []
    for kind in TOKENS:
        made = (inject(kind, function, draw) for function in pool)
        found += [bug for _, bug in zip(range(each), (b for b in made if b is not None), strict=False)]
    draw.shuffle(found)
    return found


def diagnostic(bug: Bug) -> Json:
    """The bug's place as another tool would tell it; lines and UTF-16 columns, of ASCII code."""
    places = []
    for offset in (bug.undo.start, bug.undo.end):
        before = bug.text[:offset]
        places.append({"line": before.count("\n"), "character": len(before.rpartition("\n")[2])})
    return {"range": {"start": places[0], "end": places[1]}, "message": "this looks wrong", "source": "other"}


async def fix(session: Session, bug: Bug, version: int) -> tuple[float, float, bool]:
    """Wall and processor milliseconds, and whether there was an edit."""
    session.change(version, {"text": bug.text})
    told = diagnostic(bug)
    await session.request("workspace/executeCommand", {"command": "infill.status"})  # the text is there
    wall, cpu = time.perf_counter(), time.process_time()
    params = {
        "textDocument": {"uri": URI},
        "range": told["range"],
        "context": {"diagnostics": [told], "only": ["quickfix"]},
    }
    actions = (await session.request("textDocument/codeAction", params))["result"]
    resolved = (await session.request("codeAction/resolve", actions[0]))["result"]
    times = 1000 * (time.perf_counter() - wall), 1000 * (time.process_time() - cpu)
    session.received.clear()
    return *times, "edit" in resolved


async def measure(directory: Path, each: int, seed: int) -> dict[str, float | int | str]:
    """Every bug once, after three that warm up."""
    engine = load_engine(None)
    chosen = bugs(directory, each, seed)
    async with connect(engine) as session:
        session.open("")
        rows = [await fix(session, bug, n + 2) for n, bug in enumerate([*chosen[:3], *chosen])][3:]
    return {
        "requests": len(rows),
        "offered": round(sum(edit for _, _, edit in rows) / len(rows), 3),
        **{
            f"{name}_ms_p{share}": round(percentile([row[at] for row in rows], share / 100), 1)
            for at, name in enumerate(("wall", "cpu"))
            for share in (50, 95)
        },
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("directory", type=Path, metavar="DIR")
    parser.add_argument("--bugs", type=int, default=5, help="of each kind")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    found = asyncio.run(measure(options.directory, options.bugs, options.seed))
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    print(json.dumps({"benchmark": "quick-fixes", **found, "cores": os.cpu_count(), "load": load}))


if __name__ == "__main__":
    main()
