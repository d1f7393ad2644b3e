"""One command for a GPU: correctness of every kernel, step times beside their floors, memory, a table.

Needs torch and nothing from a network. What has been measured is kept in a file and not measured again, so
that a command that was cut off goes on where it stopped. Ends with one JSON line.

    python -m benchmarks.gpu                     # on a machine with a GPU
    python -m benchmarks.gpu --tiny              # on a CPU: everything runs, no number means anything
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

ERROR_BOUND = 1e-2
"""Relative error of a bfloat16 product against float32."""


def main(argv: list[str] | None = None) -> int:
    """Measure what has not been measured yet; 1 if anything failed or a kernel is wrong."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.gpu", description="What the 26B costs on a GPU."
    )
    parser.add_argument("--tiny", action="store_true", help="a small model, on a CPU too")
    parser.add_argument("--state", type=Path, default=Path("gpu-benchmark.json"), help="what is done already")
    parser.add_argument("--fresh", action="store_true", help="measure everything again")
    arguments = parser.parse_args(argv)
    # Before Triton is imported: without a GPU its kernels can only be interpreted.
    import torch

    if not torch.cuda.is_available():
        if not arguments.tiny:
            parser.error("there is no GPU here; --tiny runs everything on a CPU")
        os.environ["TRITON_INTERPRET"] = "1"
    if arguments.fresh:
        arguments.state.unlink(missing_ok=True)
    results = run(arguments.state, tiny=arguments.tiny)
    print(table(results))
    failed = [name for name, found in results.items() if wrong(found)]
    print(json.dumps({"benchmark": "gpu", "tiny": arguments.tiny, "failed": failed, **results}))
    return 1 if failed else 0


def run(state: Path, *, tiny: bool) -> dict[str, dict[str, Any]]:
    """Every measurement by name; those in the file `state` are taken from there."""
    import torch

    from benchmarks.gpu.clock import machine
    from benchmarks.gpu.shapes import FULL, TINY

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    size = TINY if tiny else FULL
    here = f"{torch.cuda.get_device_name() if device.type == 'cuda' else 'CPU'}, {'tiny' if tiny else 'full'}"
    saved = json.loads(state.read_text(encoding="utf-8")) if state.exists() else {}
    results: dict[str, dict[str, Any]] = saved.get("results", {}) if saved.get("here") == here else {}

    def keep(name: str, measure: Callable[[], dict[str, Any]]) -> None:
        if name in results and "failed" not in results[name]:
            return
        print(f"{name} …", file=sys.stderr, flush=True)
        try:
            results[name] = measure()
        except Exception as error:  # the others are worth having all the same
            traceback.print_exc()
            results[name] = {"failed": f"{type(error).__name__}: {error}"}
        state.write_text(json.dumps({"here": here, "results": results}, indent=1), encoding="utf-8")

    keep("machine", lambda: machine(device, tiny))
    _measure_all(keep, results, size, device)
    return results


def _measure_all(keep: Callable[..., None], results: dict[str, Any], size: Any, device: Any) -> None:
    from benchmarks.gpu import measure

    rates = results["machine"]
    for form in measure.KERNELS:
        keep(f"kernel {form}", lambda f=form: measure.kernel(f, size, device, rates))
        keep(f"experts {form}", lambda f=form: measure.experts(f, size, device))
    keep("attention", lambda: measure.attention(size, device))
    keep("choices", lambda: measure.choices(size, device, rates))
    for form in measure.STEPS:
        keep(f"step {form}", lambda f=form: measure.step(f, size, device, rates))
    keep("resident int4", lambda: measure.resident("int4", size, device))
    keep("transformers", lambda: measure.reference(size, device))
    ours, theirs = results["step stored"].get("step_ms"), results["transformers"].get("step_ms")
    if ours and theirs:
        results["transformers"]["times_ours"] = theirs / ours


def wrong(found: dict[str, Any]) -> bool:
    """Whether a measurement failed or found an error out of bounds."""
    errors = [value for key, value in found.items() if key.endswith("relative_error")]
    return "failed" in found or any(not error <= ERROR_BOUND for error in errors)


def table(results: dict[str, dict[str, Any]]) -> str:
    """A Markdown table of everything measured."""
    lines = ["| measurement | value |", "|---|---|"]
    for name, found in results.items():
        for key, value in found.items():
            shown = f"{value:.4g}" if isinstance(value, float) else str(value)
            lines.append(f"| {name}: {key.replace('_', ' ')} | {shown} |")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
