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
from engine.service.wire import decode, encode, from_json, to_json

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


def test_steps_cross_as_bytes() -> None:
    step = Step(
        number=1, canvases=(Canvas(text="é", tokens=(TOKEN,), ended=True, score=-1.0),), elapsed_ms=1.0
    )
    assert decode(Step, encode(step)) == step
    for wrong in (b"{", encode(TOKEN)):
        with pytest.raises(InvalidRequest, match="Step: "):
            decode(Step, wrong)


def test_a_field_of_a_newer_version_is_ignored() -> None:
    assert from_json(Prompt, {"prefix": "x", "mood": "good"}) == Prompt(prefix="x")


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ({}, "Prompt: .* missing required field `prefix`"),
        ({"prefix": None}, r"Prompt: Expected `str`, got `null` - at `\$\.prefix`"),
        ({"prefix": "", "snippets": "x"}, r"Expected `array`, got `str` - at `\$\.snippets`"),
        ({"prefix": "", "snippets": [{"path": "a"}]}, r"field `text` - at `\$\.snippets\[0\]`"),
        ([], "Prompt: Expected `object`"),
    ],
)
def test_what_is_wrong_is_named(data: Any, said: str) -> None:
    with pytest.raises(InvalidRequest, match=said):
        from_json(Prompt, data)


def test_true_is_no_number() -> None:
    with pytest.raises(InvalidRequest, match=r"Expected `int`, got `bool` - at `\$\.seed`"):
        from_json(DenoiseRequest, {"prompt": {"prefix": ""}, "seed": True})
