"""Fixes of existing code with a scripted engine: syntax, diagnostics, doubts, silencing."""

from __future__ import annotations

import threading

import pytest

from infill.code.document import Document
from infill.fixes.diagnostic import fix_diagnostic, target, title
from infill.fixes.edit import Edit, rank
from infill.fixes.names import names_in_scope
from infill.fixes.pieces import broken_pieces
from infill.fixes.project import CheckConfig, read_check_config
from infill.fixes.silence import is_silenced, silenced_lines
from infill.fixes.suspicious import KINDS, find_doubts
from infill.fixes.syntax import fix_syntax
from tests.fakes.engine import ScriptedEngine

NEVER = threading.Event()


def likes(*texts: str) -> ScriptedEngine:
    """An engine to which a text reads well that has one of `texts` in it."""
    return ScriptedEngine(["("], score=lambda middle: 0.0 if any(t in middle for t in texts) else -1.0)


@pytest.mark.parametrize(
    ("broken", "whole"),
    [
        ("def f(a:\n    return a\n", "def f(a):\n    return a\n"),
        ("x = f(a, (b)\ny = 1\n", "x = f(a, (b))\ny = 1\n"),
        ("x = fa, b)\ny = 1\n", "x = f(a, b)\ny = 1\n"),
        ("def f(a)\n    return a\n", "def f(a):\n    return a\n"),
        ("x = 'abc\ny = 1\n", "x = 'abc'\ny = 1\n"),
        ("x = f(abc', 2)\ny = 1\n", "x = f('abc', 2)\ny = 1\n"),
        ("def f(a):\nreturn a\n", "def f(a):\n    return a\n"),
        ("def f(a):\n    retrun a\n", "def f(a):\n    return a\n"),
    ],
)
def test_a_slip_is_undone(broken: str, whole: str) -> None:
    (wanted,) = [line for line in whole.split("\n") if line not in broken.split("\n")]
    document = Document(broken, "python")
    found = fix_syntax(likes(wanted), document, 0, len(broken), cancelled=NEVER)
    assert [one.fixes[0].edit.applied(broken) for one in found] == [whole]


@pytest.mark.parametrize(
    ("language", "broken", "whole"),
    [
        ("javascript", "g(1);\nlog('a', total([1, 2]);\n", "g(1);\nlog('a', total([1, 2]));\n"),
        ("python", "y = 1\nx = f(a, g(b)\n", "y = 1\nx = f(a, g(b))\n"),
    ],
)
def test_of_equally_likely_brackets_the_last_is_what_was_forgotten(
    language: str, broken: str, whole: str
) -> None:
    engine = ScriptedEngine(["("], score=lambda _middle: -1.0)
    document = Document(broken, language)
    (found,) = fix_syntax(engine, document, 0, len(broken), cancelled=NEVER, most=9)
    texts = [fix.edit.applied(broken) for fix in found.fixes]
    assert texts[0] == whole
    assert len(set(texts)) == len(texts) > 1  # each of them once, wherever its bracket was put


def test_several_slips_of_a_function_are_undone_together() -> None:
    broken = "def f(a:\n    for x in a\n        print(x)\n"
    whole = "def f(a):\n    for x in a:\n        print(x)\n"
    document = Document(broken, "python")
    (found,) = fix_syntax(likes("(a):"), document, 0, len(broken), cancelled=NEVER)
    assert found.fixes[0].edit.applied(broken) == whole


def test_only_the_range_is_looked_at_and_sound_text_is_left_alone() -> None:
    broken = "def f(a)\n    return a\n\n\ndef g(a)\n    return a\n"
    document = Document(broken, "python")
    (only,) = fix_syntax(likes("):"), document, broken.index("def g"), len(broken), cancelled=NEVER)
    assert only.offset >= broken.index("def g")
    assert fix_syntax(likes("x"), Document("x = 1\n", "python"), 0, 6, cancelled=NEVER) == []


def test_a_string_with_lines_at_the_margin_is_no_fault() -> None:
    text = 'x = """\nnot ( code\n\ndef also not\n"""\n\n\ndef f(a)\n    return a\n'
    (piece,) = broken_pieces(Document(text, "python"), 0, len(text))
    assert text[piece.start :].startswith("def f")


def test_an_unknown_name_becomes_one_in_scope() -> None:
    text = "def total(items):\n    result = 0\n    return reslt\n"
    document = Document(text, "python")
    start = text.index("reslt")
    engine = likes("return result")
    found = fix_diagnostic(
        engine, document, start, start + 5, "undefined name 'reslt'", cancelled=NEVER, most=1
    )
    assert [title(document, f.edit) for f in found] == ["Replace `reslt` with `result`"]
    assert not engine.requests  # names are tried without the denoiser


def test_a_node_is_written_anew_with_both_sides_pinned() -> None:
    text = "def f(a):\n    return len(a, 1) + 2\n"
    document = Document(text, "python")
    start = text.index("(a, 1)")
    engine = ScriptedEngine(["(a)"])
    found = fix_diagnostic(engine, document, start, start + 6, "too many arguments", cancelled=NEVER)
    assert found[0].edit.applied(text) == "def f(a):\n    return len(a) + 2\n"
    for layout in engine.requests[0].layouts:
        assert layout[0].pinned
        assert layout[-1].pinned
        assert "".join(s.text for s in layout if s.pinned).strip() == "return len + 2"


def test_no_fix_makes_the_text_worse() -> None:
    text = "x = f(1)\n"
    found = fix_diagnostic(ScriptedEngine(["((("]), Document(text, "python"), 4, 8, "bad", cancelled=NEVER)
    assert found == []


def test_the_smallest_node_is_the_target() -> None:
    text = "x = f(a.b, 1)\n"
    node = target(Document(text, "python"), text.index("a.b"), text.index("a.b") + 3)
    assert text[node.start : node.end] == "a.b"


def test_titles() -> None:
    document = Document("foo(a)", "python")
    assert title(document, Edit(start=0, end=3, text="bar")) == "Replace `foo` with `bar`"
    assert title(document, Edit(start=3, end=3, text="x")) == "Insert `x`"
    assert title(document, Edit(start=3, end=6, text="")) == "Remove `(a)`"


def test_edits_are_ranked_by_what_they_gain() -> None:
    text = "x = a\n\n\n\ny = b\n"
    edits = [Edit(start=4, end=5, text="bad"), Edit(start=4, end=5, text="good")]
    ranked = rank(likes("good"), Document(text, "python"), edits, NEVER)
    assert [r.edit.text for r in ranked] == ["good", "bad"]
    assert ranked[0].gain > 0 >= ranked[1].gain


def test_edits_of_an_endless_line_are_compared_over_parts_of_it() -> None:
    text = "x = [" + "1, " * 4000 + "]\n"
    edits = [Edit(start=at, end=at + 1, text="2") for at in (5, 500, 6005, 6500)]
    engine = likes("2")
    ranked = rank(engine, Document(text, "python"), [*edits, Edit(start=5, end=9000, text="")], NEVER)
    assert sorted(one.edit.start for one in ranked) == [edit.start for edit in edits]
    assert max(len(middle) for request in engine.scored for middle in request.middles) < 3000


def test_names_of_the_innermost_scope_come_first() -> None:
    text = "top = 1\n\n\ndef f(a):\n    b = a\n    return c\n\n\ndef g(hidden):\n    return hidden\n"
    names = names_in_scope(Document(text, "python"), text.index("return c") + 7)
    assert names[:3] == ["f", "a", "b"]
    assert "top" in names
    assert "hidden" not in names


def doubtful(text: str, engine: ScriptedEngine, **options: float) -> list[str]:
    document = Document(text, "python")
    found = find_doubts(
        engine, document, 0, len(text), cancelled=NEVER, threshold=options.get("threshold", 2.0)
    )
    return [f"{d.kind}: {title(document, d.edit)}" for d in found]


BUGGY = "def total(items):\n    result = 0\n    result += 1\n    return reslt\n"


def test_a_doubt_needs_the_reader_and_the_writer() -> None:
    engine = ScriptedEngine(
        ["x"],
        doubts={"reslt": ("result", 0.9)},
        score=lambda middle: -0.1 if "return result" in middle else -1.0,
    )
    assert doubtful(BUGGY, engine) == ["misspelt: Replace `reslt` with `result`"]
    assert doubtful(BUGGY, engine, threshold=1000.0) == []


def test_what_was_meant_may_be_said_but_once() -> None:
    text = "def greet():\n    message = 1\n    return mesage\n"
    engine = ScriptedEngine(
        ["x"],
        doubts={"mesage": ("message", 0.9)},
        score=lambda middle: -0.1 if "return message" in middle else -1.0,
    )
    assert doubtful(text, engine) == ["misspelt: Replace `mesage` with `message`"]


def test_what_is_silenced_is_not_said() -> None:
    engine = likes("return result")
    assert doubtful(BUGGY, engine)
    assert doubtful(BUGGY.replace("reslt", "reslt  # infill: ignore"), engine) == []
    assert doubtful(BUGGY.replace("reslt", "reslt  # infill: ignore[misspelt]"), engine) == []
    assert doubtful(BUGGY.replace("reslt", "reslt  # infill: ignore[operator]"), engine)
    assert doubtful("# infill: ignore-file\n" + BUGGY, engine) == []


def test_silencing_in_other_languages() -> None:
    lines = silenced_lines("a;\nb; // infill: ignore[name]\n/* infill: ignore */\n", KINDS)
    assert is_silenced(lines, 1, "name")
    assert not is_silenced(lines, 1, "operator")
    assert is_silenced(lines, 2, "operator")
    assert not is_silenced(lines, 0, "name")


def test_nothing_is_doubted_in_code_that_does_not_parse() -> None:
    assert doubtful(BUGGY.replace("items):", "items)"), likes("return result")) == []


def test_a_project_says_what_it_wants_checked() -> None:
    config, problems = read_check_config(b"[check]\nthreshold = 12\noperator = false\n")
    assert problems == []
    assert config.threshold == 12
    assert "operator" not in config.kinds
    assert "name" in config.kinds


@pytest.mark.parametrize(
    "data", [b"[check]\nother = 1\n", b"check = 1\n", b"[check", b"\xff", b"[check]\nname = 3\n"]
)
def test_what_is_wrong_with_a_project_file_is_said(data: bytes) -> None:
    config, problems = read_check_config(data)
    assert config == CheckConfig()
    assert len(problems) == 1


KINDS_OF_BUGS = {
    "misspelt": (BUGGY, "return result", "misspelt: Replace `reslt` with `result`"),
    "name": (
        "def f(first, second):\n    a = first, second\n    d = first - a\n    return d, second\n",
        "d = second - a",
        "name: Replace `first` with `second`",
    ),
    "operator": ("def f(a):\n    return a < 3\n", "a <= 3", "operator: Replace `<` with `<=`"),
    "literal": ("def f(a):\n    return a[0]\n", "a[1]", "literal: Replace `0` with `1`"),
    "arguments": (
        "def f(a, b):\n    return g(b, a)\n",
        "g(a, b)",
        "arguments: Replace `b, a` with `a, b`",
    ),
    "missing": ("def f(a):\n    if a:\n        return 1\n", "if not a", "missing: Insert `not`"),
    "missing self": (
        "class A:\n    def f(self):\n        return self.x\n\n    def g(self):\n        return f()\n",
        "self.f()",
        "missing: Replace `f` with `self.f`",
    ),
    "missing await": (
        "async def load(a):\n    return a\n\n\nasync def f(a):\n    b = load(a)\n    return b\n",
        "b = await load(a)",
        "missing: Insert `await`",
    ),
}


@pytest.mark.parametrize("name", KINDS_OF_BUGS)
def test_every_kind_is_found_has_a_confidence_and_can_be_silenced(name: str) -> None:
    text, liked, expected = KINDS_OF_BUGS[name]
    kind = name.split()[0]
    document = Document(text, "python")
    found = find_doubts(likes(liked), document, 0, len(text), cancelled=NEVER, threshold=2.0)
    (doubt,) = [d for d in found if f"{d.kind}: {title(document, d.edit)}" == expected]
    assert 0 < doubt.confidence < 1
    line = text.count("\n", 0, doubt.edit.start)
    lines = text.split("\n")
    lines[line] += f"  # infill: ignore[{kind}]"
    assert expected not in doubtful("\n".join(lines), likes(liked))
    config, problems = read_check_config(f"[check]\n{kind} = false\n".encode())
    assert problems == []
    others = find_doubts(
        likes(liked), document, 0, len(text), cancelled=NEVER, threshold=2.0, kinds=config.kinds
    )
    assert kind not in {d.kind for d in others}


def test_nothing_is_awaited_where_nothing_can_be() -> None:
    text = "async def load(a):\n    return a\n\n\ndef f(a):\n    b = load(a)\n    return b\n"
    assert doubtful(text, likes("await load")) == []


def test_a_half_typed_statement_is_written_to_its_end() -> None:
    text = "def f(items):\n    total = sum(items)\n    count =\n    return total\n"
    engine = ScriptedEngine([" len(items)"], score=lambda middle: -0.1)
    (found,) = fix_syntax(engine, Document(text, "python"), 0, len(text), cancelled=NEVER)
    assert found.fixes[0].edit.applied(text) == text.replace("count =", "count = len(items)")
    assert found.fixes[0].edit.how == "rest"


def test_what_binds_a_name_is_no_doubt() -> None:
    text = "def f(*first, **second):\n    third = first\n    return third, second, third, first\n"
    engine = ScriptedEngine(
        ["x"], score=lambda middle: 0.0 if "def f(*first, **second)" not in middle else -3.0
    )
    document = Document(text, "python")
    found = find_doubts(engine, document, 0, text.index("\n"), cancelled=NEVER, threshold=2.0)
    assert [doubt.edit for doubt in found if "\n" not in text[: doubt.edit.start]] == []
