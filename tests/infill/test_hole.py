"""The hole a cursor means and what was typed before it, as marked text."""

from __future__ import annotations

import pytest

from engine.text.half_typed import typed_before
from infill.code.document import Document
from infill.errors import InvalidHole
from infill.hole import Hole, HoleKind, canvas_tokens, choose_hole, may_span_lines
from tests.infill.marked import request_for

BLOCK, LINE, EXPRESSION, SPAN = HoleKind.BLOCK, HoleKind.LINE, HoleKind.EXPRESSION, HoleKind.SPAN


def hole_at(marked: str, language: str = "python") -> Hole:
    request = request_for(marked, language)
    return choose_hole(Document(request.text, language), request.offset, request.end)


@pytest.mark.parametrize(
    ("marked", "kind", "ends_at"),
    [
        ("█", LINE, "\n"),
        ("x = █", LINE, "\n"),
        ("x = █   \n", LINE, "\n"),
        ("a = 1\n█\nb = 2\n", LINE, "\n"),
        ("f(█)", EXPRESSION, ")"),
        ("x = [1, █]", EXPRESSION, "]"),
        ("x = █ + 1", EXPRESSION, ""),
        ("█x = 1", EXPRESSION, ""),
        ("x = █1 + 1█", SPAN, ""),
        ("def f():\n    █\n", BLOCK, "    "),
        ("def f():\n    █", BLOCK, "    "),
        ("def f():█\n", BLOCK, "    "),
        ("def f():  # why: not█\n", LINE, "\n"),
        ("def f():  # why\n    █\n", BLOCK, "    "),
        ("def f():\n█\n\nx = 1\n", BLOCK, "    "),
        ("def f():\n\n    # how\n    █\n\ndef g():\n    pass\n", BLOCK, "    "),
        ('def f():\n    """What.\n\n    Why.\n    """\n    █\n', BLOCK, "    "),
        ('def f():\n    """What.\n    █\n    """\n', LINE, "\n"),
        ("def f():\n    █\n    return 1\n", LINE, "\n"),
        ("def f():█\n    return 1\n", LINE, "\n"),
        # the rest of a block that is begun, up to its end
        ("def f():\n    x = 1\n    █\n", BLOCK, "    "),
        ("def f():\n    x = 1\n\n    █   \n\n\ny = 2\n", BLOCK, "    "),
        ("def f():\r\n    x = 1\r\n    █\r\ny = 2\r\n", BLOCK, "    "),
        ("def f():\n    if x:\n        return\n    █\n", BLOCK, "    "),
        ("def f():\n    if x:\n        y()\n        █\n    return\n", BLOCK, "        "),
        ("try:\n    x()\n    █\nexcept E:\n    y()\n", BLOCK, "    "),
        ("x = [\n    1,\n    █\n]\n", BLOCK, "    "),
        ("    f(\n    1,\n    █\n    )\n", BLOCK, "    "),
        ("x = [\n    █\n]\n", LINE, "\n"),  # none is begun
        ("    █\n", LINE, "\n"),
        ("x = 1\n    █\ny = 2\n", LINE, "\n"),
        ("def f():\n    x = 1\n    █\n    y = 2\n", LINE, "\n"),
        ("def f():\n    x = 1\n    █\n\n        + 2\n", LINE, "\n"),
        ("def f():\n    x = 1\n█\n", LINE, "\n"),
        ("def f():\n    x = 1\n    y█\n", LINE, "\n"),
        ("def f(\n    a,\n) -> int:\n    █\n", BLOCK, "    "),
        ("class A:\n\tdef f(self):\n\t\t█\n\n\tdef g(self):\n\t\tpass\n", BLOCK, "\t\t"),
        ("class A:\n  x = 1\n  def f(self):█\n", BLOCK, "    "),
        ("while x:\n    try:\n        █\n    except E:\n        pass\n", BLOCK, "        "),
        ("x: █\n", LINE, "\n"),
        ("x = {\n    1:█\n", LINE, "\n"),
        ("s = 'if x:'█\n", LINE, "\n"),
        ("x = lambda:█\n", LINE, "\n"),
    ],
)
def test_kind_in_python(marked: str, kind: HoleKind, ends_at: str) -> None:
    hole = hole_at(marked)
    request = request_for(marked)
    assert (hole.kind, hole.ends_at) == (kind, ends_at)
    assert (hole.start, hole.end) == (request.offset, request.offset if request.end is None else request.end)


@pytest.mark.parametrize(
    ("marked", "one_line", "either"),
    [
        ("x = █", True, False),
        ("f(█)", True, False),
        ("def f():\n    █\n", False, False),
        ("x = █1 + 1█\n", True, False),
        ("█x = 1\n█y = 2\n", True, False),
        ("█x = 1\r\n█y = 2\r\n", True, False),
        ("█x = 1\ny = 2\n█", False, False),
        ("x = ██\n", True, True),
    ],
)
def test_which_holes_end_with_their_line(marked: str, one_line: bool, either: bool) -> None:
    hole = hole_at(marked)
    assert hole.one_line is one_line
    assert may_span_lines(hole) is either
    assert canvas_tokens(hole) == (32 if one_line else 64)


@pytest.mark.parametrize(
    ("language", "marked", "kind"),
    [
        ("javascript", "function f() {\n  █\n}\n", BLOCK),
        ("javascript", "function f() {█\n", BLOCK),
        ("javascript", "s = '{'█\n", LINE),
        ("javascript", "x => {  // so\n  █\n}\n", BLOCK),
        ("javascript", "function f() {\n  █\n  g();\n}\n", LINE),
        ("typescript", "interface A {\n  █\n}\n", BLOCK),
        ("go", "func f() {\n\t█\n}\n", BLOCK),
        ("rust", "impl A {\n    fn f() {\n        █\n    }\n}\n", BLOCK),
        ("java", "class A {\n    █\n}\n", BLOCK),
        ("c", "int f(void)\n{\n    █\n}\n", BLOCK),
        ("cpp", "namespace a {\n█\n}\n", BLOCK),
        ("lua", "x = {\n  █\n}\n", BLOCK),
        ("javascript", "function f() {\n  g();\n  █\n}\n", BLOCK),
        ("javascript", "if (a) {\n  g();\n  █\n} else {\n  h();\n}\n", BLOCK),
        ("javascript", "function f() {\n  g();\n  █\n  h();\n}\n", LINE),
        ("go", "func f() {\n\tg()\n\n\t█\n}\n", BLOCK),
        ("c", "switch (a) {\n  case 1:\n    f();\n    █\n  case 2:\n    g();\n}\n", BLOCK),
        ("cpp", "namespace a {\nint b;\n█\n}\n", LINE),
        ("plaintext", "- one\n  more\n  █\n", BLOCK),
        ("plaintext", "Dear reader:\n█\n", LINE),
    ],
)
def test_kind_elsewhere(language: str, marked: str, kind: HoleKind) -> None:
    assert hole_at(marked, language).kind is kind


@pytest.mark.parametrize(
    ("marked", "typed"),
    [
        ("█", ""),
        ("x = fo█", " fo"),
        ("x = █", " "),
        ("x =  █", " "),
        ("x =  fo█", " fo"),
        ("x = 1  █", " "),
        ("x =\t█", ""),
        ("x\t █", " "),
        ("    █", ""),
        ("    fo█", "fo"),
        ("a\n █", "\n "),
        ("a\n█", "\n"),
        ("a\r\n\t█", "\r\n\t"),
        ("a\r █", "\r "),
        ("  █", ""),
        ("a\n" + " " * 65 + "█", ""),
        ("foo.ba█", "ba"),
        ("f(a,█", ","),
        ("f(a, █", " "),
        ("print(█", "("),
        ("print(█)", "("),
        ("foo.█", "."),
        ("x = [█]", " ["),
        ("x =  [█]", " ["),
        ("def f():█", "():"),
        ("    (█", "("),
        ("\t (█", "("),
        ("x = 12█", " 12"),
        ("# " + "=" * 9 + "█", "=" * 8),
        ("#" + " " + "=" * 8 + "█", " " + "=" * 8),
        ("x = '\ud83d█", ""),
        ("x\r  (█", "("),
        ("x = fo█o", " fo"),
        ("x = größe█", " größe"),
        ("x = 变量█", " 变量"),
        ("x = '😀█", " '😀"),
        ("x = '😀 █", " "),
        (" fo█", "fo"),
        ("fo█", "fo"),
        ("k = " + "a" * 65 + "█", ""),
        ("x\u2028 fo█", " fo"),
    ],
)
def test_typed(marked: str, typed: str) -> None:
    assert typed_before(marked.replace("█", ""), marked.index("█")) == typed


@pytest.mark.parametrize("offsets", [(-1, None), (4, None), (0, 4), (2, 1), (5, 5)])
def test_outside_the_text(offsets: tuple[int, int | None]) -> None:
    with pytest.raises(InvalidHole, match="not within the text of 3 characters"):
        choose_hole(Document("abc", "python"), *offsets)


def test_between_carriage_return_and_line_feed() -> None:
    assert hole_at("x = 1\r█\ny\r\n").start == 5
    assert (hole_at("█x = 1\r█\ny\r\n").end, hole_at("x█\r").start) == (5, 1)


@pytest.mark.parametrize(
    ("marked", "tokens"),
    [
        ("x = █", 32),
        ("f(█)", 32),
        ("def f():█", 64),
        ("def f():\n    x = 1\n    █", 64),
        ("█abc█", 32),
        (f"█{'a' * 150}█", 64),
        (f"█{'a' * 9999}█", 256),
    ],
)
def test_canvas_for_a_hole(marked: str, tokens: int) -> None:
    assert canvas_tokens(hole_at(marked)) == tokens
