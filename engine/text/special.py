"""Ids of the special tokens of our own tokenizers: fixed, and the same in every checkpoint we train."""

from __future__ import annotations

from enum import IntEnum


class Special(IntEnum):
    """Special tokens; sixteen ids are set aside for them, bytes and merges follow."""

    PAD = 0
    EOS = 1
    BOS = 2
    EOM = 3
    PREFIX = 4
    SUFFIX = 5
    SNIPPET = 6
    MASK = 7

    @property
    def token(self) -> str:
        """Its text in the vocabulary."""
        return f"<{self.name.lower()}>"
