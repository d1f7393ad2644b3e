"""The library's helping threads, built with the compiler's sanitizers where it has them."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

HERE = Path(__file__).parent
SOURCES = HERE.parent.parent / "engine" / "native"


def built(source: Path, program: Path, sanitizer: str) -> bool:
    """Whether a program can be built with a sanitizer and runs, as it does not everywhere."""
    options = ["-O1", "-g", "-std=gnu11", "-pthread", f"-fsanitize={sanitizer}", f"-I{SOURCES}"]
    return not subprocess.run(["cc", *options, source, "-o", program], capture_output=True).returncode


def ran(program: Path) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"ASAN_OPTIONS": "detect_stack_use_after_return=1"}
    return subprocess.run([program], env=environment, capture_output=True, text=True, check=False)


@pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler")
@pytest.mark.parametrize("sanitizer", ["address", "thread"])
def test_nobody_looks_at_a_job_that_is_done(tmp_path: Path, sanitizer: str) -> None:
    nothing = tmp_path / "nothing.c"
    nothing.write_text("int main(void) { return 0; }\n")
    if not built(nothing, tmp_path / "nothing", sanitizer) or ran(tmp_path / "nothing").returncode:
        pytest.skip(f"the compiler has no {sanitizer} sanitizer")
    assert built(HERE / "threads.c", tmp_path / "threads", sanitizer)
    found = ran(tmp_path / "threads")
    assert (found.returncode, found.stdout) == (0, "0\n"), found.stderr
