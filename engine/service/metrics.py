"""What the service counts: for `/metrics` (Prometheus' text format) and for `infill engine status`."""

from __future__ import annotations

import math
import os
import sys
from collections import Counter, deque
from pathlib import Path

from engine.audience import Fate

_BOUNDS_S = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_RECENT = 1000
_MOST_FATES = 10_000
"""More than anybody can be shown between two requests."""


class Metrics:
    """Counters since the start, and the latencies of the last thousand answers."""

    def __init__(self) -> None:
        self.requests: Counter[tuple[str, str]] = Counter()  # (endpoint, outcome)
        self.fates: Counter[str] = Counter()
        self.steps = 0
        self.latencies_s: deque[float] = deque(maxlen=_RECENT)
        self.waits_s: deque[float] = deque(maxlen=_RECENT)
        self._buckets = [0] * (len(_BOUNDS_S) + 1)
        self._sum_s = 0.0

    def answered(self, endpoint: str, outcome: str, seconds: float, waited_s: float) -> None:
        """One request has ended."""
        self.requests[endpoint, outcome] += 1
        if outcome != "ok":
            return
        self.latencies_s.append(seconds)
        self.waits_s.append(waited_s)
        self._sum_s += seconds
        self._buckets[next((i for i, bound in enumerate(_BOUNDS_S) if seconds <= bound), -1)] += 1

    def told(self, fates: object) -> None:
        """What a client says became of suggestions: a number for each `Fate`; anything else is ignored."""
        if not isinstance(fates, dict):
            return
        for fate in Fate:
            number = fates.get(fate.value)
            if type(number) is int and 0 < number <= _MOST_FATES:
                self.fates[fate.value] += number

    @property
    def acceptance(self) -> float | None:
        """The share of suggestions that were accepted as a whole, of those sent; None before the first.

        Not of those shown, since not every editor says what it has shown: so it is a bound from below.
        """
        offered = self.fates[Fate.OFFERED.value]
        return self.fates[Fate.ACCEPTED.value] / offered if offered else None

    def quantile_ms(self, q: float) -> float | None:
        """Of the last answers' latencies; None before the first."""
        ordered = sorted(self.latencies_s)
        if not ordered:
            return None
        return 1000 * ordered[min(len(ordered) - 1, math.ceil(q * len(ordered)) - 1)]

    def text(self, gauges: dict[str, float]) -> str:
        """Everything in Prometheus' text format, version 0.0.4."""
        lines = ["# TYPE infill_requests_total counter"]
        for (endpoint, outcome), count in sorted(self.requests.items()):
            lines.append(f'infill_requests_total{{endpoint="{endpoint}",outcome="{outcome}"}} {count}')
        lines.append("# TYPE infill_suggestions_total counter")
        lines += [f'infill_suggestions_total{{fate="{f.value}"}} {self.fates[f.value]}' for f in Fate]
        lines += ["# TYPE infill_steps_total counter", f"infill_steps_total {self.steps}"]
        lines.append("# TYPE infill_latency_seconds histogram")
        total = 0
        for bound, count in zip((*_BOUNDS_S, math.inf), self._buckets, strict=True):
            total += count
            shown = "+Inf" if bound == math.inf else f"{bound:g}"
            lines.append(f'infill_latency_seconds_bucket{{le="{shown}"}} {total}')
        lines.append(f"infill_latency_seconds_sum {self._sum_s:.6f}")
        lines.append(f"infill_latency_seconds_count {total}")
        for name, value in gauges.items():
            lines += [f"# TYPE infill_{name} gauge", f"infill_{name} {value:g}"]
        return "\n".join(lines) + "\n"


def resident_bytes() -> int:
    """How much memory this process has, 0 where nobody can tell."""
    if sys.platform == "linux":
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")
    if sys.platform == "win32":
        return 0
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # the most it ever had, in bytes on macOS
