"""The sweep over sampler settings measures the sampler."""

from __future__ import annotations

from pathlib import Path

from benchmarks.sweep_sampler import score
from engine.request import Decoding
from infill.evaluate.holes import cut_holes
from tests.fakes.engine import ScriptedEngine


def test_every_hole_is_denoised(tmp_path: Path) -> None:
    """Whatever a model does best: the shipped one writes left to right, where no setting changes anything."""
    lines = "".join(f"    value_{n} = compute(value_{n - 1}, {n})\n" for n in range(40))
    (tmp_path / "module.py").write_text(f"def f(value_0):\n{lines}    return value_39\n", encoding="utf-8")
    holes = cut_holes(tmp_path, 8)
    engine = ScriptedEngine(["x"])
    row = score(engine, holes, seed=0, candidates=2)
    assert row["steps_mean"] > 0
    assert len(engine.requests) > len(holes) > 0
    assert {request.decoding for request in engine.requests} == {Decoding.DENOISE}
