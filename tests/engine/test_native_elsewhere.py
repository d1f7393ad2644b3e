"""The layers in C on processors that tests do not run on: built for them, run in an emulator, and compared.

Needs a compiler for them and an emulator: gcc-aarch64-linux-gnu and qemu-user in Debian. Where they are
missing it is skipped, and only the program itself is tried.
"""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

HERE = Path(__file__).parent
SOURCES = HERE.parent.parent / "engine" / "native"
ARM = shutil.which("aarch64-linux-gnu-gcc"), shutil.which("qemu-aarch64")


@dataclass(frozen=True)
class Found:
    """What an instruction set made of the same numbers."""

    product_error: float
    logits: torch.Tensor


def run(folder: Path, compiler: str, *emulator: str) -> dict[str, Found]:
    """Build elsewhere.c and run it: what each set of instructions finds, by the set's name."""
    program = folder / "elsewhere"
    options = ["-O2", "-fno-math-errno", "-Wno-psabi", "-pthread", "-static", f"-I{SOURCES}"]
    subprocess.run([compiler, *options, HERE / "elsewhere.c", "-o", program, "-lm"], check=True)
    out = subprocess.run([*emulator, program], check=True, capture_output=True, text=True).stdout
    lines = [line.split() for line in out.splitlines()]
    return {
        name: Found(float(error), torch.tensor([float(value) for value in logits]))
        for name, error, *logits in lines
    }


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Found]:
    if shutil.which("cc") is None:
        pytest.skip("no C compiler")
    return run(tmp_path_factory.mktemp("here"), "cc")


def check(found: dict[str, Found], plain: torch.Tensor) -> None:
    for name, of_set in found.items():
        assert of_set.product_error < 1e-6, name
        # Rounded inputs: so much on a random model of 64 dimensions, a tenth of it on one that was trained.
        within = 1e-4 if name == "plain" else 0.1
        assert (of_set.logits - plain).norm() < within * plain.norm(), name


def test_every_set_of_this_processor(here: dict[str, Found]) -> None:
    check(here, here["plain"].logits)


@pytest.mark.skipif(None in ARM, reason="no compiler for ARM, or no emulator")
def test_arm(here: dict[str, Found], tmp_path: Path) -> None:
    compiler, emulator = ARM
    assert compiler is not None
    assert emulator is not None
    found = run(tmp_path, compiler, emulator)
    assert set(found) == {"plain", "dotprod"}
    check(found, here["plain"].logits)
