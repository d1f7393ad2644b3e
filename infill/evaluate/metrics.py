"""How near a fill is to the answer, and how sure a rate is; text and numbers only."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence


def edit_distance(one: str, other: str) -> int:
    """The Levenshtein distance in code points.

    Source: Hyyrö 2003, "A bit-vector algorithm for computing Levenshtein and Damerau edit distances",
    figure 3: column after column of the usual table, as the bits of its vertical differences.
    """
    if not one:
        return len(other)
    everything, last = (1 << len(one)) - 1, 1 << (len(one) - 1)
    places: dict[str, int] = {}
    for index, character in enumerate(one):
        places[character] = places.get(character, 0) | 1 << index
    up, down, distance = everything, 0, len(one)  # where the column rises by one, where it falls
    for character in other:
        equal = places.get(character, 0)
        zero = (((equal & up) + up) ^ up) | equal | down  # diagonal steps that cost nothing
        right_up = down | (everything & ~(zero | up))
        right_down = up & zero
        distance += bool(right_up & last) - bool(right_down & last)
        right_up = (right_up << 1 | 1) & everything
        right_down = right_down << 1 & everything
        up = right_down | (everything & ~(zero | right_up))
        down = right_up & zero
    return distance


def edit_similarity(one: str, other: str) -> float:
    """1 - Levenshtein distance / the longer length, of the texts without outer whitespace; 0 to 1."""
    one, other = one.strip(), other.strip()
    longer = max(len(one), len(other))
    return 1.0 - edit_distance(one, other) / longer if longer else 1.0


def percentile(values: Sequence[float], share: float) -> float:
    """The nearest-rank percentile, `share` 0 to 1; 0.0 of nothing."""
    ordered = sorted(values)
    if not ordered:
        return 0.0
    rank = -int(-share * len(ordered) // 1)  # ceiling
    return ordered[min(max(rank, 1), len(ordered)) - 1]


def mean(values: Sequence[float]) -> float:
    """The mean; 0.0 of nothing."""
    return sum(values) / len(values) if values else 0.0


def share(values: Sequence[bool]) -> float:
    """How many of the values are true, 0 to 1, in four digits."""
    return round(mean(values), 4)


def bootstrap_interval(
    groups: Mapping[str, Sequence[bool]], seed: int, resamples: int = 2000
) -> tuple[float, float]:
    """The 95% percentile interval of a pass rate when whole groups are drawn with replacement.

    Tasks of one problem are not independent of each other; problems are. (0.0, 0.0) of nothing.
    """
    counts = [(sum(passed), len(passed)) for passed in groups.values() if passed]
    if not counts:
        return 0.0, 0.0
    draw = random.Random(seed)
    rates = []
    for _ in range(resamples):
        sample = draw.choices(counts, k=len(counts))
        rates.append(sum(passed for passed, _ in sample) / sum(total for _, total in sample))
    return percentile(rates, 0.025), percentile(rates, 0.975)
