"""How long something takes, on a GPU by its own clock; and what the machine can do at best."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import torch


def milliseconds(run: Callable[[], object], device: torch.device, repeats: int) -> dict[str, float]:
    """Median, fastest and slowest of `repeats` runs, after two that do not count."""
    for _ in range(2):
        run()
    times = [_once(run, device) for _ in range(repeats)]
    return {"ms": statistics.median(times), "fastest_ms": min(times), "slowest_ms": max(times)}


def _once(run: Callable[[], object], device: torch.device) -> float:
    if device.type != "cuda":
        started = time.perf_counter()
        run()
        return 1e3 * (time.perf_counter() - started)
    begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    begin.record()
    run()
    end.record()
    end.synchronize()
    return float(begin.elapsed_time(end))


def machine(device: torch.device, tiny: bool) -> dict[str, Any]:
    """Name, versions, and the measured rates that floors are computed from."""
    count = 1 << (20 if tiny else 31)
    source = torch.ones(count, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    copy = milliseconds(lambda: target.copy_(source), device, 5)["fastest_ms"]
    width = 256 if tiny else 8192
    a = torch.randn(width, width, device=device).bfloat16()
    product = milliseconds(lambda: a @ a, device, 5)["fastest_ms"]
    return {
        "name": torch.cuda.get_device_name() if device.type == "cuda" else "CPU",
        "torch": torch.__version__,
        "memory_gb": torch.cuda.get_device_properties(0).total_memory / 1e9
        if device.type == "cuda"
        else None,
        # A copy reads and writes every byte.
        "bytes_per_s": 2 * count / copy * 1e3,
        "operations_per_s": 2 * width**3 / product * 1e3,
    }
