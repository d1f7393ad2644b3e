"""Which snippets a prompt is given, and how a prompt with them is laid out."""

from __future__ import annotations

import pytest

from engine.request import EngineInfo, Snippet
from infill.code.document import Document
from infill.context import build_context
from infill.hole import choose_hole
from infill.snippets import select, size

A = Snippet(path="a.py", text="def alpha():\n    ...")
B = Snippet(path="b.py", text="def beta(argument: int) -> str:\n    ...")
C = Snippet(path="c.py", text="gamma = 3")


@pytest.mark.parametrize(
    ("given", "shown", "budget", "expected"),
    [
        ((A, B, C), "", 1000, (A, B, C)),
        ((A, B, C), "", 0, ()),
        ((A, B, C), "", -1, ()),
        ((A, B, C), "", size(A) + size(C), (A, C)),  # what is too long is passed over
        ((A, A, Snippet(path="other.py", text=A.text)), "", 1000, (A,)),
        ((A, C), "x = 1\n  gamma = 3\n", 1000, (A,)),
        ((A, C), "gamma = 34\n", 1000, (A, C)),
        ((Snippet(path="a.py", text="{\n}\n"), C), "", 1000, (C,)),  # nothing in it
        (
            (Snippet(path="a.py", text="\n\r\ngamma = 3\r\n"),),
            "",
            99,
            (Snippet(path="a.py", text=C.text),),
        ),
    ],
)
def test_select(given: tuple[Snippet, ...], shown: str, budget: int, expected: tuple[Snippet, ...]) -> None:
    assert select(given, shown, budget) == expected


@pytest.mark.parametrize(("snippet_chars", "expected"), [(0, ()), (100, (A,))])
def test_a_prompt_has_the_snippets_its_model_wants_and_not_what_its_windows_show(
    snippet_chars: int, expected: tuple[Snippet, ...]
) -> None:
    info = EngineInfo(
        model="m",
        parameters=0,
        device="d",
        dtype="t",
        prefix_chars=100,
        suffix_chars=100,
        snippet_chars=snippet_chars,
    )
    document = Document("gamma = 3\nx = ", "python")
    prompt = build_context(document, choose_hole(document, 14), info, (A, C)).prompt
    assert prompt.snippets == expected
