"""What the resident engine costs: its latency against an engine in this process, and memory per client.

Requests alternate between the two, so that whatever else the machine does weighs on both; both load the
embedded model. `--faults N` instead does harm at random N times and `--soak N` sends N requests of 16
clients. Ends with one JSON line.
"""

from __future__ import annotations

import argparse
import json
import random
import tempfile
import threading
import time
from pathlib import Path

from engine.inprocess import load_engine
from engine.request import DenoiseRequest, Engine, Prompt
from engine.resident import ask_status, open_resident
from engine.service.lifecycle import running, stop
from engine.service.place import Place
from tests.engine.service.harness import answer, client, until
from tests.engine.service.test_lifecycle import answers, fault

TEXT = Path(__file__).read_text(encoding="utf-8")


def ask(index: int, steps: int) -> DenoiseRequest:
    """A request as typing makes them: each a little further on."""
    return DenoiseRequest(
        prompt=Prompt(prefix=TEXT[: 1000 + index % 500], suffix=TEXT[1600:1800]),
        canvas_tokens=32,
        seed=index,
        max_steps=steps,
    )


def timed_ms(engine: Engine, request: DenoiseRequest) -> float:
    """How long one request takes."""
    began = time.perf_counter()
    list(engine.denoise(request, threading.Event()))
    return 1000 * (time.perf_counter() - began)


def quantile(values: list[float], q: float) -> float:
    """By the nearest rank."""
    return sorted(values)[min(len(values) - 1, int(q * len(values)))]


def latency(place: Place, rounds: int, steps: int) -> dict[str, float]:
    """Both engines in turn; the difference is of their quantiles."""
    resident, own = open_resident(None, place=place), load_engine(None)
    for index in range(5):
        timed_ms(resident, ask(index, steps))
        timed_ms(own, ask(index, steps))
    pairs = [(timed_ms(resident, ask(i, steps)), timed_ms(own, ask(i, steps))) for i in range(rounds)]
    resident.close()
    there, here = ([pair[side] for pair in pairs] for side in (0, 1))
    out = {}
    for name, q in (("p50", 0.5), ("p99", 0.99)):
        out[f"resident_{name}_ms"], out[f"in_process_{name}_ms"] = quantile(there, q), quantile(here, q)
        out[f"added_{name}_ms"] = quantile(there, q) - quantile(here, q)
    out["median_of_differences_ms"] = quantile([a - b for a, b in pairs], 0.5)
    return out


def faults(place: Place, rounds: int) -> dict[str, float]:
    """Harm, and whether it serves again each time."""
    chance, engine = random.Random(1), client(place)
    for _ in range(rounds):
        fault(place, chance)
        until(lambda: answers(engine))
    engine.close()
    return {"rounds": rounds, "served_again": rounds}


def soak(place: Place, requests: int) -> dict[str, float]:
    """16 clients at once; memory after a tenth of the requests against memory at the end."""
    engines = [client(place) for _ in range(16)]
    wrong: list[str] = []

    def work(count: int) -> None:
        def one(engine: Engine) -> None:
            for _ in range(count):
                if answer(engine) != "1":  # type: ignore[arg-type]
                    wrong.append("crossed")

        threads = [threading.Thread(target=one, args=(engine,)) for engine in engines]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def memory() -> int:
        address = running(place)
        assert address is not None
        return int(ask_status(address)["memory_bytes"])

    work(requests // 160)
    before = memory()
    work(requests // 16 - requests // 160)
    after = memory()
    for engine in engines:
        engine.close()
    return {"requests": requests, "wrong": len(wrong), "memory_growth": after / before - 1}


def main() -> None:
    """Parse the arguments and measure."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--faults", type=int, default=0)
    parser.add_argument("--soak", type=int, default=0)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="infill-") as folder:
        place = Place(folder=Path(folder))
        try:
            if arguments.faults:
                result = faults(place, arguments.faults)
            elif arguments.soak:
                result = soak(place, arguments.soak)
            else:
                result = latency(place, arguments.rounds, arguments.steps)
        finally:
            stop(place)
    print(json.dumps({name: round(value, 3) for name, value in result.items()}))


if __name__ == "__main__":
    main()
