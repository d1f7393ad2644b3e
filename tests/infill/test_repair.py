"""Repair: it mends what does not parse, leaves the rest alone and never touches what is outside the hole."""

from __future__ import annotations

import threading

import pytest

from engine.request import Prompt
from infill.context import build_context
from infill.document import Document
from infill.hole import choose_hole
from infill.mechanical import How
from infill.pipeline import fill_text
from infill.repair import Repaired, repair, repair_suggestion
from infill.request import Reason, Rejected, Suggestion
from tests.fakes.engine import ScriptedEngine
from tests.infill.marked import CURSOR, request_for


def repaired(marked: str, text: str, *middles: str, language: str = "python", **options: float) -> Repaired:
    """What becomes of `text` at the cursor of a marked text; the engine offers `middles`."""
    before, _, after = marked.partition(CURSOR)
    document = Document(before + after, language)
    engine = ScriptedEngine(middles or ["("], score=lambda middle: -float(middle.count("zzz")))
    hole = choose_hole(document, len(before))
    prompt = build_context(document, hole, engine.info()).prompt
    deadline = options.get("deadline_ms")
    return repair(engine, document, hole, prompt, text, deadline_ms=deadline, cancelled=threading.Event())


def test_what_parses_is_kept_as_it_is() -> None:
    assert repaired("x = █\n", " 1") == Repaired(text=" 1", how=How.KEPT, damage=0)


@pytest.mark.parametrize(
    ("marked", "typed", "text"),
    [
        ("x = █\ny = 2\n", " ", " f(1, 2"),
        ("x = █\ny = 2\n", " ", ' "abc'),
        ("x = f(█)\ny = 2\n", "(", "(1)) + 2)"),
        ("def f():\n    return █\n", " ", " 1 2 3"),
        ("const x = █;\nlet y = 2;\n", " ", " [1, 2"),
    ],
)
def test_a_fill_is_made_to_parse(marked: str, typed: str, text: str) -> None:
    language = "javascript" if "const" in marked else "python"
    found = repaired(marked, text, language=language)
    before, _, after = marked.partition(CURSOR)
    tree = Document(before.removesuffix(typed) + found.text + after, language).tree
    assert tree is not None
    assert not tree.root_node.has_error
    assert found.text.startswith(typed)
    assert found.how is not How.KEPT
    assert found.damage == 0


def test_the_denoiser_writes_the_tokens_at_the_fault_anew() -> None:
    found = repaired("def f():\n    return █\n", " zzz zzz", "a + b")
    assert (found.text, found.how) == (" a + b", How.RENOISED)


def test_a_fill_reaches_the_user_repaired() -> None:
    answer = fill_text(ScriptedEngine([" 1 2"]), request_for("x = █\ny = 1\n"))
    assert isinstance(answer, Suggestion)
    assert answer.text.startswith(" ")
    assert answer.repaired != How.KEPT.value


def test_a_comment_that_swallows_the_rest_of_the_line_is_cut() -> None:
    assert "#" not in repaired("x = [█, 2]\n", " [1 # one").text


def test_nothing_is_repaired_without_a_grammar() -> None:
    assert repaired("a (█\n", "[[", language="plaintext").how is How.KEPT


def test_nothing_is_said_against_a_fill_where_nothing_would_parse() -> None:
    # Whatever stands in the hole, the line goes on with what no grammar knows.
    answer = fill_text(ScriptedEngine(["2"]), request_for("x = █ $ ? $\n"))
    assert isinstance(answer, Suggestion)


def test_a_fill_that_breaks_the_text_is_turned_down_where_there_was_no_time_to_repair_it() -> None:
    document = Document("x = \n", "python")
    hole = choose_hole(document, 4)
    broken = Suggestion(
        text=" 1 +",
        start=3,
        end=4,
        confidence=0.9,
        steps=1,
        canvas_tokens=32,
        elapsed_ms=1.0,
        model="scripted",
    )
    over = threading.Event()
    over.set()
    prompt = Prompt(prefix="x =", suffix="\n", typed=" ")
    engine = ScriptedEngine(["2"])
    answer = repair_suggestion(engine, document, hole, prompt, broken, deadline_ms=None, cancelled=over)
    assert isinstance(answer, Rejected)
    assert answer.reason is Reason.BROKEN


def test_where_the_text_is_broken_elsewhere_a_fill_is_shown() -> None:
    broken = "def g(:\n    pass\n\n\n\n\ndef f():\n    a = 1\n    x = █\n    return x\n"
    assert isinstance(fill_text(ScriptedEngine([" 2"]), request_for(broken)), Suggestion)


def test_cancelling_leaves_the_fill_alone() -> None:
    document = Document("x = \n", "python")
    engine = ScriptedEngine(["1"])
    hole = choose_hole(document, 4)
    prompt = build_context(document, hole, engine.info()).prompt
    cancelled = threading.Event()
    cancelled.set()
    found = repair(engine, document, hole, prompt, " f(", deadline_ms=None, cancelled=cancelled)
    assert (found.text, found.how) == (" f(", How.KEPT)
    assert not engine.requests
