"""Requests and answers cross unchanged, and what is no such thing is named."""

from __future__ import annotations

import json
from typing import Any

import pytest

from engine.errors import InvalidRequest
from engine.request import (
    Canvas,
    CanvasToken,
    DenoiseRequest,
    Priority,
    Prompt,
    ReadRequest,
    ScoreRequest,
    Segment,
    Snippet,
    Step,
    Stop,
)
from engine.service.wire import from_json, to_json

TOKEN = CanvasToken(text="a", confidence=1.0)
PROMPT = Prompt(prefix="é\ud800", suffix="\n", snippets=(Snippet(path="a.py", text="x"),))


@pytest.mark.parametrize(
    "value",
    [
        DenoiseRequest(
            prompt=PROMPT,
            layouts=((Segment(text="a"), Segment(free_tokens=3, noise=0.5)),),
            deadline_ms=3.5,
            priority=Priority.PREFETCH,
            key="k",
        ),
        ScoreRequest(prompt=PROMPT, middles=("a", "")),
        ReadRequest(prompt=PROMPT, text="x", views=2),
        Step(
            number=1,
            canvases=(
                Canvas(text="a", tokens=(CanvasToken(text="a", confidence=1),), ended=True, score=-1.0),
            ),
            elapsed_ms=1.0,
            stop=Stop.DEADLINE,
        ),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_crosses_stays_what_it_is(value: Any) -> None:
    assert from_json(type(value), json.loads(json.dumps(to_json(value)))) == value


def test_a_field_of_a_newer_version_is_ignored() -> None:
    assert from_json(Prompt, {"prefix": "x", "mood": "good"}) == Prompt(prefix="x")


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ({}, "Prompt.prefix is missing"),
        ({"prefix": None}, "Prompt.prefix should be of type str"),
        ({"prefix": "", "snippets": "x"}, "Prompt.snippets should be a list"),
        ({"prefix": "", "snippets": [{"path": "a"}]}, r"Prompt.snippets\[0\].text is missing"),
        ([], "Prompt should be an object"),
    ],
)
def test_what_is_wrong_is_named(data: Any, said: str) -> None:
    with pytest.raises(InvalidRequest, match=said):
        from_json(Prompt, data)


def test_true_is_no_number() -> None:
    with pytest.raises(InvalidRequest, match="seed should be of type int"):
        from_json(DenoiseRequest, {"prompt": {"prefix": ""}, "seed": True})
