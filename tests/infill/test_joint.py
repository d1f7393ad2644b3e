"""Several holes at once: what shares a canvas, which candidate is kept, and what happens otherwise."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from engine.errors import InvalidRequest
from engine.request import DenoiseRequest, Step
from infill.code.document import Document
from infill.marked.joint import Holes, Wish, fill_holes
from infill.marked.markers import find_markers
from infill.request import Reason
from tests.fakes.engine import ScriptedEngine

TWO = "def f(a):\n    x = ___\n    return ___\n"


def run(engine: ScriptedEngine, text: str, language: str = "python", **others: Any) -> tuple[str, Holes]:
    """The text with its holes filled, and what became of them."""
    document = Document(text, language)
    options: dict[str, Any] = {"cancelled": threading.Event(), **others}
    holes = fill_holes(engine, document, find_markers(document), Wish(), **options)
    for one in reversed(holes.filled):
        text = text[: one.start] + one.text + text[one.end :]
    return text, holes


def liking(*wanted: str) -> Any:
    """Scores a middle by how many of these it has."""
    return lambda middle: -1.0 + sum(word in middle for word in wanted)


def test_two_holes_share_a_canvas_with_the_code_between_them_pinned() -> None:
    engine = ScriptedEngine([" a", " x"], score=liking(" a\n    return x"))
    text, holes = run(engine, TWO)
    assert text == "def f(a):\n    x = a\n    return x\n"
    assert (holes.together, holes.rejected) == (2, ())
    asked = engine.requests[0]
    assert (asked.prompt.prefix, asked.prompt.suffix) == ("def f(a):\n    x =", "\n")
    for layout in asked.layouts:
        assert [s.text for s in layout] == ["", "\n    return", ""]
        assert layout[0].free_tokens > 0
    assert len({layout[0].free_tokens for layout in asked.layouts}) >= 2


def test_the_best_candidate_parses_and_then_reads_best() -> None:
    # Layouts take two middles each; the last request of each hole is made alone.
    middles = [" a", " 1", " b", " 2", " (", " 3", " d", " 4"]
    engine = ScriptedEngine(middles, score=liking("b", "2", "(", "3"))
    text, _ = run(engine, TWO)
    assert text == "def f(a):\n    x = b\n    return 2\n"
    assert any("x" not in m and "(" not in m for m in engine.scored[0].middles)


def test_what_hole_by_hole_gives_is_a_candidate_too() -> None:
    class Alone(ScriptedEngine):
        def denoise(self, request: DenoiseRequest, cancelled: threading.Event) -> Any:
            if request.layouts:
                return ScriptedEngine(["z"]).denoise(request, cancelled)
            return super().denoise(request, cancelled)

    text, _ = run(Alone(["one", "two"], score=liking("one", "two")), TWO)
    assert text == "def f(a):\n    x = one\n    return two\n"


def test_bodies_keep_their_indentation_and_crlf() -> None:
    text = "def f(a):\r\n    ...\r\n\r\n\r\ndef g(a):\r\n    ...\r\n"
    engine = ScriptedEngine(["b = 1\n    return b", "return f(a)"] * 8)
    filled, holes = run(engine, text)
    assert filled == ("def f(a):\r\n    b = 1\r\n    return b\r\n\r\n\r\ndef g(a):\r\n    return f(a)\r\n")
    assert holes.together == 2


def test_a_comment_that_says_what_stays_above_its_code() -> None:
    engine = ScriptedEngine(["total = sum(a)", "total"])
    text, _ = run(engine, "def f(a):\n    # TODO: fill in the sum\n    return ___\n")
    assert text == "def f(a):\n    # TODO: fill in the sum\n    total = sum(a)\n    return total\n"


def test_one_hole_goes_the_usual_way() -> None:
    engine = ScriptedEngine(["a"])
    text, holes = run(engine, "x = ___\n")
    assert (text, holes.together) == ("x = a\n", 0)
    assert engine.requests[0].layouts == ()


def test_holes_far_apart_are_filled_one_after_another() -> None:
    between = "y = 1\n" * 300
    engine = ScriptedEngine(["a"])
    text, holes = run(engine, f"x = ___\n{between}z = ___\n")
    assert text == f"x = a\n{between}z = a\n"
    assert holes.together == 0
    assert all(not r.layouts for r in engine.requests)


def test_layouts_that_prove_too_long_go_on_a_longer_canvas_and_then_alone() -> None:
    class Narrow(ScriptedEngine):
        fits = 256

        def denoise(self, request: DenoiseRequest, cancelled: threading.Event) -> Any:
            if request.layouts and request.canvas_tokens < self.fits:
                self.requests.append(request)
                raise InvalidRequest("does not fit")
            return super().denoise(request, cancelled)

    engine = Narrow(["a"])
    assert run(engine, TWO)[1].together == 2
    assert [r.canvas_tokens for r in engine.requests if r.layouts] == [128, 256]
    engine = Narrow(["a"])
    engine.fits = 1000
    text, holes = run(engine, TWO)
    assert text == "def f(a):\n    x = a\n    return a\n"
    assert holes.together == 2  # they were scored as one, though they were written alone


def test_a_hole_that_cannot_be_filled_stays_and_says_why() -> None:
    class Selective(ScriptedEngine):
        def denoise(self, request: DenoiseRequest, cancelled: threading.Event) -> Any:
            bad = request.layouts or request.prompt.prefix.endswith("return")
            return ScriptedEngine(["((("] if bad else ["a"]).denoise(request, cancelled)

    text, holes = run(Selective([""]), TWO)
    assert text == "def f(a):\n    x = a\n    return ___\n"
    [(marker, rejected)] = holes.rejected
    assert TWO[marker.start : marker.end] == "___"
    assert rejected.reason is Reason.UNBALANCED


@pytest.mark.parametrize("fill", ["(", "# nothing"])
def test_nothing_is_written_with_which_the_text_would_not_parse(fill: str) -> None:
    text = "class A: ...\nclass B(A): ...\n"
    filled, holes = run(ScriptedEngine([fill]), text)
    assert filled == text
    assert [rejected.reason for _, rejected in holes.rejected] == [holes.rejected[0][1].reason] * 2
    assert holes.rejected[0][1].reason in (Reason.BROKEN, Reason.UNBALANCED)


def test_where_the_text_does_not_parse_anyway_holes_are_filled() -> None:
    text, holes = run(ScriptedEngine([" a", " x"]), "def f(:\n" + TWO)
    assert (len(holes.filled), text.count("___")) == (2, 0)


def test_cancelled_holes_are_left() -> None:
    cancelled = threading.Event()
    cancelled.set()
    engine = ScriptedEngine(["a"])
    text, holes = run(engine, TWO, cancelled=cancelled)
    assert (text, len(holes.rejected), engine.requests) == (TWO, 2, [])


def test_steps_are_shown_where_the_holes_are() -> None:
    shown: list[tuple[int, int]] = []
    done: list[int] = []

    def on_step(step: Step, start: int, end: int) -> None:
        shown.append((start, end))

    run(ScriptedEngine(["a"]), TWO, on_step=on_step, on_hole=done.append)
    assert shown[0] == (18, 36)
    assert all(TWO[end - 3 : end] == "___" for _, end in shown)
    assert done == [2]


@pytest.mark.parametrize(
    ("language", "text", "filled"),
    [
        ("javascript", "const a = ___;\nconst b = ___;\n", "const a = 1;\nconst b = 1;\n"),
        (
            "go",
            "package a\n\nfunc f() int {\n\treturn ___ + ___\n}\n",
            "package a\n\nfunc f() int {\n\treturn 1 + 1\n}\n",
        ),
        ("plaintext", "a ___ b ___ c\n", "a 1 b 1 c\n"),
    ],
)
def test_other_languages(language: str, text: str, filled: str) -> None:
    assert run(ScriptedEngine(["1"]), text, language)[0] == filled


def test_a_marker_is_not_filled_with_another() -> None:
    # The layouts' middles, two each, and then each hole's own: the model copies the marker it sees below.
    engine = ScriptedEngine([" ___"] * 200)
    text, holes = run(engine, TWO)
    assert text == TWO
    assert [rejected.detail for _, rejected in holes.rejected] == ["it only leaves another marker"] * 2


def test_other_markers_are_not_looked_for() -> None:
    engine = ScriptedEngine([" a", " x"])
    run(engine, TWO)
    assert {request.avoid for request in engine.requests if not request.layouts} == {("___",)}
