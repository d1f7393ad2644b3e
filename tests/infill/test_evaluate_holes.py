"""Cutting holes and scoring fills, on a small folder and a scripted engine."""

from __future__ import annotations

import ast
import json
from pathlib import Path

import pytest

from engine.request import DenoiseRequest
from infill.evaluate.holes import KINDS, Hole, NoHoles, cut_holes, with_nearby
from infill.evaluate.score import Row, copied_line, evaluate_holes, fill_hole, put
from tests.fakes.engine import ScriptedEngine

SOURCE = '''"""A module with enough in it to cut holes of every kind from."""

GREETING = "grüß 😀"


def mean(values, default=0.0):
    total = 0.0
    for value in values:
        total += float(value)
    if not values:
        return default
    return total / len(values)


def label(name, values):
    average = mean(values, default=1.5)
    return f"{name}: {average:.2f}" + GREETING
'''


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("a.py", "b.py", "sub/c.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(SOURCE.replace("mean", f"mean_{name[0]}"), encoding="utf-8")
    (tmp_path / "broken.py").write_text(SOURCE + "\ndef (:\n")
    (tmp_path / "latin.py").write_bytes(SOURCE.encode("utf-16"))
    (tmp_path / ".hidden").mkdir()
    (tmp_path / ".hidden" / "d.py").write_text(SOURCE)
    return tmp_path


def test_holes_are_of_every_kind_and_repeatable(folder: Path) -> None:
    holes = cut_holes(folder, limit=16, seed=3)
    assert [hole.kind for hole in holes] == [kind for kind in KINDS for _ in range(4)]
    assert {hole.path for hole in holes} <= {"a.py", "b.py", "sub/c.py"}
    assert cut_holes(folder, limit=16, seed=3) == holes
    assert cut_holes(folder, limit=16, seed=4) != holes


def test_every_hole_is_what_its_kind_says(folder: Path) -> None:
    for seed in range(20):
        for hole in cut_holes(folder, limit=16, seed=seed):
            assert hole.before + hole.gold + hole.after == hole.text
            assert hole.gold.strip()
            if hole.kind == "line":
                assert "\n" not in hole.gold
                assert hole.after.startswith("\n")
            elif hole.kind == "expression":
                ast.parse(f"({hole.gold}\n)", mode="eval")
            elif hole.kind == "block":
                assert 2 <= len(hole.gold.split("\n")) <= 8
                assert hole.before.split("\n")[-1].strip() == ""
                assert hole.after.startswith("\n")
            else:
                assert 1 <= len(hole.gold) <= 120


def test_the_limit_is_kept_however_small(folder: Path) -> None:
    for limit in range(1, 9):
        assert len(cut_holes(folder, limit=limit)) == limit


def test_a_folder_without_python_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(NoHoles, match="holds no Python file"):
        cut_holes(tmp_path, limit=4)
    with pytest.raises(NoHoles, match="is not a directory"):
        cut_holes(tmp_path / "absent", limit=4)


def test_the_engine_is_told_nothing_of_the_answer(folder: Path) -> None:
    def requests_with(gold: str) -> list[DenoiseRequest]:
        text = f"first = 1\nsecond = {gold}\nthird = 3\n"
        start = text.index(gold)
        engine = ScriptedEngine(["x"])
        evaluate_holes(
            engine, [Hole(kind="line", path="a.py", text=text, start=start, end=start + len(gold))]
        )
        return engine.requests

    assert requests_with("2") == requests_with("compute_something_long(1, 2, 3)")


def rows_by(rows: tuple[Row, ...]) -> dict[tuple[str, str], Row]:
    return {(row.method, row.kind): row for row in rows}


def hole_in(text: str, gold: str, kind: str = "line") -> Hole:
    start = text.index(gold)
    return Hole(kind=kind, path="a.py", text=text, start=start, end=start + len(gold))


def test_a_right_and_a_rejected_fill_are_scored_as_such() -> None:
    text = "height = max(6)\narea = width * height\n"
    holes = [hole_in(text, "width * height"), hole_in(text, "6)")]
    # The first is the warm-up, whose result does not count.
    report = evaluate_holes(ScriptedEngine(["None", "width * height", ""]), holes)
    row = rows_by(report.rows)["model", "line"]
    assert (row.holes, row.exact_match, row.edit_similarity) == (2, 0.5, 0.5)
    assert (row.parse_rate, row.length_error_chars) == (1.0, 0.0)
    assert (row.rejected_rate, row.rejected) == (0.5, {"empty": 1})
    empty = rows_by(report.rows)["empty", "line"]
    assert (empty.exact_match, empty.parse_rate, empty.length_error_chars) == (0.0, 0.0, 8.0)
    json.dumps(report.as_json())


def test_the_answers_themselves_score_full_marks(folder: Path) -> None:
    for hole in cut_holes(folder, limit=16):
        fill = put(hole, hole.gold)
        assert fill.parses
        assert fill.spliced == hole.text


@pytest.mark.parametrize(
    ("before", "copied"),
    [
        ("a = 1\nb = 2\n", "b = 2"),
        ("a = 1\nb = 2\na", " = 1"),
        ("    x()\n\n    if y:\n        z()\n    ", "if y:"),
        ("x = 1\ny", ""),
        ("", ""),
    ],
)
def test_the_line_that_is_copied(before: str, copied: str) -> None:
    hole = Hole(kind="line", path="", text=before, start=len(before), end=len(before))
    assert copied_line(hole) == copied


def test_holes_come_with_the_folders_other_files(folder: Path) -> None:
    holes = with_nearby(cut_holes(folder, limit=8), folder, budget_chars=10_000)
    for hole in holes:
        assert hole.text not in hole.nearby
        assert all("def mean" in text for text in hole.nearby)
    assert any(hole.nearby for hole in holes)
    engine = ScriptedEngine(["1"], nearby_chars=10_000)
    hole = next(hole for hole in holes if hole.nearby)
    fill_hole(engine, hole, 0)
    assert engine.requests[-1].prompt.nearby == hole.nearby
    fill_hole(engine, hole, 0, alone=True)
    assert engine.requests[-1].prompt.nearby == ()
