"""Which hole a cursor means: its extent, its kind and where it ends by itself; and what was already typed.

Offsets are code points. It asks the syntax around the cursor where there is a tree, and the text where
there is none; it never looks at what a model says.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum

from engine.request import CANVAS_LENGTHS
from infill.code.document import Document
from infill.code.indentation import indent_of, indent_unit, width
from infill.code.languages import LANGUAGES
from infill.code.lines import line_end, line_start, previous_line
from infill.errors import InvalidHole

_CHARS_PER_TOKEN = 3  # of source code, on the short side, so that a span's canvas is rather too long
_SEARCH_LINES = 40  # how far above the cursor the line that opens its block may be
_TAIL_CHARS = 1000  # of a line are looked at; a line that is longer is data
_CODE = re.compile(r"\S")
_PYTHON_BLOCKS = frozenset(
    "async case class def elif else except finally for if match try while with".split()  # noqa: SIM905
)


class HoleKind(Enum):
    """What part of the code a hole is."""

    EXPRESSION = "expression"  # the rest of an expression, with text after it on the line
    LINE = "line"  # the rest of a line
    BLOCK = "block"  # the body of a block that has none yet, or what is left of one
    SPAN = "span"  # text the user chose to have replaced


@dataclass(frozen=True, kw_only=True)
class Hole:
    """The code points `start` to `end`, which are empty unless the user chose a span.

    `ends_at` is where the middle ends by itself: for an expression the closing bracket that follows ("" if
    something else does), for a line the line feed, for a block the indentation of its body (a line with
    less ends it); "" for a span. `one_line` says that the middle ends with its line, unless it has opened a
    bracket: not that of a block, nor of a span in the place of lines.
    """

    start: int
    end: int
    kind: HoleKind
    ends_at: str
    one_line: bool = True


def choose_hole(document: Document, offset: int, end: int | None = None) -> Hole:
    """The hole at a cursor, or the span from `offset` to `end`.

    Raises:
        InvalidHole: the offsets do not lie within the text, or in the wrong order.
    """
    text = document.text
    if not 0 <= offset <= len(text):
        raise InvalidHole(f"offset {offset} is not within the text of {len(text)} characters")
    if end is not None and not offset <= end <= len(text):
        raise InvalidHole(f"the span {offset} to {end} is not within the text of {len(text)} characters")
    offset = _before_line_feed(text, offset)
    if end is not None:
        end = _before_line_feed(text, end)
        one_line = "\n" not in text[offset:end].strip("\r\n")
        return Hole(start=offset, end=end, kind=HoleKind.SPAN, ends_at="", one_line=one_line)
    after = text[offset : line_end(text, offset)].strip()
    if after:
        closer = after[0] if after[0] in ")]}" else ""
        return Hole(start=offset, end=offset, kind=HoleKind.EXPRESSION, ends_at=closer)
    body = None
    if not _in_prose(document, offset):
        body = _empty_body(document, offset) or _rest_of_block(text, offset)
    if body is not None:
        return Hole(start=offset, end=offset, kind=HoleKind.BLOCK, ends_at=body, one_line=False)
    return Hole(start=offset, end=offset, kind=HoleKind.LINE, ends_at="\n")


def may_span_lines(hole: Hole) -> bool:
    """Whether nothing says that the middle is part of a line or lines: a span in the place of nothing."""
    return hole.kind is HoleKind.SPAN and hole.one_line and hole.start == hole.end


def canvas_tokens(hole: Hole) -> int:
    """The canvas length, in tokens, for a hole whose request names none."""
    usual = 32 if hole.one_line else 64
    if hole.kind is HoleKind.SPAN:
        needed = max(usual, (hole.end - hole.start) // _CHARS_PER_TOKEN)
        return next((n for n in CANVAS_LENGTHS if n >= needed), CANVAS_LENGTHS[-1])
    return usual


def _before_line_feed(text: str, offset: int) -> int:
    """A cursor between the two halves of a CRLF stands before both."""
    return offset - 1 if text[offset - 1 : offset + 1] == "\r\n" and offset > 0 else offset


def _in_prose(document: Document, offset: int) -> bool:
    """Whether the cursor is within a comment, at the end of one, or within a string."""
    for leaf in document.leaves(max(0, offset - 1), offset + 1):
        if leaf.start < offset and "comment" in leaf.kind:
            return True
        if leaf.start < offset < leaf.end and "string" in leaf.kind:
            return True
    return False


def _empty_body(document: Document, offset: int) -> str | None:
    """The indentation of the body that is missing at the cursor; None if no block is waiting for one."""
    header = _header(document, offset)
    if header is None:
        return None
    text = document.text
    outer = indent_of(text, header)
    unit = indent_unit(text, offset, document.language)
    following = _next_code_line(text, offset)
    if following is not None and width(indent_of(text, following)) > width(outer):
        return None
    start = line_start(text, offset)
    before = text[start:offset]
    own_line = start != header
    return before if own_line and width(before) > width(outer) else outer + unit


def _rest_of_block(text: str, offset: int) -> str | None:
    """The indentation of the block whose last line is the blank one of the cursor; None if none is begun.

    Code above that is indented as much begins it, and no code below goes on with it. At the margin there
    is no block.
    """
    start = line_start(text, offset)
    blanks = text[start:offset]
    if not blanks or blanks.strip(" \t"):
        return None
    above, below = _previous_code_line(text, start), _next_code_line(text, offset)
    if above is None or width(indent_of(text, above)) < width(blanks):
        return None
    if below is not None:
        indent = indent_of(text, below)
        closes = text[below + len(indent)] in ")]}"
        if width(indent) >= width(blanks) and not closes:
            return None
    return blanks


def _header(document: Document, offset: int) -> int | None:
    """Where the line starts that opens the block whose body would begin at the cursor.

    Between the two there may be blank lines, comments and a docstring, nothing else.
    """
    text = document.text
    start: int | None = line_start(text, offset)
    end = offset
    for _ in range(_SEARCH_LINES):
        if start is None:
            return None
        if not _is_filler(document, start, end):
            return start if _opens_block(document, start, end) else None
        start, end = previous_line(text, start)
    return None


def _is_filler(document: Document, start: int, end: int) -> bool:
    """Whether a line is blank, a comment or part of a docstring."""
    first = start + len(indent_of(document.text, start))
    if first >= end:
        return True
    for leaf in document.leaves(first, end):
        docstring = leaf.kind.startswith("string_") and leaf.parent == "string"
        opened_here = docstring and leaf.kind == "string_start" and leaf.start != first
        if "comment" not in leaf.kind and (not docstring or opened_here):
            return False
    return document.is_read(start, end)


def _opens_block(document: Document, start: int, end: int) -> bool:
    """Whether the code of a line ends with what opens a block in the document's language."""
    language = LANGUAGES.get(document.language)
    opener = language.opener if language is not None else "{"
    start = max(start, end - _TAIL_CHARS)
    code_end = end
    last_kind = ""
    for leaf in document.leaves(start, end):
        if "comment" in leaf.kind:
            code_end = min(code_end, leaf.start)
        else:
            last_kind = leaf.kind
    code = document.text[start:code_end].strip()
    if not code.endswith(opener) or (last_kind and last_kind != opener):
        return False
    if opener != ":":
        return True
    word = code.split(maxsplit=1)[0].rstrip(":(")
    return word in _PYTHON_BLOCKS or code[0] in ")]"


def _next_code_line(text: str, offset: int) -> int | None:
    """Where the next line starts that is not blank; None at the end of the text."""
    code = _CODE.search(text, line_end(text, offset))
    return line_start(text, code.start()) if code is not None else None


def _previous_code_line(text: str, start: int) -> int | None:
    """Where the nearest line starts that is not blank, above the one at `start`; None if there is none."""
    end = len(text[:start].rstrip())
    return line_start(text, end) if end > 0 else None
