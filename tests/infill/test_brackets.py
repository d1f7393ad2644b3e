"""Brackets and quotes are counted as the language sees them."""

from __future__ import annotations

import pytest

from infill.code.brackets import Balance, is_open, marks, mismatches, unmatched_closers
from infill.code.document import Document


@pytest.mark.parametrize(
    ("language", "text", "lonely"),
    [
        ("python", "f(a)[0] = {'(': ')]'}  # ((", 0),
        ("python", "f(a)) + (b\n", 2),
        ("python", "x = 'abc\n", 1),
        ("python", 'f"{a}" + """(\n"""', 0),
        ("javascript", "x = `a ${f({})} ( `; r = /[(]/;", 0),
        ("javascript", 'x = "abc\n', 1),
        ("javascriptreact", "x = <p>don't :-( {a}</p>;", 0),
        ("rust", "fn f<'a>(x: &'a str) -> char { '{' }", 0),
        ("go", "func f() { x := '{'; y := `(` }", 0),
        ("c", "int f() { char x = '('; /* ( */ }", 0),
        ("cpp", 'auto x = R"(()"; auto y = L"(";', 0),
        ("java", "class A { char c = '('; String s = \"(\"; }", 0),
        ("lua", "print('(', \")\")", 0),
        ("lua", "print(", 1),
    ],
)
def test_mismatches(language: str, text: str, lonely: int) -> None:
    assert mismatches(marks(Document(text, language), 0, len(text))) == lonely


def test_marks_begin_within_the_range() -> None:
    assert [mark.kind for mark in marks(Document('"""(a"""', "python"), 1, 8)] == ["string_end"]
    assert [mark.kind for mark in marks(Document("/* ( */", "c"), 1, 7)] == ["comment"]


def test_unmatched_closers() -> None:
    text = "f(a)) + [b]]"
    assert [mark.start for mark in unmatched_closers(marks(Document(text, "lua"), 0, len(text)))] == [4, 11]


def test_open_at() -> None:
    text = "f(\n1)\n'''\n'''\n# c\n"
    found = marks(Document(text, "python"), 0, len(text))
    assert [at for at, char in enumerate(text) if char == "\n" and is_open(found, at)] == [2, 9]


@pytest.mark.parametrize(
    ("text", "at", "new", "expected"),
    [
        ("f()", 2, "a", 0),
        ("f()", 2, "g()", 0),
        ("f()", 2, "(", 1),
        ("f()", 2, "a)", 1),
        ("f(", 2, "a)", -1),
        ("x = )", 4, "(", -1),
        ("x = 'a", 6, "'", -1),
        ("x = 'a'", 6, "', '", 0),
    ],
)
def test_imbalance(text: str, at: int, new: str, expected: int) -> None:
    assert Balance(Document(text, "python"), at, at)(new) == expected
