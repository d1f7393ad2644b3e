"""HumanEval-Infilling on tasks of our own, with a scripted engine and the real sandbox."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from infill.evaluate.humaneval import (
    InvalidTasks,
    Result,
    Task,
    evaluate_tasks,
    failing_golds,
    middle_of,
    read_tasks,
    request_of,
    summarise,
)
from infill.request import Suggestion
from tests.fakes.engine import ScriptedEngine


def row(number: int, kind: str = "SingleLineInfilling", **other: str) -> dict[str, str]:
    return {
        "task_id": f"{kind}/HumanEval/{number}/L0",
        "entry_point": "double",
        "prompt": "def double(x):\n    y = x\n",
        "canonical_solution": "    y = y + x\n",
        "suffix": "    return y\n",
        "test": "def check(candidate):\n    assert candidate(4) == 8\n",
        **other,
    }


def write(path: Path, *rows: dict[str, str]) -> Path:
    with gzip.open(path, "wt", encoding="utf-8") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)
    return path


def tasks_of(tmp_path: Path, *rows: dict[str, str]) -> list[Task]:
    return read_tasks(write(tmp_path / "tasks.jsonl.gz", *rows))


def test_tasks_are_read_with_their_problem(tmp_path: Path) -> None:
    trivial = row(2, suffix="", canonical_solution="    return True\n")
    first, second = tasks_of(tmp_path, row(1), trivial)
    assert (first.problem, first.trivial, second.trivial) == ("HumanEval/1", False, True)
    assert len(read_tasks(tmp_path / "tasks.jsonl.gz", limit=1)) == 1


def test_golds_pass_and_a_wrong_gold_is_found(tmp_path: Path) -> None:
    wrong = row(2, canonical_solution="    y = y - x\n")
    failing = list(failing_golds(tasks_of(tmp_path, row(1), wrong)))
    assert [(task.problem, execution.error) for task, execution in failing] == [
        ("HumanEval/2", "AssertionError")
    ]


def test_a_right_a_wrong_and_a_rejected_fill(tmp_path: Path) -> None:
    tasks = tasks_of(tmp_path, row(1), row(2), row(3))
    report = evaluate_tasks(ScriptedEngine(["    y = y + x", "    y = y - x", ""]), tasks)
    assert report.verdicts == {"passed": 1, "failed": 1, "rejected": 1}
    assert report.rejected == {"empty": 1}
    assert (report.all.tasks, report.all.problems, report.all.pass_at_1) == (3, 3, 0.3333)
    assert report.all.low <= report.all.pass_at_1 <= report.all.high
    json.dumps(report.as_json())


def test_a_line_hole_is_an_empty_line_and_a_random_span_is_not(tmp_path: Path) -> None:
    line, span = tasks_of(tmp_path, row(1), row(2, kind="RandomSpanInfillingLight"))
    assert request_of(line, seed=0).text == "def double(x):\n    y = x\n\n    return y\n"
    assert request_of(span, seed=0).text == "def double(x):\n    y = x\n    return y\n"


def test_a_random_span_may_go_on_over_the_lines_end(tmp_path: Path) -> None:
    prompt, suffix = "def double(x):\n    y = ", "return y\n"
    (task,) = tasks_of(tmp_path, row(1, kind="RandomSpanInfillingLight", prompt=prompt, suffix=suffix))
    report = evaluate_tasks(ScriptedEngine([" x + x\n    "]), [task])
    assert report.verdicts == {"passed": 1}


def test_the_engine_is_told_nothing_of_the_gold(tmp_path: Path) -> None:
    short, long = tasks_of(tmp_path, row(1), row(1, canonical_solution="    y = x + x\n" * 30))
    assert request_of(short, seed=0) == request_of(long, seed=0)


@pytest.mark.parametrize(
    ("start", "end", "text", "middle"),
    [
        (25, 25, "    y = 1", "    y = 1\n"),  # the hole itself
        (23, 25, "x\n    y = 1", "    y = 1\n"),  # from before it, as after healing a word
        (25, 26, "    y = 1\n", "    y = 1\n"),  # up to after the line ending that was added
    ],
)
def test_the_middle_is_what_stands_between_prompt_and_suffix(
    tmp_path: Path, start: int, end: int, text: str, middle: str
) -> None:
    (task,) = tasks_of(tmp_path, row(1))
    assert len(task.prompt) == 25
    suggestion = Suggestion(
        text=text, start=start, end=end, confidence=1, steps=1, canvas_tokens=32, elapsed_ms=1, model=""
    )
    assert middle_of(task, suggestion) == middle


def test_trivial_golds_are_left_out_of_the_second_rate(tmp_path: Path) -> None:
    trivial = row(2, suffix="", canonical_solution="    return True\n")
    hard, easy = tasks_of(tmp_path, row(1), trivial)
    results = [
        Result(task=hard, passed=False, verdict="failed"),
        Result(task=easy, passed=True, verdict="passed"),
    ]
    report = summarise("m", results, seed=0)
    assert (report.all.pass_at_1, report.without_trivial.pass_at_1) == (0.5, 0.0)
    assert report.without_trivial.tasks == 1


def test_a_file_that_is_no_task_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl.gz"
    for data, said in [
        (gzip.compress(b'{"task_id": 1}\n'), "line 1 is not an infilling task"),
        (gzip.compress(b"[]\n"), "line 1 is not an infilling task"),
        (gzip.compress(b""), "has no tasks"),
        (gzip.compress(json.dumps(row(1)).encode() * 9)[:-9], "t.jsonl.gz"),
        (b"plain", "cannot be read"),
    ]:
        path.write_bytes(data)
        with pytest.raises(InvalidTasks, match=said):
            read_tasks(path)
    with pytest.raises(InvalidTasks, match="cannot be read"):
        read_tasks(tmp_path / "absent.jsonl.gz")
