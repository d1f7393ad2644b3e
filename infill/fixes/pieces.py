"""A text in top-level pieces, so that one fault does not make the whole of it unreadable.

A parser in search of its footing may call everything behind a lost quote an error. Pieces begin at lines
without indentation; those that do not parse are looked at alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from infill.code.document import Document
from infill.code.indentation import indent_of, width
from infill.repair.damage import python_error

_JOINS = re.compile(r"[)\]}]|(?:elif|else|except|finally|catch|case)\b|\"\"\"|'''")
"""What at a line's beginning goes on with the piece above."""
_MERGED = 100
"""How many pieces a string may reach over whose lines begin at the margin."""

_DEFINITION = re.compile(r"([ \t]*)(?:async\s+def|def|class)\b")


@dataclass(frozen=True, kw_only=True)
class Piece:
    """Whole lines of a text from `start` on, and those of them, from 0, that a parser stumbles over.

    `frame` is to stand before them where they are indented, so that they parse at all.
    """

    start: int
    text: str
    faulty_lines: tuple[int, ...]
    frame: str = ""


def broken_pieces(document: Document, start: int, end: int) -> list[Piece]:
    """The pieces that overlap a range and do not parse, in order; none without a grammar."""
    if document.tree is None or not _is_broken(document):
        return []
    text, language = document.text, document.language
    pieces = list(_pieces(text))
    found = []
    skip_to = 0
    for index, (first, last) in enumerate(pieces):
        if first < skip_to or not faulty_lines(text[first:last], language):
            continue
        whole = _whole(document, pieces[index:])
        if whole is not None:
            skip_to = whole
            continue
        if language == "python" and (line := python_error(text[first:last], indentation_only=True)):
            # A line that lost its indentation looks like the beginning of a piece: before it a block has
            # no body, behind it one has no header.
            if line > text[first:last].rstrip().count("\n") and index + 1 < len(pieces):
                last = skip_to = pieces[index + 1][1]
            elif index:
                first = pieces[index - 1][0]
        if first <= end and last > start:
            found.append(_narrowed(text[first:last], first, language))
    return found


def _narrowed(text: str, start: int, language: str) -> Piece:
    """The piece, or the one function or method of it that all its faults are in: the less there is, the
    quicker it parses."""
    lines = faulty_lines(text, language)
    whole = Piece(start=start, text=text, faulty_lines=lines)
    if language != "python" or not lines:
        return whole
    spans = [(m.start(), m.end()) for m in re.finditer(r".*\n?", text) if m.end() > m.start()]
    for first in range(min(lines[0], len(spans) - 1), 0, -1):
        header = _DEFINITION.match(text, *spans[first])
        if header is None:
            continue
        indent = width(header[1])
        rest = (n for n in range(max(lines) + 1, len(spans)) if text[slice(*spans[n])].strip())
        last = next((n for n in rest if width(indent_of(text, spans[n][0])) <= indent), len(spans))
        a, b = spans[first][0], spans[last - 1][1]
        inner = Piece(
            start=start + a,
            text=text[a:b],
            faulty_lines=tuple(n - first for n in lines if first <= n < last),
            frame="if 1:\n" if indent else "",
        )
        without = text[:a] + header[1] + "pass\n" + text[b:]
        if inner.faulty_lines and not faulty_lines(without, language):
            return inner
    return whole


def _is_broken(document: Document) -> bool:
    if document.faults():
        return True
    return document.language == "python" and python_error(document.text, indentation_only=True) is not None


def _whole(document: Document, pieces: list[tuple[int, int]]) -> int | None:
    """Where the pieces end that parse together with the first, which does not alone; None if none do."""
    start, end = pieces[0]
    text = document.text
    open_string = text.count('"""', start, end) % 2 or text.count("'''", start, end) % 2
    for _, end in pieces[1 : _MERGED if open_string else 3]:
        closes = text.count('"""', start, end) % 2 == 0 and text.count("'''", start, end) % 2 == 0
        if closes and not faulty_lines(text[start:end], document.language):
            return end
        if closes and open_string:
            return None
    return None


def _pieces(text: str) -> Iterator[tuple[int, int]]:
    """Start and end of each piece; together they are the text."""
    start, joined = 0, True
    at = 0
    for line in text.splitlines(keepends=True):
        begins = line.strip() != "" and line[0] not in " \t" and not _JOINS.match(line)
        if begins and not joined:
            yield start, at
            start = at
        # A decorator, a comment and the like belong to what they stand before.
        joined = (joined and not line.strip()) or (begins and line[0] in "@#/*")
        at += len(line)
    if start < len(text):
        yield start, len(text)


def faulty_lines(text: str, language: str) -> tuple[int, ...]:
    """The lines, from 0, that a parser stumbles over; none if the text parses."""
    piece = Document(text, language)
    lines = []
    for fault in piece.faults():
        lines += [text.count("\n", 0, fault.start), text.count("\n", 0, fault.end)]
    if language == "python":
        line = python_error(text, indentation_only=not lines)
        if line is not None:
            lines.insert(0, line - 1)
    last = text.count("\n")
    return tuple(dict.fromkeys(min(line, last) for line in lines))
