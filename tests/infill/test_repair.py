"""Repair: it mends what does not parse, leaves the rest alone and never touches what is outside the hole."""

from __future__ import annotations

import threading

import pytest

from engine.request import Prompt
from infill.code.document import Document
from infill.context import build_context
from infill.hole import choose_hole
from infill.pipeline import fill_text
from infill.repair.blame import Blame, Hurt
from infill.repair.damage import damage
from infill.repair.mechanical import How
from infill.repair.repair import Repaired, repair, repair_suggestion
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


@pytest.mark.parametrize(
    ("marked", "text", "expected"),
    [
        ("def f():\n    a = 1\n    █\n    return a\n", "    b = 2", "b = 2"),
        ("def f():\n    a = 1\n    █\n    return a\n", "b = 2\n        c = 3", "b = 2\n    c = 3"),
        ("import a\n\n\n█\n\n\nx = 1\n", "    y = 2\n    z = 3", "y = 2\nz = 3"),
    ],
)
def test_lines_are_indented_as_python_wants_them(marked: str, text: str, expected: str) -> None:
    found = repaired(marked, text)
    assert (found.text, found.how, found.damage) == (expected, How.MENDED, 0)


@pytest.mark.parametrize("text", ["if a:", "for b in a:\n        print(b)", "if a: pass"])
def test_a_block_that_is_only_begun_is_no_fault(text: str) -> None:
    assert repaired("def f():\n    a = 1\n    █\n    return a\n", text).how is How.KEPT


@pytest.mark.parametrize(
    ("marked", "text", "is_fault"),
    [
        ("def f():\n    █\n    return 1\n", "try:", True),
        ("def f():\n    █\n    return 1\n", "try:\n        g()", True),
        ("def f():\n    █\n    return 1\n", "try:\n        g()\n    finally:\n        h()", False),
        ("def f():\n    if a:\n        █\n    return 1\n", "g()\n        try:", True),
        ("def f():\n    █\n        g()\n    finally:\n        h()\n", "try:", False),
        ("def f():\n    try:\n        █\n    return 1\n", "g()", False),  # the user's own
        ("def f():\n    try:\n        █\n    return 1\n", "try:\n            g()", False),
        ("def f():\n    a = 1\n    █\n\n\ndef g():\n    pass\n", "try:", False),  # it may go on
        ("def f():\n    █\n    return 1\n", "a = 'try:'", False),
    ],
)
def test_a_try_that_nothing_handles_is_a_fault(marked: str, text: str, is_fault: bool) -> None:
    request = request_for(marked)
    document = Document(request.text, "python")
    assert damage(document, request.offset, request.offset, text) == int(is_fault)


def test_a_comment_that_swallows_the_rest_of_the_line_is_cut() -> None:
    assert "#" not in repaired("x = [█, 2]\n", " [1 # one").text


def test_what_parses_but_closes_too_much_is_no_repair(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the parser says of it: the likeliest of several is the first where all are alike."""
    candidates = [(" 1)", How.CLOSED), (' 1"', How.CLOSED), (" 1", How.CUT), (" 12", How.CUT)]
    monkeypatch.setattr("infill.repair.repair.mechanical", lambda fill: iter(candidates))
    monkeypatch.setattr(
        "infill.repair.mechanical.damage", lambda document, start, end, new: int(new == " 1 1")
    )
    assert repaired("x = █\ny = 2\n", " 1 1", "(").text == " 1"


def test_nothing_is_repaired_without_a_grammar() -> None:
    assert repaired("a (█\n", "[[", language="plaintext").how is How.KEPT


def asked(marked: str, *middles: str, **options: bool) -> Suggestion | Rejected:
    request = request_for(marked, candidates=len(middles), **options)
    return fill_text(ScriptedEngine([*middles]), request)


def test_where_nothing_simple_would_parse_only_who_asks_with_a_key_is_shown_a_fill() -> None:
    # Whatever stands in the hole, the line goes on with what no grammar knows.
    turned_down = asked("x = █ $ ? $\n", "2")
    assert isinstance(turned_down, Rejected)
    assert turned_down.reason is Reason.BROKEN
    assert "around it" in turned_down.detail
    assert isinstance(asked("x = █ $ ? $\n", "2", lenient=True), Suggestion)


@pytest.mark.parametrize(
    "broken",
    [
        "def g(:\n    pass\n\n\ndef f():\n    x = █\n    return x\n",  # above
        "def f():\n    x = █\n    return x\n\n\ndef g(:\n    pass\n",  # below
        "def f():\n    y = = 1\n    x = █\n    return x\n",  # in the same function
        "def f():\n    x = █\n    return x\n    y = = 1\n",
    ],
)
def test_a_fill_is_judged_by_new_errors_where_other_code_is_broken(broken: str) -> None:
    assert isinstance(asked(broken, " 2"), Suggestion)
    # The first closes nothing that was open, and whatever is cut of it, something simpler parses better.
    document = Document(broken.replace(CURSOR, ""), "python")
    at = broken.index(CURSOR)
    hurt = Hurt(document, at - 1, at, " ")
    assert hurt.blame(hurt.damage(" 2 2")) is Blame.FILL
    assert hurt.blame(hurt.damage(" 2")) is Blame.ELSEWHERE
    assert hurt.is_sound(" 2")
    assert not hurt.is_sound(" 2 2")


def test_a_fill_is_not_blamed_for_what_it_could_not_know() -> None:
    # Prose that no simple text makes code of; the rest of the file is sound.
    text = "a = 1\nx =  $ ? $\nb = 2\n"
    document = Document(text, "python")
    at = text.index("=  $") + 2
    hurt = Hurt(document, at - 1, at, " ")
    assert hurt.blame(hurt.damage(" 2")) is Blame.PLACE
    assert not hurt.is_sound(" 2")


def test_the_next_row_is_taken_where_the_first_cannot_be_mended() -> None:
    answer = asked("from a █\nx = 1\n", "as b", "import c")
    assert isinstance(answer, Suggestion)
    assert answer.text.strip() == "import c"


def test_a_text_is_parsed_once_to_choose_and_to_repair(monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[str] = []

    def counted(document: Document, start: int, end: int, new: str) -> int:
        tried.append(new)
        return damage(document, start, end, new)

    for module in ("infill.repair.blame.damage", "infill.repair.mechanical.damage"):
        monkeypatch.setattr(module, counted)
    answer = asked("x = █\ny = 1\n", "1 1", "2")
    assert isinstance(answer, Suggestion)
    assert answer.text == " 2"
    assert {" 1 1", " 2"} <= set(tried)
    assert len(tried) == len(set(tried))


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
