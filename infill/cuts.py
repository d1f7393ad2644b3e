"""Where a middle ends: by the hole's nature, and where it begins to say what follows anyway.

Each function takes the added text (without the characters the user had typed, with bare line feeds) and
gives back a beginning of it. Why a text is turned down is `infill.checks`' business.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from infill.code.brackets import Mark, is_open, unmatched_closers
from infill.code.indentation import indent_of, width

Imbalance = Callable[[str], int]
"""How many brackets and quotes more lack a partner with this text in the hole; see `brackets.Balance`."""


def cut_line(text: str, marks: Sequence[Mark]) -> str:
    """Up to the first line feed, or the end, that no bracket, string or comment reaches over.

    If each is reached over, up to the first line feed. `marks` are the text's brackets, in offsets of the
    text.
    """
    feeds = [at for at, char in enumerate(text) if char == "\n"]
    free = next((at for at in [*feeds, len(text)] if not is_open(marks, at)), None)
    return text[: feeds[0] if free is None and feeds else free]


def cut_closer(text: str, marks: Sequence[Mark], imbalance: Imbalance) -> str:
    """Up to the first closing bracket that closes nothing, neither in the text nor before it.

    A bracket the user has opened and that nothing after the hole closes may be closed.
    """
    for mark in unmatched_closers(marks):
        if imbalance(text[: mark.end]) >= imbalance(text[: mark.start]):
            return text[: mark.start]
    return text


def cut_block(text: str, marks: Sequence[Mark], body: str, before: str, margin: str = "") -> str:
    """Up to the first line that is indented less than `body`, the indentation of the block's body.

    `before` is what the hole's line has left of the hole. Lines within brackets, strings and comments may
    be indented as they like, and so may those that begin with `margin` (a preprocessor's `#`). A closing
    bracket that is still there (see `cut_closer`) ends the block.
    """
    start = 0
    while True:
        feed = text.find("\n", start)
        line = text[start : feed if feed >= 0 else len(text)]
        whole = before + line if start == 0 else line
        dedented = whole.strip() and width(indent_of(whole, 0)) < width(body)
        free = before.strip() if start == 0 else is_open(marks, start)
        if dedented and not free and not (margin and whole.startswith(margin)):
            closes = whole.lstrip()[0] in ")]}"
            return text[: start + len(line)] if closes else text[: max(0, start - 1)]
        if feed < 0:
            return text
        start = feed + 1


def drop_last_line(text: str) -> str:
    """Without its last line, which the canvas had no room to finish."""
    return text[: max(0, text.rfind("\n"))]


def trim_overlap(text: str, suffix: str, imbalance: Imbalance) -> str:
    """Without the longest end that the suffix begins with, as long as brackets stay as balanced.

    `g()` before `)` ends with a bracket of its own; `a)` before `)` does not.
    """
    for length in range(min(len(text), len(suffix)), 0, -1):
        if not text.endswith(suffix[:length]) or not suffix[:length].strip():
            continue
        shorter = text[:-length]
        if suffix[:length].isalnum() or imbalance(shorter) <= imbalance(text):
            return shorter
    return text


def trim_repeated_lines(text: str, suffix: str, imbalance: Imbalance) -> str:
    """Without the most last lines that the suffix's first lines repeat, blank lines and blanks aside.

    The first line is never trimmed: it continues the hole's own.
    """
    lines = text.split("\n")
    if not suffix.startswith("\n"):
        return text  # the suffix begins with the rest of the hole's line
    following = [line.strip() for line in suffix.split("\n") if line.strip()]
    for keep in range(1, len(lines)):
        tail = [line.strip() for line in lines[keep:] if line.strip()]
        if tail and tail == following[: len(tail)]:
            shorter = "\n".join(lines[:keep])
            if imbalance(shorter) <= imbalance(text):
                return shorter
    return text


def trim_blanks(text: str, suffix: str) -> str:
    """Without blanks and line feeds at its end, save one blank before what follows on the line."""
    bare = text.rstrip()
    follows = suffix[:1]
    if not follows or follows.isspace():
        return bare
    return bare + (" " if text[len(bare) :].startswith(" ") else "")
