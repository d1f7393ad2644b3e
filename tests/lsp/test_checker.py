"""`infill fix --checker` with real checkers: what they say is fixed, what they then dislike is dropped."""

from __future__ import annotations

import json
import sys
import threading
import time
from pathlib import Path

import pytest

from lsp.checker import Checker, CheckerError, Complaint, settles
from tests.fakes.engine import ScriptedEngine
from tests.lsp.cli_harness import run_cli

RUFF = f"{sys.executable} -m ruff check --isolated --output-format json --stdin-filename {{file}} -"
MYPY = f"{sys.executable} -m mypy --no-incremental --output json --shadow-file {{file}} {{copy}} {{file}}"
PLAIN_MYPY = f"{sys.executable} -m mypy --no-incremental {{copy}}"
BUGGY = """\
def total(items: list[int]) -> int:
    result = 0
    for item in items:
        result += item
    return reslt
"""


def likes(*texts: str) -> ScriptedEngine:
    """An engine to which a text reads well that has one of `texts` in it, the first most of all."""

    def score(middle: str) -> float:
        return next((-0.1 * n for n, text in enumerate(texts) if text in middle), -3.0)

    return ScriptedEngine(["x"], score=score)


def written(folder: Path, text: str) -> Path:
    path = folder / "a.py"
    path.write_text(text)
    return path


@pytest.mark.parametrize("command", [RUFF, MYPY, PLAIN_MYPY])
def test_real_checkers_are_understood(tmp_path: Path, command: str) -> None:
    path = written(tmp_path, BUGGY)
    (complaint,) = Checker.parse(command).complaints(BUGGY, str(path))
    assert complaint.line == 5
    assert "reslt" in complaint.message
    assert Checker.parse(command).complaints(BUGGY.replace("reslt", "result"), str(path)) == ()


def test_the_text_counts_and_not_the_file(tmp_path: Path) -> None:
    path = written(tmp_path, "x = 1\n")
    for command in (RUFF, MYPY):
        assert len(Checker.parse(command).complaints(BUGGY, str(path))) == 1
    assert path.read_text() == "x = 1\n"
    assert [p.name for p in tmp_path.iterdir() if p.suffix == ".py"] == ["a.py"]


def test_a_long_text_reaches_a_slow_checker_and_one_nobody_waits_for_is_ended() -> None:
    counts = "import sys, time; time.sleep(0.3); print(f'a.py:1:1: {len(sys.stdin.read())}')"
    (complaint,) = Checker(command=(sys.executable, "-c", counts)).complaints("x" * 300_000, "a.py")
    assert complaint.message == "300000"
    cancelled, began = threading.Event(), time.monotonic()
    threading.Timer(0.3, cancelled.set).start()
    with pytest.raises(CheckerError, match="not wanted any more"):
        Checker(command=(sys.executable, "-c", "import time; time.sleep(30)")).complaints(
            "", "a.py", cancelled
        )
    assert time.monotonic() - began < 15


def test_what_ruff_says_is_fixed(tmp_path: Path) -> None:
    path = written(tmp_path, BUGGY)
    run = run_cli(["fix", str(path), "--checker", RUFF, "--write"], likes("return result"))
    assert run.code == 0, run.errors
    assert path.read_text() == BUGGY.replace("reslt", "result")


def test_a_likelier_fix_that_the_checker_does_not_like_is_dropped(tmp_path: Path) -> None:
    # To ruff `items` is as good a name as `result`; mypy knows that it is a list.
    path = written(tmp_path, BUGGY)
    engine = likes("return items", "return result")
    ruff = run_cli(["fix", str(path), "--checker", RUFF], engine).out.decode()
    mypy = run_cli(["fix", str(path), "--checker", MYPY], engine).out.decode()
    assert "+    return items\n" in ruff
    assert "+    return result\n" in mypy


def test_every_place_is_fixed_and_the_message_chooses(tmp_path: Path) -> None:
    text = "def f(first, second):\n    a = frist\n    b = secnd\n    return a, b\n"
    path = written(tmp_path, text)
    engine = likes("a = first", "b = second")
    run = run_cli(["fix", str(path), "--checker", RUFF, "--json"], engine)
    places = json.loads(run.out)["places"]
    assert [place["at"]["line"] for place in places] == [2, 3]
    assert [place["fixes"][0]["text"] for place in places] == ["first", "second"]
    arguments = ["fix", str(path), "--checker", RUFF, "--message", "secnd", "--write"]
    assert run_cli(arguments, engine).code == 0
    assert path.read_text() == text.replace("secnd", "second")


def test_nothing_is_fixed_where_no_candidate_settles_it(tmp_path: Path) -> None:
    path = written(tmp_path, "import os\n")
    run = run_cli(["fix", str(path), "--checker", RUFF], likes("import os"))
    assert (run.code, run.out) == (1, b"")
    assert "no fix was found" in run.errors


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("", "empty"),
        ("ruff 'check", "cannot be read"),
        ("no-such-checker {copy}", "cannot be run"),
        (f"{sys.executable} -c 'import sys; sys.exit(3)'", "ended with 3"),
        (f"{sys.executable} -c 'print([1])'", "of no kind"),
    ],
)
def test_a_command_that_is_no_checker_is_bad_input(tmp_path: Path, command: str, said: str) -> None:
    run = run_cli(["fix", str(written(tmp_path, BUGGY)), "--checker", command], likes("x"))
    assert run.code == 2
    assert said in run.errors


def test_a_checker_that_takes_too_long_is_ended() -> None:
    endless = Checker(
        command=(sys.executable, "-c", "import threading; threading.Event().wait()"), timeout_s=0.2
    )
    with pytest.raises(CheckerError, match="longer than"):
        endless.complaints("x", "a.py")


def complaint(message: str, line: int = 1) -> Complaint:
    return Complaint(line=line, column=1, end_line=line, end_column=1, code="E", message=message)


def test_a_fix_settles_what_it_clears_without_anything_new() -> None:
    one, other = complaint("one"), complaint("other")
    assert settles([one, other], [complaint("other", line=7)], one)
    assert not settles([one], [one], one)
    assert not settles([one], [other], one)
    assert not settles([one, one], [one, one, other], one)
    assert settles([one, one], [one], one)
    assert settles([one], [], None)
    assert settles([one], [one], None)
    assert not settles([one], [one, other], None)
