"""`infill fill` on bad and unusual input: one clear line, the right exit code, never a traceback."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lsp.commands.source import Position, Source, offset_of, position_of
from tests.fakes.engine import ScriptedEngine
from tests.lsp.cli_harness import Run, run_cli


def check_refused(run: Run, *parts: str) -> None:
    """The run ended with exit code 2, nothing on stdout and one line on stderr that says all parts."""
    assert (run.code, run.out) == (2, b"")
    assert run.errors.startswith("infill: ")
    assert run.errors.count("\n") == 1
    for part in parts:
        assert part in run.errors


def fill(tmp_path: Path, data: bytes, place: str, *options: str, name: str = "a.py", text: str = "x") -> Run:
    (tmp_path / name).write_bytes(data)
    return run_cli(["fill", f"{tmp_path / name}:{place}", *options], ScriptedEngine([text]))


@pytest.mark.parametrize(
    ("data", "place", "said"),
    [
        (b"a\nb", "3:1", "line 3 is outside {}, which has 2 lines"),
        (b"a\nb\n", "4:1", "line 4 is outside {}, which has 3 lines, the last of them empty"),
        (b"a", "2:1", "line 2 is outside {}, which has 1 line"),
        (b"abc\n", "1:5", "column 5 is outside line 1 of {}, which has columns 1 to 4"),
        (b"abc\r\n", "1:5", "column 5 is outside line 1 of {}, which has columns 1 to 4"),
        (b"\nabc", "1:2", "column 2 is outside line 1 of {}, which has column 1 only"),
        (b"", "2:1", "{} is empty, so 1:1 is its only position, not line 2"),
        (b"", "1:2", "column 2 is outside line 1 of {}, which has column 1 only"),
    ],
)
def test_a_position_outside_the_file(tmp_path: Path, data: bytes, place: str, said: str) -> None:
    check_refused(fill(tmp_path, data, place), said.format(tmp_path / "a.py"))


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("a.py", "is not FILE:LINE:COL"),
        ("a.py:3", "is not FILE:LINE:COL"),
        (":3:4", "is not FILE:LINE:COL"),
        ("a.py:x:4", "is not FILE:LINE:COL"),
        ("a.py:-1:4", "is not FILE:LINE:COL"),
        ("a.py:²:4", "is not FILE:LINE:COL"),
        ("-", "'-' is not FILE:LINE:COL"),
        ("-:3", "'-:3' is not FILE:LINE:COL"),
        ("", "is not FILE:LINE:COL"),
        ("a.py:0:1", "lines and columns count from 1"),
        ("a.py:1:0", "lines and columns count from 1"),
        ("a.py:1:" + "9" * 5000, "too large a number"),
    ],
)
def test_a_malformed_place(target: str, said: str) -> None:
    check_refused(run_cli(["fill", target], ScriptedEngine(["x"])), said)


@pytest.mark.parametrize("name", [".env", "tls.key", "innocent.py"])
def test_a_file_that_may_hold_secrets_is_not_read(tmp_path: Path, name: str) -> None:
    (tmp_path / "innocent.py").symlink_to(tmp_path / ".env")
    engine = ScriptedEngine(["x"])
    (tmp_path / name).write_text("TOKEN=hunter2")
    run = run_cli(["fill", f"{tmp_path / name}:1:7"], engine)
    check_refused(run, name, "may hold secrets")
    assert engine.requests == []


def test_a_malformed_end_of_a_span(tmp_path: Path) -> None:
    check_refused(fill(tmp_path, b"ab", "1:2", "--to", "2"), "'2' is not LINE:COL")
    check_refused(fill(tmp_path, b"ab", "1:2", "--to", "1:1"), "--to 1:1 lies before 1:2")
    check_refused(fill(tmp_path, b"ab", "1:2", "--to", "1:9"), "column 9 is outside line 1")


@pytest.mark.parametrize("data", [b"caf\xe9 = 1\n", b"\xef\xbb\xbf\xff", b"a\x00b\xc3"])
def test_a_file_that_is_not_utf8_is_refused_with_the_byte_offset(tmp_path: Path, data: bytes) -> None:
    with pytest.raises(UnicodeDecodeError) as raised:
        data.decode("utf-8")
    run = fill(tmp_path, data, "1:1")
    check_refused(
        run, f"not UTF-8: byte 0x{data[raised.value.start]:02x} at byte offset {raised.value.start}"
    )


def test_a_missing_file_and_a_directory(tmp_path: Path) -> None:
    engine = ScriptedEngine(["x"])
    check_refused(run_cli(["fill", f"{tmp_path / 'no.py'}:1:1"], engine), "no such file")
    check_refused(run_cli(["fill", f"{tmp_path}:1:1"], engine), "is a directory, not a file")
    check_refused(run_cli(["fill", f"{tmp_path / 'a'}\0b:1:1"], engine), "cannot be read")


def test_write_to_standard_input_is_refused() -> None:
    check_refused(run_cli(["fill", "-:1:1", "--write"], ScriptedEngine(["x"])), "--write needs a file")


@pytest.mark.parametrize(
    "options",
    [
        ["--canvas", "33"],
        ["--seed", "-1"],
        ["--seed", "x"],
        ["--steps", "0"],
        ["--candidates", "0"],
        ["--deadline-ms", "-1"],
        ["--deadline-ms", "nan"],
        ["--frame-ms", "soon"],
        ["--min-confidence", "1.5"],
        ["--min-confidence", "-0.1"],
        ["--min-confidence", "nan"],
        ["--min-confidence", "sure"],
    ],
)
def test_an_option_out_of_range_is_a_usage_error(options: list[str]) -> None:
    run = run_cli(["fill", "-:1:1", *options], ScriptedEngine(["x"]))
    assert run.code == 2
    assert options[0] in run.errors
    assert "Traceback" not in run.errors


def test_a_missing_or_broken_model_directory_exits_with_3(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("x = \n")
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "config.json").write_text('{"architectures": [')
    for model in (str(tmp_path / "absent" / "deep" / "model"), str(broken)):
        run = run_cli(["fill", f"{tmp_path / 'a.py'}:1:5", "--model", model])
        assert (run.code, run.out) == (3, b"")
        assert run.errors.startswith("infill: ")
        assert run.errors.count("\n") == 1


@pytest.mark.parametrize(
    ("data", "place", "expected"),
    [
        pytest.param(b"", "1:1", b"x = 1", id="empty file"),
        pytest.param(b"y = 2\n", "2:1", b"y = 2\nx = 1", id="empty last line"),
        pytest.param(b"y = 2\nz", "1:6", b"y = 2x = 1\nz", id="end of a line"),
        pytest.param(b"a\r\n\r\nb\r\n", "2:1", b"a\r\nx = 1\r\nb\r\n", id="CRLF"),
        pytest.param(b"a\r\rb", "2:1", b"a\rx = 1\rb", id="CR"),
        pytest.param(b"a\f\n\nb", "2:1", b"a\f\nx = 1\nb", id="form feed"),
        pytest.param("a\u2028b\n\nc".encode(), "2:1", "a\u2028b\nx = 1\nc".encode(), id="U+2028"),
        pytest.param("'😀😃'; \n".encode(), "1:7", "'😀😃'; x = 1\n".encode(), id="astral"),
    ],
)
def test_unusual_text_is_filled_at_the_right_place(
    tmp_path: Path, data: bytes, place: str, expected: bytes
) -> None:
    run = fill(tmp_path, data, place, text="x = 1", name="a.txt")
    assert run.code == 0, run.errors
    assert run.out == expected


def test_an_unknown_extension_is_plain_text(tmp_path: Path) -> None:
    run = fill(tmp_path, b"Dear all,\n\nyours\n", "2:1", name="letter.unheard", text="the build is green")
    assert run.out == b"Dear all,\nthe build is green\nyours\n"


def test_fifty_thousand_lines(tmp_path: Path) -> None:
    data = b"value = [1, 2, 3]\n" * 25_000 + b"total = \n" + b"value = [1, 2, 3]\n" * 25_000
    answer = json.loads(fill(tmp_path, data, "25001:9", "--json", text="sum(value)").out)
    assert answer["text"].endswith("sum(value)")
    assert answer["range"]["start"]["line"] == 25_001


def test_a_line_of_a_megabyte(tmp_path: Path) -> None:
    data = b"x = [" + b"1, " * 350_000 + b"]\n"
    (tmp_path / "a.py").write_bytes(data)
    target = f"{tmp_path / 'a.py'}:1:{len(data) - 1}"
    run = run_cli(["fill", target], ScriptedEngine(["2, 3"]))
    assert run.out == data.replace(b"]\n", b"2, 3]\n")
    shown = run_cli(["fill", target, "--frame-ms", "0"], ScriptedEngine(["2, 3"]), terminal=True)
    assert len(shown.out) + len(shown.errors) < 20_000


def test_code_cannot_steer_the_terminal(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("\x1b]0;owned\x07 \u202e\n\n")
    run = run_cli(["fill", f"{path}:2:1", "--frame-ms", "0"], ScriptedEngine(["a\x1bcb"]), terminal=True)
    for shown in (run.out.decode(), run.errors):
        assert "\x1b]0" not in shown
        assert "\x1bc" not in shown
        assert "\u202e" not in shown
    assert "␛]0;owned" in run.out.decode()


@pytest.mark.parametrize(
    "text", ["", "a", "a\n", "a\r\nb\r\n", "a\rb\r", "\n\n😀\u2028b\fc\r\nd", "\r\n\r\n"]
)
def test_positions_and_offsets_are_inverse(text: str) -> None:
    source = Source(name="a", data=text.encode(), text=text)
    offsets = [at for at in range(len(text) + 1) if text[at - 1 : at + 1] != "\r\n" or at == 0]
    assert [offset_of(source, position_of(text, at)) for at in offsets] == offsets
    assert position_of(text, 0) == Position(line=1, column=1)
