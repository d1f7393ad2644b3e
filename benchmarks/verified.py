"""What drafts spare: `python -m benchmarks.verified HELD_OUT`.

The blocks of a folder's files are written along verified drafts and token by token, which gives the same
text. Requests are those of `infill eval holes`, other files included, with prompts that are cached; a block's
two ways take turns, the quickest of five rounds counts, and sums over all blocks are compared. The last line
is JSON.
"""

from __future__ import annotations

import argparse
import json
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

from engine.inprocess import InProcessEngine, load_engine
from engine.request import Decoding, DenoiseRequest, Engine, Step
from infill.evaluate.holes import cut_holes, with_nearby
from infill.evaluate.score import fill_hole

WAYS = (Decoding.VERIFY, Decoding.CAUSAL)
ROUNDS = 5


@dataclass(kw_only=True)
class Overheard:
    """An engine that keeps the `requests` for several lines."""

    engine: InProcessEngine
    requests: list[DenoiseRequest] = field(default_factory=list)

    def denoise(self, request: DenoiseRequest, cancelled: threading.Event) -> Iterator[Step]:
        """See `engine.request.Engine.denoise`."""
        if not request.one_line:
            self.requests.append(replace(request, deadline_ms=None))
        yield from self.engine.denoise(request, cancelled)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.engine, name)


def requests_for(engine: InProcessEngine, folder: Path, limit: int) -> list[DenoiseRequest]:
    """What is asked for the blocks among so many holes."""
    overheard = Overheard(engine=engine)
    blocks = [hole for hole in cut_holes(folder, limit, seed=3) if hole.kind == "block"]
    for hole in with_nearby(blocks, folder, engine.info().nearby_chars):
        fill_hole(cast(Engine, overheard), hole, 0)
    return overheard.requests


def written(engine: Engine, request: DenoiseRequest) -> tuple[float, Step]:
    """Seconds, and the last step."""
    began = time.perf_counter()
    *_, last = engine.denoise(request, threading.Event())
    return time.perf_counter() - began, last


def compare(engine: Engine, requests: list[DenoiseRequest], candidates: int) -> dict[str, object]:
    """Both ways for all requests, with so many candidates."""
    seconds, forwards = dict.fromkeys(WAYS, 0.0), dict.fromkeys(WAYS, 0)
    for request in requests:
        asked = {way: replace(request, decoding=way, candidates=candidates) for way in WAYS}
        best = dict.fromkeys(WAYS, float("inf"))
        texts = {}
        for round_ in range(ROUNDS + 1):  # the first one warms up
            for way in WAYS[:: 1 if round_ % 2 else -1]:
                took, last = written(engine, asked[way])
                texts[way] = last.number, [canvas.text for canvas in last.canvases]
                best[way] = min(best[way], took) if round_ else best[way]
        assert texts[WAYS[0]][1] == texts[WAYS[1]][1], "drafts have changed a text"
        for way in WAYS:
            seconds[way] += best[way]
            forwards[way] += texts[way][0]
    count = len(requests)
    return {
        "candidates": candidates,
        "ms": {way.value: round(1000 * seconds[way] / count, 2) for way in WAYS},
        "forwards": {way.value: round(forwards[way] / count, 1) for way in WAYS},
        "share_of_time": round(seconds[WAYS[0]] / seconds[WAYS[1]], 3),
    }


def main() -> None:
    """Parse the arguments and measure."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--limit", type=int, default=1600, help="holes of all kinds to cut")
    arguments = parser.parse_args()
    engine = load_engine(None)
    requests = requests_for(engine, arguments.folder, arguments.limit)
    rows = [compare(engine, requests, candidates) for candidates in (1, 3)]
    print(json.dumps({"benchmark": "verified", "blocks": len(requests), "rows": rows}))


if __name__ == "__main__":
    main()
