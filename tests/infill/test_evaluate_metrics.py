"""Metrics against plain definitions of the same thing."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infill.evaluate.metrics import bootstrap_interval, edit_distance, edit_similarity, percentile


def table_distance(one: str, other: str) -> int:
    row = list(range(len(other) + 1))
    for i, a in enumerate(one, 1):
        corner, row[0] = row[0], i
        for j, b in enumerate(other, 1):
            corner, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, corner + (a != b))
    return row[-1]


@given(st.text("ab\n😀", max_size=90), st.text("ab\n😀", max_size=90))
def test_edit_distance_is_that_of_the_table(one: str, other: str) -> None:
    assert edit_distance(one, other) == table_distance(one, other)


@pytest.mark.parametrize(
    ("one", "other", "similarity"),
    [("", "", 1.0), (" a ", "a\n", 1.0), ("", "ab", 0.0), ("abcd", "abed", 0.75), ("ab", "abcd", 0.5)],
)
def test_edit_similarity(one: str, other: str, similarity: float) -> None:
    assert edit_similarity(one, other) == similarity


def test_percentiles_are_values_of_the_sample() -> None:
    assert percentile([4, 1, 3, 2], 0.5) == 2
    assert percentile([4, 1, 3, 2], 0.95) == 4
    assert percentile([7], 0.0) == 7
    assert percentile([], 0.5) == 0.0


def test_the_interval_holds_the_rate_and_draws_whole_groups() -> None:
    groups = {str(n): [n % 2 == 0] * 5 for n in range(40)}
    low, high = bootstrap_interval(groups, seed=1)
    assert low < 0.5 < high
    # Of 200 independent tasks the interval would be about 0.14 wide; of 40 groups it is 0.31.
    assert 0.25 < high - low < 0.37
    assert bootstrap_interval(groups, seed=1) == (low, high)
    assert bootstrap_interval({"a": [True]}, seed=0) == (1.0, 1.0)
    assert bootstrap_interval({}, seed=0) == (0.0, 0.0)
