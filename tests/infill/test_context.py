"""Windows: within the budget, cut where code begins, and still while the user types."""

from __future__ import annotations

from dataclasses import replace

import pytest

from engine.request import EngineInfo
from infill.code.document import Document
from infill.context import build_context, prefix_start, suffix_end
from infill.hole import choose_hole
from tests.infill.marked import request_for

FUNCTIONS = "".join(f"def f{n}(a):\n    x = a * {n}\n    return x\n\n\n" for n in range(200))


def info(prefix_chars: int = 400, suffix_chars: int = 200) -> EngineInfo:
    return EngineInfo(
        model="m",
        parameters=0,
        device="d",
        dtype="t",
        prefix_chars=prefix_chars,
        suffix_chars=suffix_chars,
    )


def context_at(marked: str, language: str = "python") -> tuple[str, str, str]:
    request = request_for(marked, language)
    document = Document(request.text, language)
    prompt = build_context(document, choose_hole(document, request.offset, request.end), info()).prompt
    return prompt.prefix, prompt.typed, prompt.suffix


@pytest.mark.parametrize(
    ("marked", "prefix", "typed", "suffix"),
    [
        ("█", "", "", ""),
        ("x = fo█o + 1\n", "x =", " fo", "o + 1\n"),
        ("def f():\n    █\n", "def f():", "\n    ", "\n"),
        ("def f():\r\n█\r\n", "def f():", "\n", "\n"),
        ("    █\n", "    ", "", "\n"),
        ("a = 1\r\nb = █2█\r\nc\r\n", "a = 1\nb =", " ", "\nc\n"),
        ("x = '😀█'", "x =", " '😀", "'"),
        ("a = 1\r\rb = █\rc\r", "a = 1\n\nb =", " ", "\nc\n"),
        ("print(█)\n", "print", "(", ")\n"),
    ],
)
def test_prompt(marked: str, prefix: str, typed: str, suffix: str) -> None:
    assert context_at(marked) == (prefix, typed, suffix)


def test_typing_leaves_the_start_of_the_prefix_alone() -> None:
    document = Document(FUNCTIONS, "python")
    at = FUNCTIONS.index("def f100")
    starts = []
    for n, char in enumerate("def typed(a, b):\n    return [a, b, 'some', (a + b)]\n" * 4):
        document.edit(at + n, at + n, char)
        end = at + n + 1
        start = prefix_start(document, end, 400)
        assert 200 <= end - start <= 400
        starts.append(start)
    assert len(starts) > 200
    assert len(set(starts)) <= 4
    assert starts == sorted(starts)


@pytest.mark.parametrize("budget", [0, 1, 3, 100, 401])
@pytest.mark.parametrize("language", ["python", "plaintext"])
def test_windows_keep_their_budget(budget: int, language: str) -> None:
    document = Document(FUNCTIONS, language)
    for end in range(0, len(FUNCTIONS), 97):
        assert 0 <= end - prefix_start(document, end, budget) <= budget
        assert 0 <= suffix_end(document, end, budget) - end <= budget


def test_what_lies_beyond_the_windows_adjoins_them() -> None:
    at = FUNCTIONS.index("def f100")
    document = Document(FUNCTIONS, "python")
    befores = set()
    for end in range(at, at + 300, 3):
        wants = replace(info(), far_chars=1000)
        context = build_context(document, choose_hole(document, end, end), wants)
        prompt = context.prompt
        assert FUNCTIONS[: context.start].endswith(prompt.before)
        assert FUNCTIONS[context.end :].startswith(prompt.after)
        assert 750 <= len(prompt.before) <= len(prompt.after) == 1000
        befores.add(prompt.before)
    assert len(befores) <= 5  # the windows move in blocks, and with them what lies before


def test_an_engine_that_has_no_use_for_it_is_spared_what_lies_beyond() -> None:
    document = Document(FUNCTIONS, "python")
    prompt = build_context(document, choose_hole(document, 3000, 3000), info()).prompt
    assert (prompt.before, prompt.after) == ("", "")


def test_windows_are_cut_at_definitions() -> None:
    document = Document(FUNCTIONS, "python")
    for at in range(1000, 6000, 311):
        assert FUNCTIONS.startswith("def ", prefix_start(document, at, 400))
        assert FUNCTIONS.startswith("def ", suffix_end(document, at, 400))


def test_windows_are_cut_at_statements_where_no_definition_is_near() -> None:
    text = "class A {\n  void f() {\n" + "    g(1,\n      2);\n" * 200 + "  }\n}\n"
    document = Document(text, "java")
    assert text.startswith("    g(1,", prefix_start(document, 2000, 400))
    assert text.startswith("    g(1,", suffix_end(document, 2000, 400))


def test_a_window_does_not_begin_within_a_string() -> None:
    text = "a = 1\n" * 100 + "s = '''\n" + "text\n" * 12 + "'''\n" + "    \n" + "b = 2\n" * 100
    document = Document(text, "python")
    inside = range(text.index("text"), text.rindex("'''") + 1)
    for budget in (310, 320, 330, 350, 400):  # a quarter of it is longer than the string
        starts = {prefix_start(document, end, budget) for end in range(700, 1200, 7)}
        assert not starts & set(inside)


def test_a_window_does_not_begin_in_the_middle_of_a_statement() -> None:
    text = "if a:\n    b(1,\n)\nelse:\n    c()\n" * 100
    document = Document(text, "python")
    starts = {prefix_start(document, end, 200) for end in range(300, 3000, 7)}
    assert {text[start : start + 5] for start in starts} == {"if a:"}


def test_windows_in_a_text_with_carriage_returns() -> None:
    text = FUNCTIONS.replace("\n", "\r")
    for at in range(1000, 6000, 311):
        assert text.startswith("def ", prefix_start(Document(text, "plaintext"), at, 400))


def test_a_line_longer_than_the_budget_is_cut_within() -> None:
    document = Document("x" * 5000, "plaintext")
    assert prefix_start(document, 3000, 400) == 2600
    assert suffix_end(document, 3000, 400) == 3400
