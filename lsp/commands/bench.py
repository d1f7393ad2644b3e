"""`infill bench`: how fast the engine is on this machine, against what is possible and against its peers.

Everything is timed in turns, round after round, so that other programs disturb all of it alike. Importing
this imports neither torch nor rich: the command line does so for every command.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import shutil
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lsp.commands.errors import EXIT_CODES_HELP, CommandError, Exit
from lsp.commands.llama_peer import LlamaPeer, llama_server
from lsp.version import __version__

if TYPE_CHECKING:
    from engine.inprocess import InProcessEngine
    from engine.measure import Meter
    from infill.evaluate.typing import Recording

    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]

_PROMPT_TOKENS = 300
_LINE, _HOLE = 32, 64
"""Canvas lengths of a one-line fill, and of the hole that both directions write."""

_STEPS = 12
_LLAMA = ("llama-server", "llama-cli")
_PEER = "64 tokens by llama.cpp"


def add_parser(commands: Subparsers) -> None:
    """The subcommand and its options."""
    summary = "measure how fast this machine fills holes, against the least it could take"
    parser = commands.add_parser(
        "bench",
        help=summary,
        description=f"{summary[0].upper()}{summary[1:]}. Rows are timed in turns, round after round.",
        epilog=EXIT_CODES_HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--model", help="a directory or a hub id (default: the embedded model)")
    parser.add_argument("--rounds", type=_count, default=5, help="how often each row is timed (default: 5)")
    parser.add_argument(
        "--json", dest="as_json", action="store_true", help="only one JSON object, in one line"
    )
    parser.add_argument(
        "--llama-cpp",
        type=Path,
        metavar="BINARY",
        help="a llama-server to time beside it (with --llama-model)",
    )
    parser.add_argument("--llama-model", type=Path, metavar="GGUF", help="what that server writes with")
    parser.add_argument("--debug", action="store_true", help="show where an internal error happened")
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> Exit:
    binary, weights = arguments.llama_cpp, arguments.llama_model
    if (binary is None) != (weights is None):
        raise CommandError("--llama-cpp and --llama-model are given together")
    with contextlib.ExitStack() as until_done:
        peer = None
        if binary is not None and weights is not None:
            peer = until_done.enter_context(llama_server(binary, weights, os.cpu_count() or 1))
        return run(arguments.model, rounds=arguments.rounds, as_json=arguments.as_json, peer=peer)


def run(model: str | None, *, rounds: int, as_json: bool, peer: LlamaPeer | None = None) -> Exit:
    """Time everything `rounds` times and print what came of it; with `peer`, that one too.

    Raises:
        EngineError: the model cannot be loaded.
        PeerFailed: the peer does not answer.
    """
    # Imported here: this is where torch comes in.
    from engine.inprocess import load_engine
    from engine.measure import Meter
    from infill.evaluate.typing import bundled_recording

    began = time.perf_counter()
    engine = load_engine(model)
    load_ms = 1e3 * (time.perf_counter() - began)
    meter, recording = Meter(engine, _PROMPT_TOKENS), bundled_recording()
    typed_ms: list[float] = []
    shares: list[float] = []
    rows = _rows(engine, meter, recording, typed_ms, shares)
    if peer is not None:
        text = recording.text[: recording.offset]
        rows[_PEER] = lambda: peer.complete_ms(text, _HOLE)
    warm_up_ms = {name: _timed(row) for name, row in rows.items()}
    typed_ms.clear()
    shares.clear()
    times: dict[str, list[Timing]] = {name: [] for name in rows}
    for _ in range(rounds):
        for name, row in rows.items():
            times[name].append(_timed(row))
    report = _report(engine, meter, times, typed_ms, shares, rows["warm fill"])
    warm_up = {name: timing.ms for name, timing in warm_up_ms.items()}
    report |= {"load_ms": load_ms, "warm_up_ms": warm_up, "rounds": rounds}
    if not as_json:
        _print_tables(report)
    sys.stdout.write(json.dumps(report) + "\n")
    return Exit.OK


def _rows(
    engine: InProcessEngine,
    meter: Meter,
    recording: Recording,
    typed_ms: list[float],
    shares: list[float],
) -> dict[str, Callable[[], object]]:
    """What is timed, by name. The typing session leaves its keystrokes and its share of tokens encoded."""
    from infill.evaluate.typing import replay
    from infill.pipeline import fill_text
    from infill.request import FillRequest

    offset = recording.offset
    begun = "    def total(self) -> float:\n        return "
    line = FillRequest(
        text=recording.text[:offset] + begun + recording.text[offset:],
        language=recording.language,
        offset=offset + len(begun),
        canvas_tokens=_LINE,
    )

    def cold() -> None:
        meter.forget()
        fill_text(engine, line)

    def session() -> None:
        meter.forget()
        shares.append(meter.prompt_share_encoded(lambda: typed_ms.extend(replay(engine, recording))))

    def steps(canvas_tokens: int, candidates: int) -> Callable[[], object]:
        return lambda: meter.steps_ms(canvas_tokens=canvas_tokens, candidates=candidates, steps=_STEPS)

    return {
        "cold fill": cold,
        "warm fill": lambda: fill_text(engine, line),
        "typing session": session,
        "12 steps, 32 tokens": steps(_LINE, 1),
        "12 steps, 4 x 32 tokens": steps(_LINE, 4),
        "12 steps, 64 tokens": steps(_HOLE, 1),
        "12 steps, 256 tokens": steps(256, 1),
        "64 tokens one by one": lambda: meter.greedy_ms(_HOLE),
    }


def _report(
    engine: InProcessEngine,
    meter: Meter,
    times: dict[str, list[Timing]],
    typed_ms: list[float],
    shares: list[float],
    warm: Callable[[], object],
) -> dict[str, object]:
    from engine.measure import resident_bytes

    info = engine.info()
    keys = sorted(typed_ms)
    diffused, one_by_one = times["12 steps, 64 tokens"], times["64 tokens one by one"]
    memory = resident_bytes()
    return {
        "benchmark": "bench",
        "model": info.model,
        "dtype": info.dtype,
        "device": info.device,
        "threads": meter.threads,
        "ms": {name: _spread(values) for name, values in times.items()},
        "keystroke_ms": {"p50": statistics.median(keys), "p95": keys[int(0.95 * (len(keys) - 1))]},
        "prompt_share_encoded": statistics.fmean(shares),
        "steps": {
            f"{candidates} x {length}": _step(meter, times[name], length, candidates)
            for name, length, candidates in (
                ("12 steps, 32 tokens", _LINE, 1),
                ("12 steps, 4 x 32 tokens", _LINE, 4),
                ("12 steps, 256 tokens", 256, 1),
            )
        },
        "warm_fill": _warm_fill(meter, times["warm fill"], warm),
        "tokens_per_s": 1e3 * _HOLE / statistics.median(timing.ms for timing in diffused),
        "against_one_by_one": statistics.median(
            slow.ms / fast.ms for slow, fast in zip(one_by_one, diffused, strict=True)
        ),
        "against_llama_cpp": statistics.median(
            slow.ms / fast.ms for slow, fast in zip(times[_PEER], diffused, strict=True)
        )
        if _PEER in times
        else None,
        "llama_cpp": next((path for name in _LLAMA if (path := shutil.which(name))), None),
        "resident_mb": None if memory is None else round(memory / 2**20),
        "infill": __version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
    }


def _step(meter: Meter, times: list[Timing], canvas_tokens: int, candidates: int) -> dict[str, float]:
    """A step's time, the quickest of all rounds since the floor is the machine's quickest too."""
    floor = meter.floor(canvas_tokens=canvas_tokens, candidates=candidates)
    usual = meter.floor(canvas_tokens=canvas_tokens, candidates=candidates, in_bfloat16=True)
    ms = min(timing.ms for timing in times) / _STEPS
    return {
        "ms": ms,
        "floor_ms": floor.ms,
        "times_floor": ms / floor.ms,
        "times_bfloat16_floor": ms / usual.ms,
        "gflop": floor.operations / 1e9,
        "gflop_per_s": floor.operations_per_s / 1e9,
        "gb_per_s": floor.bytes_per_s / 1e9,
    }


def _warm_fill(meter: Meter, times: list[Timing], run: Callable[[], object]) -> dict[str, float]:
    """A warm fill as a whole, text rules and all, beside the floor of its passes through the layers."""
    run()  # a cold one may have come last
    passes, floor_ms = meter.passes_floor(run)
    _, usual_ms = meter.passes_floor(run, in_bfloat16=True)
    ms = min(timing.ms for timing in times)
    return {
        "passes": passes,
        "ms": ms,
        "floor_ms": floor_ms,
        "times_floor": ms / floor_ms,
        "times_bfloat16_floor": ms / usual_ms,
    }


def _spread(times: list[Timing]) -> dict[str, float]:
    values = [timing.ms for timing in times]
    return {
        "p50": statistics.median(values),
        "min": min(values),
        "max": max(values),
        "cpu": statistics.median(timing.cpu_ms for timing in times),
    }


@dataclass(frozen=True, kw_only=True)
class Timing:
    """Milliseconds by the clock on the wall, and of processor time in all threads.

    The second is far less than the first where other programs keep the processor busy.
    """

    ms: float
    cpu_ms: float


def _timed(row: Callable[[], object]) -> Timing:
    """How long a row takes; one that times itself, without its preparation, returns its milliseconds."""
    began, used = time.perf_counter(), time.process_time()
    own = row()
    ms, cpu_ms = 1e3 * (time.perf_counter() - began), 1e3 * (time.process_time() - used)
    return Timing(ms=own if isinstance(own, float) else ms, cpu_ms=cpu_ms)


def _print_tables(report: dict[str, object]) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console() if sys.stdout.isatty() else Console(width=110)
    times, steps = report["ms"], report["steps"]
    assert isinstance(times, dict)
    assert isinstance(steps, dict)
    table = Table(
        title=f"{report['model']}, {report['dtype']}, {report['rounds']} rounds", title_justify="left"
    )
    table.add_column("milliseconds")
    for name in ("p50", "min", "max", "cpu"):
        table.add_column(name, justify="right")
    for name, values in times.items():
        table.add_row(name, *(f"{values[key]:.1f}" for key in ("p50", "min", "max", "cpu")))
    console.print(table)
    table = Table(title="one step", title_justify="left")
    for name in ("canvases", "ms", "floor ms", "times floor", "in bf16", "Gflop", "Gflop/s", "GB/s"):
        table.add_column(name, justify="left" if name == "canvases" else "right")
    for name, step in steps.items():
        table.add_row(name, *(f"{value:.2f}" for value in step.values()))
    console.print(table)
    keys, warm = report["keystroke_ms"], report["warm_fill"]
    assert isinstance(keys, dict)
    assert isinstance(warm, dict)
    llama = report["llama_cpp"] or "not installed"
    if report["against_llama_cpp"]:
        llama = f"64 tokens denoised are {report['against_llama_cpp']:.1f} times as fast"
    elif report["llama_cpp"]:
        llama = f"{llama}; name it and a model with --llama-cpp and --llama-model to time it"
    for line in (
        f"a keystroke   {keys['p50']:.1f} ms (p50), {keys['p95']:.1f} ms (p95)",
        f"a warm fill   {warm['passes']} passes through the layers, {warm['times_floor']:.1f} times their "
        f"floor of {warm['floor_ms']:.1f} ms in all ({warm['times_bfloat16_floor']:.1f} times that in bf16)",
        f"re-encoded    {report['prompt_share_encoded']:.1%} of the session's prompt tokens",
        f"64 tokens     {report['tokens_per_s']:.0f} a second, "
        f"{report['against_one_by_one']:.1f} times as fast as one by one",
        f"memory        {report['resident_mb']} MB resident",
        f"llama.cpp     {llama}",
    ):
        console.print(line, highlight=False)


def _count(text: str) -> int:
    value = int(text) if text.isdigit() else 0
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least 1")
    return value
