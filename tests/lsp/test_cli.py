"""`infill fill` on good input: what it prints, writes and exits with."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
from pathlib import Path
from unittest import mock

import pytest

from engine.errors import BrokenCheckpoint, InvalidRequest, ModelNotFound, UnsupportedModel
from engine.request import Stop
from lsp.cli import build_parser
from lsp.commands.errors import Exit
from lsp.commands.source import Position, parse_place
from lsp.version import __version__
from tests.fakes.engine import ScriptedEngine
from tests.lsp.cli_harness import run_cli

CODE = "def area(w, h):\n    return \n\nprint(area(2, 3))\n"
FILLED = CODE.replace("return ", "return w * h")


@pytest.fixture
def code_file(tmp_path: Path) -> Path:
    path = tmp_path / "area.py"
    path.write_bytes(CODE.encode())
    return path


def test_off_a_terminal_the_whole_filled_text_is_the_only_output(code_file: Path) -> None:
    run = run_cli(["fill", f"{code_file}:2:12"], ScriptedEngine(["w * h"]))
    assert (run.code, run.out.decode(), run.errors) == (0, FILLED, "")
    assert code_file.read_text() == CODE


def test_a_terminal_sees_the_canvas_and_then_the_code_around_the_hole(code_file: Path) -> None:
    run = run_cli(["fill", f"{code_file}:2:12", "--frame-ms", "0"], ScriptedEngine(["w * h"]), terminal=True)
    assert run.code == 0
    assert "step 1" in run.errors
    assert "step 3" in run.errors
    assert "scripted" in run.errors
    assert "return" in run.out.decode()
    assert "w * h" in run.out.decode()


def test_force_color_does_not_decorate_what_is_piped(
    code_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert run_cli(["fill", f"{code_file}:2:12"], ScriptedEngine(["w * h"])).out.decode() == FILLED


def test_json_is_one_object_with_the_documented_fields(code_file: Path) -> None:
    run = run_cli(["fill", f"{code_file}:2:12", "--json"], ScriptedEngine(["w * h"]))
    answer = json.loads(run.out)
    assert run.out.endswith(b"}\n")
    assert run.out.count(b"\n") == 1
    assert answer.pop("ms") >= 0
    assert answer == {
        "text": " w * h",  # with the healed space, which the range covers
        "range": {"start": {"line": 2, "column": 11}, "end": {"line": 2, "column": 12}},
        "confidence": 0.9,
        "steps": 3,
        "canvas_tokens": 32,
        "model": "scripted",
        "rejected": None,
    }


def test_json_says_why_there_is_no_suggestion(code_file: Path) -> None:
    run = run_cli(["fill", f"{code_file}:2:12", "--json"], ScriptedEngine([""]))
    answer = json.loads(run.out)
    assert run.code == 1
    assert answer["text"] == ""
    assert answer["rejected"] == {"reason": "empty", "message": "the model suggests nothing here"}
    assert run.errors == "no suggestion: the model suggests nothing here\n"


def test_a_suggestion_the_model_is_not_sure_enough_of_is_turned_down(code_file: Path) -> None:
    def answered(*options: str) -> int:
        return run_cli(
            ["fill", f"{code_file}:2:12", *options], ScriptedEngine(["w * h"], confidence=0.5)
        ).code

    assert answered() == answered("--min-confidence=0.4") == Exit.OK
    assert answered("--min-confidence=0.6") == Exit.NO_SUGGESTION


def test_a_healed_word_is_part_of_the_range(tmp_path: Path) -> None:
    path = tmp_path / "a.py"
    path.write_text("total = 1\nprint(tot)\n")
    run = run_cli(["fill", f"{path}:2:10", "--json"], ScriptedEngine(["total"]))
    answer = json.loads(run.out)
    start = answer["range"]["start"]["column"]
    typed = "print(tot)"[start - 1 : 9]
    assert start < 10
    assert answer["text"].startswith(typed)


def test_to_replaces_a_span(code_file: Path) -> None:
    run = run_cli(["fill", f"{code_file}:4:7", "--to", "4:17"], ScriptedEngine(["area(5, 6)"]))
    assert run.out.decode() == CODE.replace("area(2, 3)", "area(5, 6)")


def test_options_reach_the_engine(code_file: Path) -> None:
    engine = ScriptedEngine(["w * h"])
    options = ["--seed=7", "--canvas=128", "--steps=5", "--deadline-ms=60000", "--candidates=2"]
    run_cli(["fill", f"{code_file}:2:12", *options], engine)
    request = engine.requests[0]
    assert (request.seed, request.canvas_tokens, request.max_steps, request.candidates) == (7, 128, 5, 2)
    assert request.deadline_ms is not None
    assert 0 < request.deadline_ms <= 60000


def test_standard_input(tmp_path: Path) -> None:
    run = run_cli(["fill", "-:2:12", "--language", "python"], ScriptedEngine(["w * h"]), stdin=CODE.encode())
    assert (run.code, run.out.decode()) == (0, FILLED)


def test_write_replaces_the_file_and_keeps_its_mode(code_file: Path) -> None:
    code_file.chmod(0o750)
    run = run_cli(["fill", f"{code_file}:2:12", "--write"], ScriptedEngine(["w * h"]))
    assert (run.code, run.out) == (0, b"")
    assert code_file.read_text() == FILLED
    assert sys.platform == "win32" or code_file.stat().st_mode & 0o777 == 0o750
    assert [p.name for p in code_file.parent.iterdir()] == ["area.py"]


def test_write_keeps_line_endings_and_the_byte_order_mark(tmp_path: Path) -> None:
    path = tmp_path / "a.py"
    path.write_bytes(b"\xef\xbb\xbfdef f(x):\r\n    \r\n\r\nf(1)\r\n")
    run = run_cli(["fill", f"{path}:2:5", "--write"], ScriptedEngine(["y = x\n    return y"]))
    assert run.code == 0, run.errors
    assert path.read_bytes() == b"\xef\xbb\xbfdef f(x):\r\n    y = x\r\n    return y\r\n\r\nf(1)\r\n"


def test_write_through_a_symbolic_link_keeps_the_link(code_file: Path, tmp_path: Path) -> None:
    link = tmp_path / "link.py"
    link.symlink_to(code_file)
    run_cli(["fill", f"{link}:2:12", "--write"], ScriptedEngine(["w * h"]))
    assert link.is_symlink()
    assert code_file.read_text() == FILLED


def test_write_refuses_a_file_that_changed_meanwhile(code_file: Path) -> None:
    class Meddling(ScriptedEngine):
        def denoise(self, request, cancelled):  # type: ignore[no-untyped-def]
            code_file.write_text("mine\n")
            return super().denoise(request, cancelled)

    run = run_cli(["fill", f"{code_file}:2:12", "--write"], Meddling(["w * h"]))
    assert run.code == 2
    assert "changed while the hole was being filled; nothing was written" in run.errors
    assert code_file.read_text() == "mine\n"
    assert [p.name for p in code_file.parent.iterdir()] == ["area.py"]


def test_a_rejected_fill_writes_nothing(code_file: Path) -> None:
    run = run_cli(["fill", f"{code_file}:2:12", "--write"], ScriptedEngine([""]))
    assert (run.code, run.out, code_file.read_text()) == (1, b"", CODE)


def test_an_interrupt_stops_the_denoiser_and_exits_with_130(code_file: Path) -> None:
    gate = threading.Event()
    engine = ScriptedEngine(["w * h"], gate=gate)
    with mock.patch("lsp.terminal.CanvasView.show", side_effect=KeyboardInterrupt):
        run = run_cli(["fill", f"{code_file}:2:12"], engine, terminal=True)
    assert run.code == 130
    assert engine.stops == [Stop.CANCELLED]


@pytest.mark.parametrize("error", [ModelNotFound, UnsupportedModel, BrokenCheckpoint])
def test_a_model_that_cannot_be_loaded_exits_with_3(code_file: Path, error: type[Exception]) -> None:
    run = run_cli(["fill", f"{code_file}:2:12", "--model", "x"], error("no such model: x"))
    assert (run.code, run.out, run.errors) == (3, b"", "infill: no such model: x\n")


def test_a_request_the_engine_refuses_exits_with_2(code_file: Path) -> None:
    run = run_cli(["fill", f"{code_file}:2:12"], InvalidRequest("cannot"))
    assert (run.code, run.errors) == (2, "infill: cannot\n")


def test_an_internal_error_is_one_line_and_not_the_code_of_having_no_suggestion(code_file: Path) -> None:
    run = run_cli(["fill", f"{code_file}:2:12"], ZeroDivisionError("two\nlines"))
    assert (run.code, run.out) == (70, b"")
    assert run.errors == "infill: internal error: ZeroDivisionError: two lines\n"


def test_debug_shows_where_an_internal_error_happened(code_file: Path) -> None:
    run = run_cli(["fill", f"{code_file}:2:12", "--debug"], ZeroDivisionError("why"))
    assert run.code == 70
    assert "Traceback" in run.errors
    assert "lsp/commands/fill.py" in run.errors.replace("\\", "/")
    assert run.errors.endswith("\ninfill: internal error: ZeroDivisionError: why\n")


@pytest.mark.parametrize(
    ("target", "path"),
    [("a.py:3:4", "a.py"), (r"C:\x.py:3:4", r"C:\x.py"), ("a:b.py:3:4", "a:b.py"), ("a:1:3:4", "a:1")],
)
def test_the_place_is_read_from_the_right(target: str, path: str) -> None:
    assert parse_place(target) == (path, Position(line=3, column=4))


def test_version() -> None:
    assert run_cli(["--version"], ScriptedEngine([""])).out.decode() == f"infill {__version__}\n"


def test_help_documents_the_exit_codes() -> None:
    for arguments in (["--help"], ["fill", "--help"]):
        said = run_cli(arguments, ScriptedEngine([""])).out.decode()
        for code in Exit:
            assert f"\n  {code:<4} " in said


def test_help_begins_with_what_a_newcomer_wants() -> None:
    said = run_cli(["--help"], ScriptedEngine([""])).out.decode()
    commands = re.findall(r"^    (\w+)", said.partition("COMMAND\n")[2].partition("\n\n")[0], re.MULTILINE)
    assert commands[:5] == ["fill", "check", "fix", "doctor", "lsp"]
    assert "infill COMMAND --help" in said
    [example] = re.findall(r"^  infill (fill app\.py:12:9) ", said, re.MULTILINE)
    build_parser().parse_args(example.split())


def test_every_command_s_help_says_what_it_is_about() -> None:
    overview = run_cli(["--help"], ScriptedEngine([""])).out.decode()
    for name in re.findall(r"^    (\w+) ", overview.partition("COMMAND\n")[2], re.MULTILINE):
        said = run_cli([name, "--help"], ScriptedEngine([""])).out.decode()
        assert not said.partition("\n\n")[2].startswith(("options:", "positional")), name


def test_importing_the_command_line_imports_nothing_heavy() -> None:
    heavy = ("torch", "transformers", "numpy", "pygls", "rich", "tree_sitter", "huggingface_hub")
    check = f"import sys, lsp.cli; print([m for m in {heavy} if m in sys.modules])"
    run = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


def test_bad_input_is_reported_without_importing_torch(tmp_path: Path) -> None:
    check = (
        "import sys; from lsp.cli import main; code = main(['fill', 'absent.py:1:1']); "
        "print(code, 'torch' in sys.modules)"
    )
    run = subprocess.run(
        [sys.executable, "-c", check],
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )
    assert (run.stdout, run.stderr) == ("2 False\n", "infill: absent.py: no such file\n")
