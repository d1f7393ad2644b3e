"""Takes every figure of docs/performance.md again, one benchmark after the other, and redraws its pictures.

    python benchmarks/figures.py HELD_OUT [--only memory typing …]

HELD_OUT is a folder of packages that training never read. For a quiet machine: a busy one gives ratios at
best, and deadlines mean nothing there. Each benchmark runs in a process of its own; what it prints last, one
JSON line, is printed behind its name.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

_HERE = Path(__file__).parent
_DOCS = _HERE.parent / "docs"
_DECODINGS = ("--decoding", "denoise", "search", "verify", "causal")


def main() -> int:
    """Parse the arguments, run what is wanted; the number of benchmarks that failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--only", nargs="+", metavar="NAME")
    arguments = parser.parse_args()
    holes = str(arguments.directory)
    commands = {
        "bench": ["-m", "lsp", "bench", "--json"],
        "cold": [_script("against_transformers")],
        "typing": [_script("against_transformers"), "--typing", "--rounds", "1"],
        "memory": [_script("memory"), holes],
        "latency": [_script("latency"), "--svg", str(_DOCS / "latency.svg")],
        "verified": [_script("verified"), holes],
        "decodings": ["-m", "lsp", "eval", "holes", holes, "--limit", "120", "--json", *_DECODINGS],
        "deadlines": [_script("deadlines"), holes, "--svg", str(_DOCS / "deadlines.svg")],
    }
    failed = 0
    for name, command in commands.items():
        if arguments.only and name not in arguments.only:
            continue
        done = subprocess.run([sys.executable, *command], stdout=subprocess.PIPE, text=True, check=False)
        lines = done.stdout.splitlines()
        print(f"{name}: {lines[-1] if lines else 'nothing'}", flush=True)
        failed += done.returncode != 0
    return failed


def _script(name: str) -> str:
    return str(_HERE / f"{name}.py")


if __name__ == "__main__":
    sys.exit(main())
