"""Counting what the filters do, and that counting changes nothing."""

from __future__ import annotations

from infill import postprocess
from infill.evaluate.filters import CHECKS, CUTS, firing_rates
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


def test_what_slips_through_is_counted() -> None:
    """A text that was left unbalanced by the hole and stays so is told apart from one made worse."""
    broken = Hole(kind="random", path="a.py", text="x = [(1)]\nz = 3\n", start=6, end=9)
    rates = firing_rates(ScriptedEngine(["1"]), [broken])
    assert (rates.shown, rates.unbalanced, rates.worse) in ((1, 1, 0), (0, 0, 0))
