"""How a file indents, and giving a model's text the same indentation.

It looks at leading blanks only and knows nothing of syntax.
"""

from __future__ import annotations

import re
from functools import reduce
from math import gcd

from infill.code.languages import LANGUAGES

_TAB_COLUMNS = 8
_SAMPLE_CHARS = 4000  # on either side of the hole
_LEADING = re.compile(r"^([ \t]+)(?=\S)", re.MULTILINE)


def width(blanks: str) -> int:
    """Columns of a run of blanks, with tab stops every 8 columns."""
    columns = 0
    for char in blanks:
        columns += _TAB_COLUMNS - columns % _TAB_COLUMNS if char == "\t" else 1
    return columns


def indent_of(text: str, start: int) -> str:
    """The leading blanks of the line that begins at `start`."""
    end = start
    while end < len(text) and text[end] in " \t":
        end += 1
    return text[start:end]


def indent_unit(text: str, offset: int, language: str) -> str:
    """One level of indentation around `offset`; the language's own where nothing is indented."""
    sample = text[max(0, offset - _SAMPLE_CHARS) : offset + _SAMPLE_CHARS]
    runs: list[str] = _LEADING.findall(sample)
    tabs = sum(run[0] == "\t" for run in runs)
    if not runs:
        entry = LANGUAGES.get(language)
        return entry.indent if entry is not None else "    "
    if 2 * tabs > len(runs):
        return "\t"
    return " " * _unit_of([len(run) for run in runs if run[0] == " "])


def reindent(text: str, unit: str) -> str:
    """Write the indentation of every line after the first in units of `unit`, if it is of the other kind.

    Only the blanks that begin a line change, and spaces left over from a whole level stay.
    """
    head, feed, rest = text.partition("\n")
    runs = _LEADING.findall(rest)
    if unit == "\t":
        spaces = [len(run) for run in runs if "\t" not in run]
        if not spaces:
            return text
        level = _unit_of(spaces)
        rest = _LEADING.sub(lambda m: m[1].replace(" " * level, "\t"), rest)
    else:
        rest = _LEADING.sub(lambda m: m[1].replace("\t", unit), rest)
    return head + feed + rest


def _unit_of(widths: list[int]) -> int:
    """The number of spaces in a level: what most indentations are multiples of."""
    for unit in (4, 2, 8, 3):
        if sum(w % unit == 0 for w in widths) > 0.9 * len(widths):
            return unit
    return max(1, reduce(gcd, widths, 0))
