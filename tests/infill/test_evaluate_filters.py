"""Counting what the filters do, and that counting changes nothing."""

from __future__ import annotations

import pytest

from infill import postprocess
from infill.evaluate.filters import CHECKS, CUTS, _repeats, firing_rates
from infill.evaluate.holes import Hole
from tests.fakes.engine import ScriptedEngine

TEXT = "x = [1]\ny = (2)\nz = 3\n"


def hole(before: str) -> Hole:
    start = TEXT.index(before) + len(before)
    return Hole(kind="line", path="a.py", text=TEXT, start=start, end=TEXT.index("\n", start))


def test_cuts_and_checks_are_counted() -> None:
    real = {name: getattr(postprocess, name) for name in (*CUTS, *CHECKS)}
    rates = firing_rates(ScriptedEngine([" 4\nz = 3", " 4"]), [hole("x ="), hole("y =")])
    assert rates.holes == 2
    assert rates.fired["cut_line"] >= 1
    assert rates.shown + sum(rates.reasons.values()) == rates.holes
    assert (rates.repeats, rates.worse) == (0, 0)
    assert real == {name: getattr(postprocess, name) for name in real}


@pytest.mark.parametrize(
    ("shown", "after", "repeats"),
    [
        ("y = 2", "\ny = 2\n", True),
        ("y = 3", "\n\ny = 2\n", False),
        ("y", " = 2\ny = 2\n", False),
        (")", "\n)\n", False),
    ],
)
def test_a_repeated_line_is_one(shown: str, after: str, repeats: bool) -> None:
    text = "x = 1\n" + shown + after
    assert _repeats(text, 6, 6 + len(shown)) is repeats
