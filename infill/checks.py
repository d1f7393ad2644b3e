"""Why a text is not worth showing. Each check is a pure function that returns a `Verdict` or None.

Texts have bare line feeds; `added` is what the model adds to what the user had typed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import NamedTuple

from engine.text.half_typed import in_word
from infill.request import Reason

Number = Callable[[], int]
"""A line's number, which is counted only where it is told."""

_REPETITION = re.compile(r"(.{2,60}?)\1{4,}", re.DOTALL)

_NOTICE = re.compile(
    r"copyright\s*(?:\(c\)|©|\d{4}|by\b|the\b|20XX)|\(c\)\s*\d{4}|licen[cs]ed under|all rights reserved"
    r"|SPDX-License|without warranties|permission is hereby granted|redistributions? (?:and use )?"
    r"(?:in|of) source",
    re.IGNORECASE,
)


class Verdict(NamedTuple):
    """A reason to turn a text down; `detail` adds to the reason's sentence."""

    reason: Reason
    detail: str = ""


def check_empty(added: str) -> Verdict | None:
    """Nothing but blanks."""
    if not added:
        return Verdict(Reason.EMPTY)
    return None if added.strip() else Verdict(Reason.WHITESPACE)


def check_suffix(line: str, following: str, number: Number) -> Verdict | None:
    """The filled `line` is the next line that is not blank, `number` counting from 1."""
    same = line.strip() == following.strip() and any(char.isalnum() for char in line)
    return Verdict(Reason.REPEATS_SUFFIX, f"repeats line {number()}") if same else None


def check_prefix(lines: Sequence[str], above: Sequence[str], number: Number) -> Verdict | None:
    """The filled `lines` are the last of those `above`, the very last having the `number`, from 1.

    Blank lines are in neither; lines of brackets alone may well repeat.
    """
    bare = [line.strip() for line in lines]
    same = bare == [line.strip() for line in above[-len(bare) :]]
    if not bare or not same or not any(char.isalnum() for char in "".join(bare)):
        return None
    return Verdict(Reason.REPEATS_PREFIX, f"repeats line {number()}")


def check_repetitive(added: str) -> Verdict | None:
    """At least half is one piece, five times or more in a row."""
    for found in _REPETITION.finditer(added):  # an indentation repeats blanks, and may come first
        if 2 * len(found[0]) >= len(added) and any(char.isalnum() for char in found[1]):
            # What it repeats is not said: it is like the user's code, and the detail goes to the log.
            times = len(found[0]) // len(found[1])
            return Verdict(Reason.REPETITIVE, f"{len(found[1])} characters, {times} times")
    return None


def check_word(before: str, trimmed: str, after: str) -> Verdict | None:
    """The hole is inside a word, of which what follows it is not the end the model gave it.

    `before` and `after` are the text around the hole, and `trimmed` is how the model's text went on with
    `after`. In `ba█r`, `zar` makes the word `bazar` and is fine, while `z` would make it `bazr`, which
    nobody has said.
    """
    rest = _word_at_start(after)
    if not before or not in_word(before[-1]) or not rest or trimmed.startswith(rest):
        return None
    return Verdict(Reason.INSIDE_WORD)


def check_confidence(confidence: float, least: float) -> Verdict | None:
    """The model gives a text a probability below `least`, both from 0 to 1."""
    if confidence >= least:
        return None
    return Verdict(Reason.UNSURE, f"{confidence:.0%} sure, {least:.0%} is asked for")


def check_notice(lines: Sequence[str], there: Sequence[str], text: str) -> Verdict | None:
    """One of the filled `lines` claims a copyright or a licence, which is for people to claim.

    Where the lines that are `there` do already it may go on, and a line that the document's `text` has may be
    repeated.
    """
    if any(_NOTICE.search(line) for line in there):
        return None
    claims = (line.strip() for line in lines if _NOTICE.search(line))
    return Verdict(Reason.NOTICE) if any(line not in text for line in claims) else None


def check_balance(imbalance: int) -> Verdict | None:
    """More brackets or quotes lack a partner than before."""
    return Verdict(Reason.UNBALANCED) if imbalance > 0 else None


def _word_at_start(text: str) -> str:
    end = next((at for at, char in enumerate(text) if not in_word(char)), len(text))
    return text[:end]
