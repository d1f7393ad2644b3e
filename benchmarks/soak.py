"""The resident engine under many requests: `python -m benchmarks.soak requests|typing|servers`.

- `requests`: 20,000 of 16 clients, and what the engine's memory grows by after the first tenth.
- `typing`: 16 clients that type for five minutes, each in a document of its own, every keystroke a request
  that takes the place of the one before, after the language server's own pause. Told are the answers that
  were lost (neither an answer nor that there is none in time), crossed (they do not begin with what that
  client has typed) and late (after their deadline); and those told that there is none, `dropped`, of which
  `told_late` learnt it more than half a second after the deadline.
- `servers`: eight language servers with a document each, the engine processes there are then, and what each
  server's memory adds.

With `--fake` the engine has no model, so that what is exercised is the service alone. The last line is JSON.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
import threading
import time
from collections import Counter
from contextlib import ExitStack
from pathlib import Path

from engine.errors import EngineError
from engine.request import DenoiseRequest, Prompt
from engine.resident import ResidentEngine, ask_status, open_resident
from engine.service.lifecycle import COMMAND, running, stop
from engine.service.place import Place
from lsp.restraint import Pace
from lsp.settings import Settings
from tests.e2e.test_stdio_process import start
from tests.engine.service.faults import environment, processes
from tests.engine.service.harness import FAKE
from tests.lsp.session import URI

CLIENTS = 16
TEXT = Path(__file__).read_text(encoding="utf-8")
_SERVER = [sys.executable, "-m", "lsp", "lsp"]
_KEYSTROKE_S, _THOUGHT_S = 0.15, 2.0
"""Mean pauses: between two keystrokes, and after every tenth or so."""
_TELLING_MS = 500.0
"""How long after a deadline it may take to learn that it was not kept."""


def ask(name: str, at: int, deadline_ms: float | None = None) -> DenoiseRequest:
    """A request whose every answer begins with `name`."""
    prompt = Prompt(prefix=TEXT[: 400 + at % 2000] + "\n    value = ", typed=name, suffix="\n")
    return DenoiseRequest(
        prompt=prompt, canvas_tokens=32, one_line=True, key="document", deadline_ms=deadline_ms
    )


def requests(place: Place, command: list[str], count: int) -> dict[str, object]:
    """See the module."""
    engines = [open_resident(None, place=place, command=command) for _ in range(CLIENTS)]
    tally: Counter[str] = Counter()

    def work(share: int, first: int) -> None:
        def one(client: int) -> None:
            for number in range(first, first + share):
                tally[outcome(engines[client], ask(f"c{client}", number * 7))] += 1

        run_all([threading.Thread(target=one, args=(client,)) for client in range(CLIENTS)])

    warm_up = count // CLIENTS // 10
    work(warm_up, 0)
    before = memory_bytes(place)
    work(count // CLIENTS - warm_up, warm_up)
    after = memory_bytes(place)
    for engine in engines:
        engine.close()
    return {
        "requests": sum(tally.values()),
        **tally,
        "warm_mib": round(before / 2**20, 1),
        "growth": round(after / before - 1, 4),
    }


def typing(place: Place, command: list[str], seconds: float, deadline_ms: float) -> dict[str, object]:
    """See the module."""
    tally: Counter[str] = Counter()
    times_ms: list[float] = []
    settings = Settings(deadline_ms=deadline_ms)
    engines = [open_resident(None, place=place, command=command) for _ in range(CLIENTS)]
    until = time.monotonic() + seconds

    def request(
        engine: ResidentEngine, pace: Pace, name: str, number: int, cancelled: threading.Event
    ) -> None:
        if cancelled.wait(pace.wait_ms(URI, settings) / 1000):
            tally["typed_on"] += 1  # the language server waits a little before it asks, and need not
            return
        began = time.monotonic()
        found = outcome(engine, ask(name, number, deadline_ms), cancelled)
        took_ms = 1000 * (time.monotonic() - began)
        if found == "answered":
            times_ms.append(took_ms)
            pace.answered(took_ms)
            tally["late"] += took_ms > deadline_ms
        elif found == "dropped":
            tally["told_late"] += took_ms > deadline_ms + _TELLING_MS
        tally[found] += 1

    def one(client: int) -> None:
        chance, engine, pace = random.Random(client), engines[client], Pace()
        cancelled, pending, number = threading.Event(), [], 0
        while time.monotonic() < until:
            cancelled.set()
            cancelled, number = threading.Event(), number + 1
            told = (engine, pace, f"c{client}n{number}", number, cancelled)
            asked = threading.Thread(target=request, args=told)
            asked.start()
            pending = [thread for thread in (*pending, asked) if thread.is_alive()]
            time.sleep(chance.expovariate(1 / (_THOUGHT_S if chance.random() < 0.1 else _KEYSTROKE_S)))
        for thread in pending:
            thread.join()
        engine.close()

    run_all([threading.Thread(target=one, args=(client,)) for client in range(CLIENTS)])
    times_ms.sort()
    requests = sum(tally.values()) - tally["late"] - tally["told_late"] - tally["typed_on"]
    out: dict[str, object] = {"seconds": seconds, "requests": requests, **tally}
    for name, share in (("p50_ms", 0.5), ("p99_ms", 0.99)):
        out[name] = round(times_ms[int(share * len(times_ms))], 1) if times_ms else None
    return out


def outcome(engine: ResidentEngine, request: DenoiseRequest, cancelled: threading.Event | None = None) -> str:
    """What became of a request: `answered`, `crossed`, `dropped` with a reason, `cancelled`, or `lost`."""
    cancelled = cancelled or threading.Event()
    try:
        steps = list(engine.denoise(request, cancelled))
    except EngineError as error:
        print(f"lost: {error}", file=sys.stderr)
        return "lost"
    last = steps[-1].canvases if steps and steps[-1].stop is not None else ()
    typed = request.prompt.typed
    # What a deadline cut off may not even have come to the end of what was typed.
    if not all(canvas.text.startswith(typed) or typed.startswith(canvas.text) for canvas in last):
        return "crossed"
    if cancelled.is_set():
        return "cancelled"
    return "answered" if last else "dropped"


def servers(place: Place, command: list[str], count: int) -> dict[str, object]:
    """See the module; Linux only."""
    own = ["--engine", "resident"]
    with environment(place), ExitStack() as stack:
        peers = [stack.enter_context(start([*_SERVER, *own])) for _ in range(count)]
        for peer in peers:
            peer.initialize()
            document = {"uri": URI, "languageId": "python", "version": 1, "text": "def f(x):\n    return "}
            peer.send("textDocument/didOpen", {"textDocument": document})
            params = {
                "textDocument": {"uri": URI},
                "position": {"line": 1, "character": 11},
                "context": {"triggerKind": 1},
            }
            peer.send("textDocument/inlineCompletion", params, 5)
            assert "result" in peer.answer(5)
        sizes = [_memory_kib(peer.process.pid) for peer in peers]
        engines = len(processes(place, command[-1]))
        address = running(place)
        clients = len(ask_status(address)["clients"]) if address is not None else 0
        for peer in peers:
            assert peer.leave() == 0
    return {
        "servers": count,
        "clients": clients,
        "engine_processes": engines,
        "resident_mib_most": round(max(size["Rss"] for size in sizes) / 1024, 1),
        "proportional_mib_most": round(max(size["Pss"] for size in sizes) / 1024, 1),
        "engine_mib": round(memory_bytes(place) / 2**20, 1),
    }


def _memory_kib(pid: int) -> dict[str, int]:
    """`Rss` counts what is shared with other processes, `Pss` its share of that."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines()[1:]
    return {line.split(":")[0]: int(line.split()[1]) for line in lines}


def memory_bytes(place: Place) -> int:
    """The engine's."""
    address = running(place)
    assert address is not None
    return int(ask_status(address)["memory_bytes"])


def run_all(threads: list[threading.Thread]) -> None:
    """Until all have ended."""
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def main() -> None:
    """Parse the arguments and measure."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("what", choices=["requests", "typing", "servers"])
    parser.add_argument("--count", type=int, default=20_000, help="of requests")
    parser.add_argument("--seconds", type=float, default=300.0, help="of typing")
    parser.add_argument("--deadline-ms", type=float, default=1500.0, help="of each keystroke")
    parser.add_argument("--servers", type=int, default=8)
    parser.add_argument("--fake", action="store_true", help="without a model")
    arguments = parser.parse_args()
    command = list(FAKE if arguments.fake else COMMAND)
    with tempfile.TemporaryDirectory(prefix="infill-") as folder:
        place = Place(folder=Path(folder))
        try:
            if arguments.what == "requests":
                result = requests(place, command, arguments.count)
            elif arguments.what == "typing":
                result = typing(place, command, arguments.seconds, arguments.deadline_ms)
            else:
                result = servers(place, command, arguments.servers)
        finally:
            stop(place)
    print(json.dumps({"what": arguments.what, "fake": arguments.fake, **result}))


if __name__ == "__main__":
    main()
