"""The sandbox: what ends well passes, and nothing else does."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from infill.evaluate.sandbox import MEMORY_BYTES, Verdict, execute


def test_a_program_that_reaches_its_end_passes() -> None:
    program = "import math, re, collections, typing, hashlib\nprint('noise')\nassert math.sqrt(4) == 2\n"
    assert execute(program).verdict is Verdict.PASSED


@pytest.mark.parametrize(
    ("program", "error"),
    [
        ("assert 1 == 2", "AssertionError"),
        ("x = (", "SyntaxError"),
        ("import sys; sys.exit(0)", "SystemExit"),
        ("import os; os._exit(0)", "exit status 0"),
        ("def f(): return f()\nf()", "RecursionError"),
        ("input()", "EOFError"),
    ],
)
def test_a_program_that_does_not_reach_its_end_fails(program: str, error: str) -> None:
    execution = execute(program)
    assert execution.verdict is Verdict.FAILED
    assert error in execution.error


@pytest.mark.parametrize(
    "program",
    [
        "import socket; socket.socket()",
        "open('out.txt', 'w')",
        "import os; os.open('out.txt', os.O_WRONLY | os.O_CREAT)",
        "import os; os.remove('/nonexistent')",
        "import os; os.kill(os.getppid(), 9)",
        "import os; os.system('true')",
        "import subprocess; subprocess.run(['true'])",
        "import shutil; shutil.rmtree('/nonexistent')",
        "import ctypes; ctypes.CDLL(None)",
    ],
)
def test_what_could_do_harm_is_forbidden(program: str) -> None:
    execution = execute(program)
    assert execution.verdict is Verdict.FAILED
    assert execution.error.startswith("PermissionError")
    assert "forbidden here" in execution.error


def test_a_program_that_does_not_end_is_ended() -> None:
    assert execute("while True: pass", timeout_s=0.5).verdict is Verdict.TIMEOUT
    assert execute("import time\ntime.sleep(60)", timeout_s=0.5).verdict is Verdict.TIMEOUT


def test_memory_is_limited() -> None:
    assert "MemoryError" in execute(f"x = bytearray({2 * MEMORY_BYTES})").error


def test_the_environment_and_the_project_are_out_of_reach(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_TOKEN", "hush")
    program = (
        f"import os, sys\nassert 'SECRET_TOKEN' not in os.environ\nassert {os.getcwd()!r} not in sys.path"
    )
    assert execute(program).verdict is Verdict.PASSED


def test_nothing_is_left_of_the_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert execute("import os; assert os.listdir() == []").verdict is Verdict.PASSED
    assert list(tmp_path.iterdir()) == []


def test_the_limits_hold_for_the_interpreter_we_run_under() -> None:
    assert (
        execute(f"import sys; assert sys.version_info[:2] == {sys.version_info[:2]!r}").verdict
        is Verdict.PASSED
    )
