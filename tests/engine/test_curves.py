"""The picture of a run's losses."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

from engine.training.curves import draw, read_curves


def write_log(folder: Path, *entries: dict[str, object]) -> Path:
    folder.mkdir()
    (folder / "log.jsonl").write_text("".join(json.dumps(entry) + "\n" for entry in entries))
    return folder


def test_runs_follow_one_another(tmp_path: Path) -> None:
    first = write_log(tmp_path / "a", {"kind": "train", "batch": 20, "causal": 5.0})
    second = write_log(
        tmp_path / "b",
        {"kind": "train", "batch": 40, "causal": 4.0, "denoising": 6.0},
        {"kind": "held out", "batch": 40, "causal": 4.5, "denoising@1.0": 7.0, "denoising@0.15": 1.0},
    )
    curves = read_curves([first, second])
    assert curves == {
        "causal": [(20, 5.0), (40, 4.0)],
        "denoising": [(40, 6.0)],
        "held out causal": [(40, 4.5)],
        "held out denoising@1.0": [(40, 7.0)],
    }
    picture = ElementTree.fromstring(draw(curves, "A & B"))
    lines = picture.findall("{http://www.w3.org/2000/svg}polyline")
    assert len(lines) == len(curves)
    assert len(lines[0].attrib["points"].split()) == 2
    first, last = (float(point.split(",")[0]) for point in lines[0].attrib["points"].split())
    assert (first, last) == (60.0, 840.0)  # from one edge to the other, wherever the runs begin
