"""Code that is like the code at the cursor: windows of other texts, compared by the identifiers they use."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from engine.request import Snippet

_WINDOW_LINES = 16
_STEP_LINES = 8
_LARGEST_CHARS = 200_000  # of a text that is looked through
_LEAST_LIKENESS = 0.15
_IDENTIFIER = re.compile(r"[^\W\d]\w{2,}")  # shorter ones say little


def identifiers(text: str) -> frozenset[str]:
    """The names a text uses, keywords included: both sides have those."""
    return frozenset(_IDENTIFIER.findall(text))


@dataclass(frozen=True)
class OtherText:
    """A text the user has looked at lately; its windows are made once."""

    path: str
    language: str
    text: str

    @cached_property
    def windows(self) -> list[tuple[str, frozenset[str]]]:
        """Runs of lines that overlap by half, and the identifiers of each."""
        lines = self.text[:_LARGEST_CHARS].replace("\r\n", "\n").split("\n")
        starts = range(0, max(1, len(lines) - _STEP_LINES), _STEP_LINES)
        cut = ["\n".join(lines[start : start + _WINDOW_LINES]).strip("\n") for start in starts]
        return [(window, identifiers(window)) for window in cut]


def similar(near: frozenset[str], others: Sequence[OtherText], count: int) -> list[Snippet]:
    """The window of each text that is most like what uses `near`, the likest first.

    Likeness is the identifiers both use divided by those either uses; a text with nothing alike is left
    out. Of equals the earlier one counts.
    """
    found = []
    for order, other in enumerate(others):
        likeness, text = max(
            ((_likeness(near, used), text) for text, used in other.windows), key=lambda pair: pair[0]
        )
        if likeness >= _LEAST_LIKENESS:
            found.append((-likeness, order, Snippet(path=other.path, text=text)))
    return [snippet for _, _, snippet in sorted(found, key=lambda item: item[:2])[:count]]


def _likeness(one: frozenset[str], other: frozenset[str]) -> float:
    shared = len(one & other)
    return shared / (len(one) + len(other) - shared) if shared else 0.0
