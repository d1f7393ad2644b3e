"""`infill eval`: tables, one JSON line at the end, exit codes."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

from engine.request import Decoding
from tests.fakes.engine import ScriptedEngine
from tests.lsp.cli_harness import run_cli

GOLD = "    y = y + x\n"


def folder_with_code(tmp_path: Path) -> Path:
    lines = "".join(f"def plus_{n}(value):\n    return value + {n}\n\n\n" for n in range(9))
    (tmp_path / "plus.py").write_text(lines)
    return tmp_path


def write_tasks(tmp_path: Path, *golds: str) -> Path:
    path = tmp_path / "tasks.jsonl.gz"
    with gzip.open(path, "wt", encoding="utf-8") as file:
        for number, gold in enumerate(golds):
            task = {
                "task_id": f"SingleLineInfilling/HumanEval/{number}/L0",
                "entry_point": "double",
                "prompt": "def double(x):\n    y = x\n",
                "canonical_solution": gold,
                "suffix": "    return y\n",
                "test": "def check(candidate):\n    assert candidate(4) == 8\n",
            }
            file.write(json.dumps(task) + "\n")
    return path


def test_the_command_ends_with_one_json_line(tmp_path: Path) -> None:
    folder = folder_with_code(tmp_path)
    run = run_cli(["eval", "holes", str(folder), "--limit", "4"], ScriptedEngine(["x"]))
    *table, last = run.out.decode().rstrip("\n").split("\n")
    assert run.code == 0, run.errors
    assert any("copied line" in line for line in table)
    assert json.loads(last)["benchmark"] == "holes"
    alone = run_cli(["eval", "holes", str(folder), "--limit", "4", "--json"], ScriptedEngine(["x"]))
    assert alone.out.count(b"\n") == 1


def test_a_bad_folder_exits_with_2(tmp_path: Path) -> None:
    run = run_cli(["eval", "holes", str(tmp_path / "absent")], ScriptedEngine(["x"]))
    assert (run.code, run.out) == (2, b"")
    assert "is not a directory" in run.errors


def test_tasks_are_run_and_reported(tmp_path: Path) -> None:
    path = write_tasks(tmp_path, GOLD, GOLD)
    arguments = ["eval", "humaneval-infilling", "--file", str(path)]
    run = run_cli(arguments, ScriptedEngine(["    y = y + x"]))
    last = json.loads(run.out.decode().rstrip("\n").rsplit("\n", 1)[-1])
    assert run.code == 0, run.errors
    assert last["all"] == {"tasks": 2, "problems": 2, "pass_at_1": 1.0, "low": 1.0, "high": 1.0}
    checked = run_cli([*arguments, "--check-golds"], ScriptedEngine([""]))
    assert json.loads(checked.out)["failing"] == []


def test_golds_that_fail_exit_with_2(tmp_path: Path) -> None:
    path = write_tasks(tmp_path, "\n")
    run = run_cli(["eval", "humaneval-infilling", "--file", str(path), "--check-golds"], ScriptedEngine([""]))
    assert run.code == 2
    assert "1 of 1 reference solutions do not pass" in run.errors


def test_every_decoding_asked_for_has_its_rows(tmp_path: Path) -> None:
    engine = ScriptedEngine(["x"])
    arguments = ["eval", "holes", str(folder_with_code(tmp_path)), "--limit", "4", "--json"]
    run = run_cli([*arguments, "--decoding", "verify", "causal"], engine)
    rows = json.loads(run.out)["rows"]
    assert {row["method"] for row in rows} == {
        "model",
        "model, verify",
        "model, causal",
        "empty",
        "copied line",
    }
    warm_up, *asked = [request.decoding for request in engine.requests]
    assert warm_up is None
    assert asked == [None, Decoding.VERIFY, Decoding.CAUSAL] * 4


def test_a_split_is_the_published_file_in_the_data_folder(tmp_path: Path) -> None:
    arguments = ["eval", "humaneval-infilling", "--split", "single-line", "--data", str(tmp_path)]
    missing = run_cli(arguments, ScriptedEngine(["x"]))
    assert missing.code == 2
    assert "HumanEval-SingleLineInfilling.jsonl.gz" in missing.errors
    write_tasks(tmp_path, GOLD).rename(tmp_path / "HumanEval-SingleLineInfilling.jsonl.gz")
    run = run_cli([*arguments, "--json"], ScriptedEngine(["    y = y + x"]))
    assert json.loads(run.out)["all"]["pass_at_1"] == 1.0


def test_fills_that_know_the_length_are_named_so(tmp_path: Path) -> None:
    engine = ScriptedEngine(["x"])
    arguments = ["eval", "holes", str(folder_with_code(tmp_path)), "--limit", "4", "--json"]
    run = run_cli([*arguments, "--oracle-length"], engine)
    assert "model, denoise, oracle length" in {row["method"] for row in json.loads(run.out)["rows"]}
    layouts = [request.layouts for request in engine.requests if request.layouts]
    tokens = [-(-len(scored.middles[0]) // 4) for scored in engine.scored]  # of four characters
    assert [layout[0][0].free_tokens for layout in layouts] == tokens
