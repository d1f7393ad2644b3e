"""What the weights that ship have to know, whatever they score."""

from __future__ import annotations

import threading
from pathlib import Path
from statistics import mean

import pytest

from engine.inprocess import InProcessEngine, load_engine
from engine.request import Prompt, ScoreRequest

LINES = (Path(__file__).parents[2] / "engine" / "caches" / "prefix.py").read_text("utf-8").splitlines(True)
HOLES = [at for at in range(60, 220, 4) if LINES[at].strip()]


@pytest.fixture(scope="module")
def embedded() -> InProcessEngine:
    return load_engine(None)


def nats_of_ends(engine: InProcessEngine, lines: int) -> float:
    """What it costs, on average, that a line ends where it does, with so many lines before it to be seen."""
    ends = []
    for at in HOLES:
        prompt = Prompt(prefix="".join(LINES[at - lines : at]), suffix="".join(LINES[at + 1 : at + 9]))
        (scored,) = engine.score(ScoreRequest(prompt=prompt, middles=(LINES[at],)), threading.Event())
        ends.append(-scored.end)
    return mean(ends)


@pytest.mark.parametrize("lines", [2, 6])
def test_it_does_not_count_tokens_to_know_where_a_middle_ends(embedded: InProcessEngine, lines: int) -> None:
    """A model trained on windows that all end where the room does learns to: four nats and more, in a file
    just begun, for an end that is plain to see."""
    assert nats_of_ends(embedded, lines) < 1.5 + nats_of_ends(embedded, 50)
