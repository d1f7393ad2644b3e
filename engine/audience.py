"""What becomes of suggestions, for engines that show it. Knows neither the suggestions nor their text."""

from __future__ import annotations

from enum import Enum
from typing import Protocol, runtime_checkable


class Fate(Enum):
    """What became of a suggestion that an editor was sent."""

    OFFERED = "offered"
    SHOWN = "shown"  # not every editor says so
    ACCEPTED = "accepted"
    PARTLY_ACCEPTED = "partly_accepted"  # once for each part
    REJECTED = "rejected"


@runtime_checkable
class Audience(Protocol):
    """An engine that wants to know what becomes of suggestions."""

    def tell(self, fate: Fate) -> None:
        """Something became of one; returns at once, never raises."""
        ...
