"""Texts with a cursor `█`, or a span between two of them, as the tables of these tests write them."""

from __future__ import annotations

from typing import Any

from infill.pipeline import fill_text
from infill.request import FillRequest, Reason, Rejected, Suggestion
from tests.fakes.engine import ScriptedEngine

CURSOR = "█"


def request_for(marked: str, language: str = "python", **options: Any) -> FillRequest:
    """The request a marked text stands for."""
    before, _, rest = marked.partition(CURSOR)
    inside, second, after = rest.partition(CURSOR)
    end = len(before) + len(inside) if second else None
    text = before + inside + after
    return FillRequest(text=text, language=language, offset=len(before), end=end, **options)


def added(request: FillRequest, answer: Suggestion | Rejected) -> str | Reason:
    """What a suggestion adds at the cursor, or the reason of a rejection."""
    if isinstance(answer, Rejected):
        return answer.reason
    typed = request.text[answer.start : request.offset]
    assert answer.text.startswith(typed)
    assert answer.end == (request.offset if request.end is None else request.end)
    return answer.text[len(typed) :]


def check(
    before: str,
    canvas: str,
    expected: str | Reason,
    *,
    language: str = "python",
    ended: bool = True,
    detail: str = "",
) -> None:
    """Fill the marked text `before` from one scripted canvas; what was typed may be left out of it."""
    request = request_for(before, language)
    answer = fill_text(ScriptedEngine([canvas], ended=ended), request)
    assert added(request, answer) == expected, answer
    if isinstance(answer, Rejected) and detail:
        assert detail in answer.message
