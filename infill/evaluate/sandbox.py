"""Runs a Python program someone else wrote, with limits, and says whether it ran to its end.

A guard against accidents, not against an adversary: limits on time, memory, processes and files, no
network, no writing, no other programs, an empty environment. The program can still read files. Code
of a model you do not trust belongs in a container or a virtual machine.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import signal
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

MEMORY_BYTES = 1 << 30

_RUNNER = Path(__file__).with_name("sandboxed.py")


class Verdict(Enum):
    """How a program ended."""

    PASSED = "passed"
    FAILED = "failed"
    TIMEOUT = "timeout"


@dataclass(frozen=True, kw_only=True)
class Execution:
    """A verdict, and the last line the interpreter said of a failure ("" where it said nothing)."""

    verdict: Verdict
    error: str = ""


def execute(program: str, timeout_s: float = 5.0) -> Execution:
    """Run a program in a subprocess of its own session; it passes if it reaches its end in time.

    Leaving early by `sys.exit` or `os._exit`, even with status 0, is a failure.
    """
    token = secrets.token_hex(16)
    order = {"program": program, "token": token, "cpu_s": int(timeout_s) + 1, "memory_bytes": MEMORY_BYTES}
    with tempfile.TemporaryDirectory(prefix="infill-eval-", ignore_cleanup_errors=True) as directory:
        process = subprocess.Popen(
            [sys.executable, "-I", str(_RUNNER)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd=directory,
            env=_environment(directory),
            start_new_session=True,
        )
        try:
            said, _ = process.communicate(json.dumps(order).encode("ascii"), timeout=timeout_s)
        except subprocess.TimeoutExpired:
            return Execution(verdict=Verdict.TIMEOUT, error=f"not done after {timeout_s:g} s")
        finally:
            _kill_group(process)
    answer = said.decode("utf-8", "replace").strip()
    if answer == token:
        return Execution(verdict=Verdict.PASSED)
    return Execution(verdict=Verdict.FAILED, error=answer[:500] or f"exit status {process.returncode}")


def _environment(directory: str) -> dict[str, str]:
    # Nothing of ours, which may hold secrets; Windows cannot start Python without SYSTEMROOT.
    kept = {name: os.environ[name] for name in ("SYSTEMROOT",) if name in os.environ}
    return {**kept, "HOME": directory, "TMPDIR": directory, "TEMP": directory, "LC_ALL": "C.UTF-8"}


def _kill_group(process: subprocess.Popen[bytes]) -> None:
    """End the program and whatever it started, and take its exit status."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        if sys.platform != "win32":
            os.killpg(process.pid, signal.SIGKILL)
    with contextlib.suppress(ProcessLookupError, PermissionError):
        process.kill()
    process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            with contextlib.suppress(OSError):
                pipe.close()
