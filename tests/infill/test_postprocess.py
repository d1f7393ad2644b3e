"""What becomes of a canvas, as marked text: the buffer, the canvas, and what is added or why nothing is."""

from __future__ import annotations

from dataclasses import replace

import pytest

from engine.request import Canvas
from infill.checks import check_prefix, check_repetitive
from infill.code.indentation import reindent
from infill.cuts import cut_block, drop_last_line, trim_blanks
from infill.pipeline import fill_text
from infill.request import Reason
from tests.fakes.engine import ScriptedEngine
from tests.infill.marked import added, check, request_for

PY_BODY = "def f(a):\n    █\n\nx = 1\n"
JS_BODY = "function f(a) {\n  █\n}\nlet x = 1\n"


@pytest.mark.parametrize(
    ("before", "canvas", "expected"),
    [
        # a line ends at the first line feed ...
        ("x = █\ny = 2\n", "1\nz = 3", "1"),
        ("x = █\n", "1  ", "1"),
        # ... unless brackets or a string reach over it
        ("x = █\n", "f(\n    1,\n)\ny = 2", "f(\n    1,\n)"),
        ("x = █\n", '"""a\nb"""\ny = 2', '"""a\nb"""'),
        ("x = █\n", "')'\ny = (", "')'"),
        # ... and the end of the text is as good an end
        ("x = █\n", "foo(\n    1,\n    2,\n)", "foo(\n    1,\n    2,\n)"),
        ("x = █\n", "[\n    1,\n]", "[\n    1,\n]"),
        ("x = █\n", '"""a\nb"""', '"""a\nb"""'),
        ("x = █\n", "1  # why (\ny = 2", "1  # why ("),
        # an expression ends before the bracket that follows it
        ("print(█)\n", "a, b)\nfoo()", "a, b"),
        ("print(█)\n", "g(a), [b]", "g(a), [b]"),
        ("print(█)\n", "g(a)", "g(a)"),
        ("print(█)\n", "')'", "')'"),
        ("x = [█, 2]\n", "f(1)], 3", "f(1)"),
        ("if █:\n    pass\n", "a and b:\n    x", "a and b"),
        ("foo(█bar)\n", "a, ", "a, "),
        ('x = "ab█"\n', 'c"\ny', "c"),
        # typed punctuation is part of the canvas, not of what is added
        ("print(█)\n", '("hi"', '"hi"'),
        ("print(█)\n", '("hi")', '"hi"'),
        ('print("█")\n', '("hi")', "hi"),
        ("x = [█]\n", " [1, 2]", "1, 2"),
        ("x = [█\n", " [1, 2]\n", "1, 2]"),
        ("x = a[█]\n", "[(1)]", "(1)"),
        ("foo.█\n", ".bar()\n", "bar()"),
        ("def f():█\n", "():\n    return 1", "\n    return 1"),
        ("x = {█}\n", ' {"a": (1)}', '"a": (1)'),
        # within a word the model must say how the word ends
        ("foo.ba█r(x)\n", "bazar", "za"),
        ("foo.ba█r(x)\n", "bazar(x)", "za"),
        ("foo█(bar)\n", "foobaz", "baz"),
        ("foo.█bar(x)\n", ".baz.", "baz."),
        ("foo.█ba█r(x)\n", "qux", "qux"),
        # a bracket the user opened may be closed where nothing else does
        ("x = f(a█\n", ", b)\n", ", b)"),
        ("x = f(a█\n)\n", ", b)\n", ", b"),
        # a block ends at the first line with less indentation, whether all or the rest of it is missing
        ("def f():\n    a = 1\n    █\n", "b = 2\n    return b\n\ndef g():", "b = 2\n    return b"),
        ("if a:\n    b()\n    █\nelse:\n    c()\n", "d()\n    e()\nelse:\n    f()", "d()\n    e()"),
        ("x = [\n    1,\n    █\n]\n", "2,\n    3,\n]", "2,\n    3,"),
        (PY_BODY, "b = a\n    return b\n\ndef g():\n    pass", "b = a\n    return b"),
        (
            PY_BODY,
            "if a:\n        return 1\n\n    return 2\nx = 1",
            "if a:\n        return 1\n\n    return 2",
        ),
        (PY_BODY, "return '''\nnot code\n'''\ny = 1", "return '''\nnot code\n'''"),
        (PY_BODY, "return (\n1\n)\ny = 1", "return (\n1\n)"),
        ("def f():█\n", "\n    return 1\nx", "\n    return 1"),
        ("def f():\n█\nx = 1\n", "    return 1\nx = 2", "    return 1"),
        # the word at the cursor is part of the canvas, not of what is added
        ("value = 1\nprint(va█)\n", "value", "lue"),
        ("x = █\n", " 1", "1"),
        # what follows is not said twice
        ("foo(█, b)\n", "a, b", "a"),
        (PY_BODY, "return 1\n\n\nx = 1", "return 1"),
        ("def f():\n    a = 1\n    █\n    return a\n", "b = 2\n    return a", "b = 2"),
        # a span is replaced, and keeps the line feed it ended with
        ("x = █1 + 2█ + 3\n", "4 * 5", "4 * 5"),
        ("a = 1\n█b = 2\n█c = 3\n", "b = 3", "b = 3\n"),
        ("x = █f(1█)\n", "f(2", "f(2"),
        ("█a = 1█\n\nb = 2\n", "a = 2\nb = 2", "a = 2"),
        ("█a = [1]█\n]\n", "a = [\n    2,\n]", "a = [\n    2,"),
        ("x = █f(1)█\n", "g(2)", "g(2)"),
        # an empty one, asked for as a span, may go on over the line and end in the next line's indentation
        ("def f():\n    a = ██return a\n", "1\n    ", "1\n    "),
    ],
)
def test_natural_end_in_python(before: str, canvas: str, expected: str) -> None:
    check(before, canvas, expected)


@pytest.mark.parametrize(
    ("language", "before", "canvas", "expected"),
    [
        ("javascript", JS_BODY, "return a;\n}\nfoo();", "return a;"),
        (
            "javascript",
            JS_BODY,
            "if (a) {\n    b();\n  }\n  return a;\n}",
            "if (a) {\n    b();\n  }\n  return a;",
        ),
        ("javascript", JS_BODY, "return /[)}]/;\n}", "return /[)}]/;"),
        (
            "javascript",
            "function f(a) {\n  g(a);\n  █\n}\n",
            "if (a) {\n    b();\n  }\n  return a;\n}\n",
            "if (a) {\n    b();\n  }\n  return a;",
        ),
        ("go", "func f() {\n\t█\n\tg()\n}\n", "if x {\n\t\treturn\n\t}", "if x {\n\t\treturn\n\t}"),
        ("go", "func f() {\n\t█\n\tg()\n}\n", "if x {\n\t\treturn\n\t}\n\th()", "if x {\n\t\treturn\n\t}"),
        ("javascript", "function f() {█\n", "\n  return 1;\n}\nx", "\n  return 1;\n}"),
        ("typescriptreact", "const x = <p>{█}</p>;\n", "a ? '}' : b}</p>", "a ? '}' : b"),
        ("javascriptreact", "const x = █;\n", "<p>don't</p>", "<p>don't</p>"),
        ("go", "func f() int {\n\t█\n}\n", "if a {\n\t\treturn '{'\n\t}\n}", "if a {\n\t\treturn '{'\n\t}"),
        ("rust", "fn f<'a>(x: &'a str) -> &'a str {\n    █\n}\n", "g::<'a>(x)\n}", "g::<'a>(x)"),
        (
            "java",
            "class A {\n    int f() {\n        █\n    }\n}\n",
            "return g('(');\n    }",
            "return g('(');",
        ),
        (
            "c",
            "int f(void) {\n    █\n}\n",
            'puts("}");\n#if A\n    return 1;\n#endif\n}',
            'puts("}");\n#if A\n    return 1;\n#endif',
        ),
        ("cpp", "auto s = █;\n", 'R"(})";', 'R"(})"'),
        ("lua", "print(█)\n", "a, b)", "a, b"),
        ("lua", "f(x, █\n", "')')", "')')"),
    ],
)
def test_natural_end_elsewhere(language: str, before: str, canvas: str, expected: str) -> None:
    check(before, canvas, expected, language=language)


@pytest.mark.parametrize(
    ("before", "canvas", "reason", "detail"),
    [
        ("x = █\n", "", Reason.EMPTY, ""),
        ("x = 1█\n", "\ny = 2", Reason.EMPTY, "before the line's end"),
        ("x = █\n", "   \n ", Reason.WHITESPACE, ""),
        ("x = █1█\n", "1", Reason.EMPTY, "stay as it is"),
        ("foo(█, b)\n", ", b", Reason.REPEATS_SUFFIX, "repeats line 1"),
        ("a = 1\n█\n\nb = 2\n", "b = 2", Reason.REPEATS_SUFFIX, "repeats line 4"),
        ("a = 1\n\n█\n", "a = 1", Reason.REPEATS_PREFIX, "repeats line 1"),
        ("a = f(1)\na = █\n", "f(1)", Reason.REPEATS_PREFIX, "repeats line 1"),
        ("x = █\n", "ab + ab + ab + ab + ab + ab + ab", Reason.REPETITIVE, "times"),
        ("x = █\n", "f(1", Reason.UNBALANCED, ""),
        ("x = █\n", '"abc', Reason.UNBALANCED, ""),
        ("x = █f(1)█\n", "f(1", Reason.UNBALANCED, ""),
        ("█", "# Copyright (c) Meta Platforms, Inc.", Reason.NOTICE, ""),
        ("# Copyright █\n", "2020 Somebody", Reason.NOTICE, ""),
        ("# Copyright (c) 2020 █\n", "Somebody", Reason.NOTICE, ""),
        ("█\n", "# SPDX-License-Identifier: MIT", Reason.NOTICE, ""),
        ("// Licensed under █\n", "the Apache License", Reason.NOTICE, ""),
        ("x = █\n", "f(1,\n  2", Reason.UNBALANCED, ""),
        ("foo.ba█r(x)\n", "baz", Reason.INSIDE_WORD, ""),
        ("foo.ba█r(x)\n", "ba + ", Reason.INSIDE_WORD, ""),
        ("foo.ba█rst(x)\n", "bazr", Reason.INSIDE_WORD, ""),
        ("foo.ba█r(x)\n", "bar", Reason.REPEATS_SUFFIX, ""),
        ("x = gr█ße\n", " gro", Reason.INSIDE_WORD, ""),
        ("b = 0\ra = 1\ra = █\r", "1", Reason.REPEATS_PREFIX, "repeats line 2"),
    ],
)
def test_rejected(before: str, canvas: str, reason: Reason, detail: str) -> None:
    check(before, canvas, reason, detail=detail)


def test_a_notice_that_the_text_has_may_be_repeated_and_a_name_is_none() -> None:
    check("# Copyright 2020 Us\nx = 1\n█\n", "# Copyright 2020 Us", "# Copyright 2020 Us")
    check("█\n", "copyright = notice(licence)", "copyright = notice(licence)")


def test_a_notice_that_somebody_has_begun_goes_on() -> None:
    check("# Copyright 2020 Us\n# █\n", "Licensed under MIT", "Licensed under MIT")
    check("# Licensed under █ terms\n", "these", "these")


@pytest.mark.parametrize(
    ("before", "canvas", "expected"),
    [
        (PY_BODY, "a = 1\n    return a + ", "a = 1"),
        (PY_BODY, "a = 1\n    return a\ny = ", "a = 1\n    return a"),  # the dedent shows the block is whole
        (PY_BODY, "return some_long_na", Reason.UNFINISHED),
        ("x = █\n", "some_long_na", Reason.UNFINISHED),
        ("x = █\n", "some_long_na  ", Reason.UNFINISHED),
        ("x = █\n", "some_name\ny", "some_name"),
        ("f(█)\n", "a, some_long_na", Reason.UNFINISHED),
        ("f(█)\n", "a, b)\nsome_lo", "a, b"),
        ("f(█, b)\n", "a, b", "a"),
        ("x = █1█ + 2\n", "some_long_na", Reason.UNFINISHED),
        ("a = 1\n    █\nb = 2\n", "", Reason.EMPTY),
        ("x = █1 + 1█\n", "f()\ny = ", "f()"),
    ],
)
def test_canvas_without_an_end(before: str, canvas: str, expected: str | Reason) -> None:
    check(before, canvas, expected, ended=False)


@pytest.mark.parametrize(
    ("before", "canvas", "expected"),
    [
        ("if a:\n\tb()\ndef f():\n\t█\n", "if x:\n        y()\n    z()", "if x:\n\t\ty()\n\tz()"),
        ("if a:\n    b()\ndef f():\n    █\n", "if x:\n\t\ty()\n\tz()", "if x:\n        y()\n    z()"),
        ("if a:\n  b()\ndef f():\n  █\n", "if x:\n\t\ty()", "if x:\n    y()"),
        ("a = 1\r\ndef f():\r\n    █\r\n", "b = 1\n    return b", "b = 1\r\n    return b"),
        ("def f():█\r\n", "\n    return 1", "\r\n    return 1"),
        ("def f():\r\n    █", "b = 1\r\n    return b", "b = 1\r\n    return b"),
        ("def f():\n    █\n", "b = 1\r\n    return b", "b = 1\n    return b"),
        ("def f():\r    █\r", "b = 1\n    return b", "b = 1\r    return b"),
        ("def f():\r    █", "b = 1\n    return b", "b = 1\r    return b"),
    ],
)
def test_style_of_the_buffer(before: str, canvas: str, expected: str) -> None:
    check(before, canvas, expected)


class RanOn(ScriptedEngine):
    """Says of every canvas what it went on with behind its middle."""

    def __init__(self, middle: str, ran_on: str) -> None:
        super().__init__([middle])
        self._ran_on = ran_on

    def _canvas(self, middle: str, number: int) -> Canvas:
        return replace(super()._canvas(middle, number), ran_on=self._ran_on)


@pytest.mark.parametrize(
    ("before", "middle", "ran_on", "expected"),
    [
        ("__mo█_()\n", "dule_", "_(", "dule_"),  # it ends as what follows begins, and is meant to
        ("foo.ba█r(x)\n", "za", "r(", "za"),
        ("foo.ba█r(x)\n", "za", "", Reason.INSIDE_WORD),
        ("print(█)\n", "a, b)\nfoo()", "", "a, b"),  # its other ends are looked for as ever
    ],
)
def test_what_follows_anyway_is_looked_for_once(
    before: str, middle: str, ran_on: str, expected: str | Reason
) -> None:
    request = request_for(before)
    assert added(request, fill_text(RanOn(middle, ran_on), request)) == expected


def test_a_deep_indentation_does_not_hide_what_is_repeated() -> None:
    line = "self.width = width"
    assert check_repetitive(" " * 12 + line + f"\n        {line}" * 9) is not None
    assert check_repetitive(" " * 12 + line + f"\n        {line}" * 3) is None


def test_what_repeats_is_not_said() -> None:
    """The detail goes to the log, where the user's code must not be."""
    verdict = check_repetitive("secret " * 6)
    assert verdict is not None
    assert verdict.detail == "7 characters, 6 times"


@pytest.mark.parametrize("text", ["[[0, 0], [0, 0]]", "-----------------", "a.b.c.d.e.f.g", "x = 1000000"])
def test_not_repetitive(text: str) -> None:
    assert check_repetitive(text) is None


def test_lines_of_brackets_may_repeat() -> None:
    assert check_prefix(["}"], ["}"], lambda: 3) is None
    assert check_prefix([], ["a"], lambda: 3) is None
    assert check_prefix(["  b", "c"], ["a", "b", " c"], lambda: 3) is not None


def test_block_ends_before_a_dedented_first_line() -> None:
    assert cut_block("x = 1\ny", (), "    ", "") == ""
    assert cut_block("x = 1\ny", (), "    ", "    ") == "x = 1"


def test_last_line_of_one() -> None:
    assert drop_last_line("abc") == ""
    assert drop_last_line("abc\nde") == "abc"


def test_blanks_before_what_follows() -> None:
    assert trim_blanks("a,  ", "b)") == "a, "
    assert trim_blanks("a,\n", "b)") == "a,"
    assert trim_blanks("a  ", " b") == "a"
    assert trim_blanks("a  ", "") == "a"


def test_reindent_leaves_blanks_within_lines() -> None:
    assert reindent("a\n    b    c\n  \n", "\t") == "a\n\tb    c\n  \n"
    assert reindent("a\n\tb\tc\n", "  ") == "a\n  b\tc\n"
