"""What the resident engine costs and what it gains: `python -m benchmarks.resident latency|throughput`.

- `latency`: requests as typing makes them, in turn to the resident engine and to one in this process, so that
  whatever else the machine does weighs on both. Told are the quantiles of each and of the differences.
  `--nothing` measures with an engine that answers at once: what the way there and back takes by itself.
- `throughput`: eight fills of eight clients at once against the same eight one after the other, both through
  the service, once for each way of decoding.

Both load the embedded model; the last line is JSON. Load average and processor time are told too, since
on a machine that is busy otherwise the clock says little.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from engine.inprocess import load_engine
from engine.request import Decoding, DenoiseRequest, Engine, Prompt
from engine.resident import open_resident
from engine.service.lifecycle import COMMAND, running, stop
from engine.service.place import Place
from tests.engine.service.harness import FAKE
from tests.fakes.engine import ScriptedEngine

TEXT = Path(__file__).read_text(encoding="utf-8")
FILLS = 8

CASES = {
    "search": (Decoding.SEARCH, False),
    "search within a line": (Decoding.SEARCH, True),
    "verify": (Decoding.VERIFY, False),
    "denoise": (Decoding.DENOISE, False),
}


def ask(index: int, decoding: Decoding | None = None, *, within: bool = False) -> DenoiseRequest:
    """A request as typing makes them: each a little further on, at the end of a line or `within` one."""
    at = 1500 + index % 3000
    suffix = TEXT[at : at + 200].strip()
    prompt = Prompt(
        prefix=TEXT[at - 600 : at] + f"\n    # {index}\n    ", suffix=suffix if within else "\n" + suffix
    )
    return DenoiseRequest(prompt=prompt, canvas_tokens=32, one_line=True, decoding=decoding, key="a document")


def fill(engine: Engine, request: DenoiseRequest) -> None:
    """One request from beginning to end."""
    assert list(engine.denoise(request, threading.Event()))


def timed_ms(engine: Engine, request: DenoiseRequest) -> float:
    """How long one request takes."""
    began = time.perf_counter()
    fill(engine, request)
    return 1000 * (time.perf_counter() - began)


def quantile(values: list[float], q: float) -> float:
    """By the nearest rank."""
    return sorted(values)[min(len(values) - 1, int(q * len(values)))]


def latency(place: Place, command: list[str], own: Engine, rounds: int) -> dict[str, object]:
    """Both engines in turn, either first."""
    resident = open_resident(None, place=place, command=command)
    for index in range(10):
        timed_ms(resident, ask(index))
        timed_ms(own, ask(index))
    there, here = [], []
    served, asked = processor_s(place), time.process_time()
    for index in range(rounds):
        request = ask(10 + index)
        for engine, times in ((resident, there), (own, here))[:: 1 if index % 2 else -1]:
            times.append(timed_ms(engine, request))
    out: dict[str, object] = {
        "rounds": rounds,
        "engine_cpu_ms": 1000 * (processor_s(place) - served) / rounds,
        "here_cpu_ms": 1000 * (time.process_time() - asked) / rounds,
    }
    resident.close()
    differences = [a - b for a, b in zip(there, here, strict=True)]
    for name, q in (("p50", 0.5), ("p99", 0.99)):
        out[f"resident_{name}_ms"], out[f"in_process_{name}_ms"] = quantile(there, q), quantile(here, q)
        out[f"added_{name}_ms"] = quantile(there, q) - quantile(here, q)
        out[f"difference_{name}_ms"] = quantile(differences, q)
    return out


def throughput(place: Place, command: list[str], rounds: int) -> dict[str, object]:
    """Eight at once and eight in sequence, in turn, prompts warm."""
    engines = [open_resident(None, place=place, command=command) for _ in range(FILLS)]
    out: dict[str, object] = {"fills": FILLS, "rounds": rounds}
    with ThreadPoolExecutor(FILLS) as pool:
        for name, (decoding, within) in CASES.items():
            sequence, at_once = [], []
            for number in range(-1, rounds):
                requests = [ask(400 * index + number, decoding, within=within) for index in range(FILLS)]
                for engine, request in zip(engines, requests, strict=True):
                    fill(engine, request)
                began = time.perf_counter()
                for engine, request in zip(engines, requests, strict=True):
                    fill(engine, request)
                between = time.perf_counter()
                list(pool.map(fill, engines, requests))
                ended = time.perf_counter()
                if number >= 0:  # the first round warms up
                    sequence.append(between - began)
                    at_once.append(ended - between)
            ratios = [a / b for a, b in zip(sequence, at_once, strict=True)]
            out[name] = {
                "sequence_ms": round(1000 * quantile(sequence, 0.5)),
                "at_once_ms": round(1000 * quantile(at_once, 0.5)),
                "ratio_p50": round(quantile(ratios, 0.5), 2),
                "ratios": [round(min(ratios), 2), round(max(ratios), 2)],
            }
    for engine in engines:
        engine.close()
    return out


def processor_s(place: Place) -> float:
    """Seconds of processor time the engine has used; 0 where nobody tells."""
    address = running(place)
    try:
        fields = Path(f"/proc/{address.pid if address else 0}/stat").read_text(encoding="ascii").split()
    except OSError:
        return 0.0
    return (int(fields[13]) + int(fields[14])) / os.sysconf("SC_CLK_TCK")


def main() -> None:
    """Parse the arguments and measure."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("what", choices=["latency", "throughput"])
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--nothing", action="store_true", help="with an engine that answers at once")
    arguments = parser.parse_args()
    command = list(FAKE if arguments.nothing else COMMAND)
    os.environ["PYTHONPATH"] = str(Path(__file__).parent.parent)  # where the engine that does nothing is
    with tempfile.TemporaryDirectory(prefix="infill-") as folder:
        place = Place(folder=Path(folder))
        try:
            if arguments.what == "throughput":
                result = throughput(place, command, arguments.rounds or 5)
            else:
                own = ScriptedEngine(["1"]) if arguments.nothing else load_engine(None)
                result = latency(place, command, own, arguments.rounds or 200)
        finally:
            stop(place)
    result |= {"cores": os.cpu_count(), "load": os.getloadavg()[0]}
    rounded = {name: round(v, 2) if isinstance(v, float) else v for name, v in result.items()}
    print(json.dumps({"what": arguments.what, **rounded}))


if __name__ == "__main__":
    main()
