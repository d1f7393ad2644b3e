"""`infill fix`, `infill check` and `infill eval fixes`: output, files, exit codes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from engine.errors import ModelNotFound
from tests.fakes.engine import ScriptedEngine
from tests.lsp.cli_harness import run_cli

BROKEN = "def f(a)\n    return a\n"
WHOLE = "def f(a):\n    return a\n"
BUGGY = "def total(items):\n    result = 0\n    result += 1\n    return reslt\n"


def engine() -> ScriptedEngine:
    liked = ("return result", "(a):")
    return ScriptedEngine(
        ["x"],
        doubts={"reslt": ("result", 0.9)},
        score=lambda middle: -0.1 if any(text in middle for text in liked) else -6.0,
    )


def written(folder: Path, text: str, name: str = "a.py") -> str:
    path = folder / name
    path.write_bytes(text.encode())
    return str(path)


def test_a_fix_is_shown_as_a_diff_and_written_on_request(tmp_path: Path) -> None:
    path = written(tmp_path, BROKEN)
    run = run_cli(["fix", path], engine())
    assert run.code == 0, run.errors
    assert "-def f(a)\n+def f(a):\n" in run.out.decode()
    assert Path(path).read_text() == BROKEN
    assert run_cli(["fix", path, "--write"], engine()).code == 0
    assert Path(path).read_text() == WHOLE


def test_line_endings_survive(tmp_path: Path) -> None:
    path = written(tmp_path, BROKEN.replace("\n", "\r\n"))
    assert run_cli(["fix", path, "--write"], engine()).code == 0
    assert Path(path).read_bytes() == WHOLE.replace("\n", "\r\n").encode()


def test_a_fix_as_json(tmp_path: Path) -> None:
    run = run_cli(["fix", written(tmp_path, BROKEN), "--json"], engine())
    [place] = json.loads(run.out)["places"]
    best = place["fixes"][0]
    assert (best["title"], best["text"], best["how"]) == ("Insert `:`", ":", "colon")
    assert best["range"] == {"start": {"line": 1, "column": 9}, "end": {"line": 1, "column": 9}}


def test_what_a_tool_said_is_fixed(tmp_path: Path) -> None:
    path = written(tmp_path, BUGGY)
    run = run_cli(["fix", f"{path}:4:12-4:17", "--message", "undefined name", "--write"], engine())
    assert run.code == 0, run.errors
    assert "return result\n" in Path(path).read_text()


def test_nothing_to_fix_exits_with_1(tmp_path: Path) -> None:
    run = run_cli(["fix", written(tmp_path, WHOLE)], engine())
    assert (run.code, run.out) == (1, b"")
    assert "nothing to fix" in run.errors


@pytest.mark.parametrize("arguments", [["{}:9"], ["{}:2-1"], ["{}", "--message", "m"], ["{}x"]])
def test_bad_input_exits_with_2(tmp_path: Path, arguments: list[str]) -> None:
    path = written(tmp_path, BROKEN)
    assert run_cli(["fix", *(a.format(path) for a in arguments)], engine()).code == 2


def test_a_file_without_a_grammar_exits_with_2(tmp_path: Path) -> None:
    path = written(tmp_path, "text", "a.txt")
    assert run_cli(["fix", path], engine()).code == 2
    assert run_cli(["check", path], engine()).code == 2


@pytest.mark.parametrize("command", ["fix", "check"])
@pytest.mark.parametrize("name", ["secrets.py", "innocent.py"])
def test_a_file_that_may_hold_secrets_is_not_read(tmp_path: Path, command: str, name: str) -> None:
    (tmp_path / "innocent.py").symlink_to(written(tmp_path, BUGGY, "secrets.py"))
    scripted = engine()
    run = run_cli([command, str(tmp_path / name)], scripted)
    assert (run.code, run.out) == (2, b"")
    assert "may hold secrets and are never read" in run.errors
    assert (scripted.requests, scripted.read_requests, scripted.scored) == ([], [], [])


def test_findings_are_listed_and_exit_with_1(tmp_path: Path) -> None:
    path = written(tmp_path, BUGGY)
    run = run_cli(["check", path], engine())
    assert run.code == 1
    assert run.out.decode() == f"{path}:4:12: Replace `reslt` with `result`? [misspelt]\n"
    assert run_cli(["check", path, "--threshold", "1000"], engine()).code == 0
    assert run_cli(["check", written(tmp_path, WHOLE)], engine()).code == 0


def test_one_file_that_cannot_be_checked_keeps_no_other_from_it(tmp_path: Path) -> None:
    path, text = written(tmp_path, BUGGY), written(tmp_path, "text", "a.txt")
    (tmp_path / "latin.py").write_bytes(b"name = 'caf\xe9'\n")
    missing, latin = str(tmp_path / "no.py"), str(tmp_path / "latin.py")
    run = run_cli(["check", missing, text, latin, path], engine())
    assert run.code == 2
    assert run.out.decode() == f"{path}:4:12: Replace `reslt` with `result`? [misspelt]\n"
    said = run.errors.splitlines()
    assert [any(name in line for line in said) for name in (missing, text, latin)] == [True] * 3
    assert len(said) == 3
    alone = run_cli(["check", "--json", missing], ModelNotFound("it should not be looked for"))
    assert (alone.code, json.loads(alone.out)) == (2, {"model": None, "findings": []})
    assert run_cli(["check", path], ModelNotFound("there is none")).code == 3


def test_the_source_files_of_a_folder_are_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ignored = ("src/out/b.py", "src/.venv/c.py", "src/secrets.py", "src/node_modules/d.py")
    for name in ("src/a.py", "src/deep/e.py", *ignored):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        written(tmp_path, BUGGY, name)
    written(tmp_path, "# Code generated by a tool\n" + BUGGY, "src/made.py")
    written(tmp_path, "text", "src/notes.txt")
    written(tmp_path, "out/\n", ".infillignore")
    written(tmp_path, "[check]\nnonsense = 1\n", "infill.toml")
    (tmp_path / ".git").mkdir()
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path)
    run = run_cli(["check", "src/", "src/a.py"], engine())
    found = [line.partition(":")[0] for line in run.out.decode().splitlines()]
    assert (run.code, found) == (1, [str(Path("src/a.py")), str(Path("src/deep/e.py"))])
    assert run.errors.count("nonsense") == 1
    nothing = run_cli(["check", "empty"], engine())
    assert (nothing.code, nothing.errors) == (0, "infill: empty: there is nothing to check in it\n")


def test_what_does_not_parse_is_a_finding(tmp_path: Path) -> None:
    run = run_cli(["check", "--json", written(tmp_path, BROKEN)], engine())
    assert run.code == 1
    [finding] = json.loads(run.out)["findings"]
    assert (finding["kind"], finding["range"]["start"]["line"]) == ("syntax", 1)


def test_the_project_file_silences_a_kind(tmp_path: Path) -> None:
    path = written(tmp_path, BUGGY)
    (tmp_path / "infill.toml").write_text("[check]\nmisspelt = false\n")
    assert run_cli(["check", path], engine()).code == 0
    (tmp_path / "infill.toml").write_text("[check]\nmispelt = false\n")
    run = run_cli(["check", path], engine())
    assert run.code == 1
    assert "mispelt" in run.errors


def test_sarif_has_a_place_and_a_fix(tmp_path: Path) -> None:
    path = written(tmp_path, BUGGY)
    run = run_cli(["check", "--sarif", path], engine())
    log = json.loads(run.out)
    assert log["version"] == "2.1.0"
    [result] = log["runs"][0]["results"]
    rules = log["runs"][0]["tool"]["driver"]["rules"]
    region = {"startLine": 4, "startColumn": 12, "endLine": 4, "endColumn": 17}
    location = result["locations"][0]["physicalLocation"]
    assert rules[result["ruleIndex"]]["id"] == result["ruleId"] == "misspelt"
    assert location["region"] == region
    assert location["artifactLocation"]["uri"] == Path(path).as_uri()
    [replacement] = result["fixes"][0]["artifactChanges"][0]["replacements"]
    assert replacement == {"deletedRegion": region, "insertedContent": {"text": "result"}}


def test_the_benchmark_ends_with_one_json_line(tmp_path: Path) -> None:
    function = "def f{n}(self, first, second):\n    if first == 0 and second:\n        return [first]\n"
    text = "".join(function.format(n=n) + "    return second\n\n\n" for n in range(8))
    (tmp_path / "a.py").write_text(text)
    arguments = ["eval", "fixes", str(tmp_path), "--bugs", "1", "--clean", "2", "--fills", "4"]
    run = run_cli(arguments, engine())
    assert run.code == 0, run.errors
    report = json.loads(run.out.decode().rstrip("\n").rsplit("\n", 1)[-1])
    assert report["benchmark"] == "fixes"
    assert {row["kind"] for row in report["syntax"]} >= {"bracket", "colon", "indent"}
    assert {row["kind"] for row in report["tokens"]} >= {"operator", "all"}
    assert report["fills"]["holes"] > 0
    assert report["clean_lines"] > 0
