"""What the server costs without its model: `python -m benchmarks.server_overhead`.

The engine is a scripted one that answers at once, so that what is measured is ours: bytes in, snapshot,
parse, context, post-processing, item, bytes out. Four things are timed in turn, so that a busy machine
slows all of them:

- an inline completion after a keystroke, each somewhere else, in a file of 10,000 lines,
- a request that does nothing (`infill.status`), which is what the protocol alone costs,
- a keystroke, each somewhere else, in a file of 50,000 lines: taking the change, and parsing what it changed,
- starting `infill lsp`, until it has answered `initialize`.

Of each the time on the clock and, but for the last, the processor's time in this process are told: where
other programs keep the machine busy, only the second says something about this one. The last line is JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from statistics import median, quantiles

from lsp.documents import Change, Documents
from tests.fakes.engine import ScriptedEngine
from tests.lsp.session import URI, connect

_FUNCTION = '''def handler_{n}(request, context=None):
    """Answer one request."""
    if request is None:
        return {{}}
    values = [item.value for item in request.items if item]
    total = sum(values) + {n}
    for index, value in enumerate(values):
        context[index] = value * total

    return {{"total": total}}
'''


def source(lines: int) -> str:
    """A Python file of about so many lines."""
    return "".join(_FUNCTION.format(n=n) for n in range(lines // 10))


class Times:
    """Times of one thing, on the clock and on the processor, in milliseconds."""

    def __init__(self) -> None:
        self._wall: list[float] = []
        self._cpu: list[float] = []

    @contextmanager
    def one(self, *, counted: bool = True) -> Iterator[None]:
        """Time what is done meanwhile, unless it is the warm-up."""
        wall, cpu = time.perf_counter(), time.process_time()
        yield
        if counted:
            self._wall.append((time.perf_counter() - wall) * 1000)
            self._cpu.append((time.process_time() - cpu) * 1000)

    def summary(self) -> dict[str, float]:
        """p50 and p99 of both."""
        return {
            f"{name}_{share}_ms": round(quantiles(times, n=100)[share - 1], 3)
            for name, times in (("wall", self._wall), ("cpu", self._cpu))
            for share in (50, 99)
        }


async def requests(count: int, warm_up: int) -> dict[str, Times]:
    """The first two of the three things."""
    text = source(10_000)
    draw = random.Random(0)
    inline, nothing = Times(), Times()
    async with connect(ScriptedEngine(["value"], steps=1), options={"debounce_ms": 0}) as session:
        session.open(text)
        for n, function in enumerate(draw.sample(range(1000), warm_up + count)):
            line, counted = function * 10 + 5, n >= warm_up
            end = len(f"    total = sum(values) + {function}")
            at = {"line": line, "character": end}
            session.change(n + 2, {"range": {"start": at, "end": at}, "text": "+"})
            await session.request("workspace/executeCommand", {"command": "infill.status"})
            with inline.one(counted=counted):
                assert await session.inline(line, end + 1)
            with nothing.one(counted=counted):
                await session.request("workspace/executeCommand", {"command": "infill.status"})
            session.received.clear()
            after = {"line": line, "character": end + 1}  # the next one is asked in a text that is whole
            session.change(n + 2, {"range": {"start": at, "end": after}, "text": ""})
    return {"inline_10k_lines": inline, "nothing": nothing}


def keystrokes(count: int, warm_up: int) -> dict[str, Times]:
    """The third."""
    documents = Documents()
    documents.open(URI, "python", 1, source(50_000))
    opened = documents.get(URI)
    assert opened is not None
    assert opened.document.is_read(0, 0)
    draw = random.Random(0)
    change, parse, both = Times(), Times(), Times()
    for n in range(warm_up + count):
        line, counted = draw.randrange(5000) * 10 + 4, n >= warm_up
        with both.one(counted=counted):
            with change.one(counted=counted):
                documents.change(URI, n + 2, [Change(text="x", start=(line, 8), end=(line, 8))])
                at = opened.lines.offset(line, 8, documents.encoding)
            with parse.one(counted=counted):
                assert opened.document.is_read(at, at)
    return {"change_50k_lines": change, "parse_50k_lines": parse, "keystroke_50k_lines": both}


def initialize(count: int) -> dict[str, float]:
    """The fourth: the median and the longest."""
    times: list[float] = []
    request = {"jsonrpc": "2.0", "id": 1, "method": "initialize"}
    body = json.dumps({**request, "params": {"processId": None, "capabilities": {}}}).encode()
    for _ in range(count):
        began = time.perf_counter()
        with subprocess.Popen(
            [sys.executable, "-m", "lsp", "lsp", "--engine", "in-process"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        ) as server:
            assert server.stdin is not None
            assert server.stdout is not None
            server.stdin.write(b"Content-Length: %d\r\n\r\n" % len(body) + body)
            server.stdin.flush()
            length = 0
            while (line := server.stdout.readline()) != b"\r\n":
                length = (
                    int(line.partition(b":")[2]) if line.lower().startswith(b"content-length") else length
                )
            assert b'"capabilities"' in server.stdout.read(length)
            times.append((time.perf_counter() - began) * 1000)
            server.kill()
    return {"wall_50_ms": round(median(times), 3), "wall_max_ms": round(max(times), 3)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--count", type=int, default=300, help="how often each is timed")
    parser.add_argument("--warm-up", type=int, default=20)
    parser.add_argument("--starts", type=int, default=20, help="how often the server is started")
    options = parser.parse_args()
    found = asyncio.run(requests(options.count, options.warm_up))
    found |= keystrokes(options.count, options.warm_up)
    summaries = {name: times.summary() for name, times in found.items()}
    summaries["initialize"] = initialize(options.starts)
    for name, summary in summaries.items():
        print(f"{name:<18}", "  ".join(f"{what} {ms:8.2f}" for what, ms in summary.items()))
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    print(json.dumps({**summaries, "count": options.count, "cores": os.cpu_count(), "load": load}))


if __name__ == "__main__":
    main()
