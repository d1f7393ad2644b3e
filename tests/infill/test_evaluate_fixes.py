"""The benchmark of fix-ups: its records, its halves, its tuning."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import pytest

from infill.evaluate.fixes import evaluate_fixes
from infill.evaluate.fixes_functions import Function
from infill.evaluate.fixes_tokens import Clean, Read, Sample
from infill.evaluate.records import BadRecords, Records
from tests.fakes.engine import ScriptedEngine


@dataclass(frozen=True, kw_only=True)
class _Result:
    value: int


def test_what_is_recorded_is_not_computed_again(tmp_path: Path) -> None:
    path = tmp_path / "records.jsonl"
    assert Records(path).value("a", _Result, lambda: _Result(value=1)) == _Result(value=1)
    again = Records(path)
    assert again.value("a", _Result, lambda: pytest.fail("computed again")) == _Result(value=1)
    assert again.value("b", _Result, lambda: _Result(value=2)) == _Result(value=2)


def test_a_record_that_was_cut_off_is_made_again(tmp_path: Path) -> None:
    path = tmp_path / "records.jsonl"
    Records(path).get("a", lambda: 1)
    path.write_text(path.read_text() + '{"key": "b", "val')
    records = Records(path)
    assert records.get("a", lambda: pytest.fail("computed again")) == 1
    assert records.get("b", lambda: 2) == 2
    assert Records(path).get("b", lambda: pytest.fail("computed again")) == 2


def test_records_of_something_else_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "records.jsonl"
    path.write_text("not JSON\n{}\n")
    with pytest.raises(BadRecords, match="line 1"):
        Records(path)
    path.write_text("a text without a line's end")
    with pytest.raises(BadRecords, match="the end"):
        Records(path)
    assert path.read_text() == "a text without a line's end"
    path.unlink()
    Records(path).begin({"seed": 0})
    with pytest.raises(BadRecords, match="another run"):
        Records(path).begin({"seed": 1})


def sample() -> Sample:
    paths = [f"{package}/{name}.py" for package in "abcd" for name in "xy"]
    read = Read(scores=((9.0, True, True), (5.0, False, False)), causal=True, spelling=False)
    clean = [(Function(path=p, text="x\n" * 100, start=0, end=200), Clean(scores=(6.0,))) for p in paths]
    return Sample(buggy=tuple((p, read) for p in paths), clean=tuple(clean))


def test_the_halves_share_no_package() -> None:
    one, other = sample().part(0, 0), sample().part(1, 0)
    packages = [{path[0] for path, _ in half.buggy} for half in (one, other)]
    assert [len(names) for names in packages] == [2, 2]
    assert not packages[0] & packages[1]
    assert {f.path[0] for f, _ in one.clean} == packages[0]
    assert sample().part(0, 0) == one
    only = Sample(buggy=sample().buggy[:2], clean=sample().clean[:2])  # one package: its files
    assert [len(only.part(n, 0).buggy) for n in (0, 1)] == [1, 1]


def test_recall_precision_and_false_alarms_at_a_threshold() -> None:
    low, high = sample().at(5.5), sample().at(7.0)
    assert (low["recall"], low["false_alarms"], low["false_alarms_per_1000_lines"]) == (1.0, 8, 10.0)
    assert low["precision"] == 0.5
    assert (high["recall"], high["precision"], high["false_alarms"]) == (1.0, 1.0, 0)
    assert sample().at(4.0)["precision"] == pytest.approx(8 / 24, abs=1e-4)


def test_a_run_that_was_stopped_goes_on(tmp_path: Path) -> None:
    function = "def f{n}(self, first, second):\n    if first == 0 and second:\n        return [first]\n"
    text = "".join(function.format(n=n) + "    return second\n\n\n" for n in range(8))
    for package in ("a", "b"):
        (tmp_path / "code" / package).mkdir(parents=True)
        (tmp_path / "code" / package / "m.py").write_text(text)
    path = tmp_path / "records.jsonl"

    def run() -> dict[str, object]:
        engine = ScriptedEngine(["x"])
        report = evaluate_fixes(
            engine,
            tmp_path / "code",
            per_kind=2,
            clean=4,
            fills=4,
            seed=0,
            tune=True,
            records=Records(path),
        )
        requests.append(len(engine.requests) + len(engine.read_requests))
        return json.loads(json.dumps(report.as_json()))

    requests: list[int] = []
    first = run()
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines[: len(lines) // 2]))
    second, third = run(), run()
    assert requests[2] == 0 < requests[1] < requests[0]
    for report in (first, second, third):
        del report["quick_fixes"]["ms_p50"], report["quick_fixes"]["ms_p95"]  # type: ignore[index]
        del report["fills"]["ms_p50"], report["fills"]["ms_p95"]  # type: ignore[index]
    assert first == second == third
    assert first["tuned"] is not None
