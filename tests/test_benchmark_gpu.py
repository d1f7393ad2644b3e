"""The benchmark for a GPU runs through on a CPU, and goes on where it stopped."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks.gpu import __main__ as benchmark
from benchmarks.gpu import measure


def test_everything_runs_on_a_cpu(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    state = tmp_path / "state.json"
    assert benchmark.main(["--tiny", "--state", str(state)]) == 0
    shown = capsys.readouterr().out.strip().splitlines()
    found = json.loads(shown[-1])
    assert found["failed"] == []
    for form in measure.KERNELS:
        assert found[f"kernel {form}"]["relative_error"] < benchmark.ERROR_BOUND
        assert found[f"experts {form}"]["relative_error"] < benchmark.ERROR_BOUND
    for form in measure.STEPS:
        assert found[f"step {form}"]["step_ms"] > 0
    assert found["transformers"]["times_ours"] > 0
    assert found["step int4"]["weights_gb"] < found["step stored"]["weights_gb"]
    assert "| kernel int4: relative error |" in "\n".join(shown)


def test_what_is_done_is_not_done_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Cut off at the second kernel, the next run measures that one and what follows it."""
    state, calls = tmp_path / "state.json", []

    def kernel(form: str, *_: Any) -> dict[str, Any]:
        calls.append(form)
        if calls == ["bf16", "fp8"]:
            raise KeyboardInterrupt
        return {"relative_error": 1e-3}

    monkeypatch.setattr(measure, "kernel", kernel)
    for name in ("experts", "attention", "step", "reference"):
        monkeypatch.setattr(measure, name, lambda *_: {"step_ms": 1.0})
    with pytest.raises(KeyboardInterrupt):
        benchmark.run(state, tiny=True)
    results = benchmark.run(state, tiny=True)
    assert calls == ["bf16", "fp8", "fp8", "int4", "nvfp4"]
    assert not any(benchmark.wrong(found) for found in results.values())


def test_a_kernel_that_is_wrong_or_fails_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def kernel(form: str, *_: Any) -> dict[str, Any]:
        if form == "fp8":
            raise RuntimeError("no such instruction")
        return {"relative_error": float("nan") if form == "int4" else 1e-3}

    monkeypatch.setattr(measure, "kernel", kernel)
    for name in ("experts", "attention", "step", "reference"):
        monkeypatch.setattr(measure, name, lambda *_: {"step_ms": 1.0})
    assert benchmark.main(["--tiny", "--state", str(tmp_path / "state.json")]) == 1
    captured = capsys.readouterr()
    assert json.loads(captured.out.splitlines()[-1])["failed"] == ["kernel fp8", "kernel int4"]
    assert "no such instruction" in captured.err
