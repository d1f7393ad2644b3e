"""Why a text is not worth showing. Each check is a pure function that returns a `Verdict` or None.

Texts have bare line feeds; `added` is what the model adds to what the user had typed.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from infill.request import Reason

_REPETITION = re.compile(r"(.{2,60}?)\1{4,}", re.DOTALL)


class Verdict(NamedTuple):
    """A reason to turn a text down; `detail` adds to the reason's sentence."""

    reason: Reason
    detail: str = ""


def check_empty(added: str) -> Verdict | None:
    """Nothing but blanks."""
    if not added:
        return Verdict(Reason.EMPTY)
    return None if added.strip() else Verdict(Reason.WHITESPACE)


def check_suffix(line: str, following: str, number: int) -> Verdict | None:
    """The filled `line` is the next line that is not blank, number `number` from 1."""
    same = line.strip() == following.strip() and any(char.isalnum() for char in line)
    return Verdict(Reason.REPEATS_SUFFIX, f"repeats line {number}") if same else None


def check_prefix(lines: Sequence[str], above: Sequence[str], number: int) -> Verdict | None:
    """The filled `lines` are the last of those `above`, the very last being number `number` from 1.

    Blank lines are in neither; lines of brackets alone may well repeat.
    """
    bare = [line.strip() for line in lines]
    same = bare == [line.strip() for line in above[-len(bare) :]]
    if not bare or not same or not any(char.isalnum() for char in "".join(bare)):
        return None
    return Verdict(Reason.REPEATS_PREFIX, f"repeats line {number}")


def check_repetitive(added: str) -> Verdict | None:
    """At least half is one piece, five times or more in a row."""
    found = _REPETITION.search(added)
    if found is None or 2 * len(found[0]) < len(added) or not any(char.isalnum() for char in found[1]):
        return None
    return Verdict(Reason.REPETITIVE, f"{found[1].strip()!r}, {len(found[0]) // len(found[1])} times")


def check_balance(imbalance: int) -> Verdict | None:
    """More brackets or quotes lack a partner than before."""
    return Verdict(Reason.UNBALANCED) if imbalance > 0 else None
