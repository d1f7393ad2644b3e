"""What is wrong with a text's syntax once part of it is replaced, as a number to compare candidates by.

It counts; what to do about it is decided in `infill.repair.repair` and `infill.fixes`.
"""

from __future__ import annotations

import ast
import re
import warnings

from infill.code.document import Document, Span
from infill.code.indentation import indent_of

UNREADABLE = 10**6
"""The damage of a text that takes too long to parse: more than any that is counted."""

_MARGIN = re.compile(r"\n[^\s)\]}#]")
"""Where a line begins that is no part of the statement above."""
_MOST_CHARS = 20_000  # of a statement whose indentation is looked at, ten milliseconds' worth


def damage(document: Document, start: int, end: int, new: str) -> int:
    """How many faults the text has with `new` in the place of `start` to `end`; 0 is a text that parses.

    In a long text those of the sections (`infill.code.sections`) that the edit is in: the others stay as they
    are.

    Code behind the edit that becomes a string or a comment is a fault too: the text then parses, but it is
    not the user's any more. A language without a grammar has no faults.
    """
    if not document.is_read(start, end):
        return 0
    filled = document.filled(start, end, new)
    after = start + len(new)
    if not filled.is_read(start, after):
        return UNREADABLE
    found = len(filled.faults(start, after))
    if found:
        return found
    if document.language == "python" and _puzzles_python(filled.text, start, new, document.text[start:end]):
        return 1
    if end == len(document.text):
        return 0
    swallowed = _in_text(filled, after) and not _in_text(document, end)
    # Where the text is no whole without the edit, a quote in it may well open a string of the text's.
    return int(swallowed and (_in_comment(filled, after) or not document.faults(start, end)))


def faults_with(document: Document, start: int, end: int, new: str) -> list[Span]:
    """The faults of the text with `new` in it, in its own offsets."""
    return document.filled(start, end, new).faults(start, start + len(new))


def python_error(text: str, *, indentation_only: bool = False) -> int | None:
    """The line, from 1, of the first thing Python's own parser cannot read; None if it reads it all.

    It is stricter than a grammar that was made for editors: about indentation, and empty blocks. With
    `indentation_only` nothing else counts: the rest may well be the syntax of a newer Python than ours.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the code we read, not of ours
            ast.parse(text)
    except SyntaxError as error:
        counts = isinstance(error, IndentationError) or not indentation_only
        return (error.lineno or 1) if counts else None
    except (ValueError, RecursionError, MemoryError):
        return None if indentation_only else 1
    return None


def _puzzles_python(text: str, start: int, new: str, old: str) -> bool:
    """Whether Python cannot read a line for its indentation, or a `try` for nothing handling it, with `new`
    in the place of `old`.

    The grammar does not mind. Only the top-level statement around is looked at. An empty body is no fault,
    nor is a `try` at its end: what is missing is what is typed next.
    """
    line = text.rfind("\n", 0, start) + 1
    if "\n" not in new and text[line:start].strip():
        return False
    end = start + len(new)
    first = line
    while first > 0 and (text[first : first + 1].isspace() or text[first : first + 1] in ")]}#"):
        first = text.rfind("\n", 0, first - 1) + 1
    following = _MARGIN.search(text, end)
    last = following.start() + 1 if following is not None else len(text)
    if last - first > _MOST_CHARS:
        return False
    before, after = text[first:start], text[end:last]
    if _is_misindented(before + new + after):
        return not _is_misindented(before + old + after)
    if "try:" not in new or not after.strip():
        return False
    lines = (text[line:start] + new).rstrip().split("\n")
    body = "\n" + indent_of(lines[-1], 0) + " pass" if lines[-1].endswith(":") else ""
    return _is_unhandled(before + new.rstrip() + body + after) and not _is_unhandled(before + "pass" + after)


def _is_misindented(piece: str) -> bool:
    error = _error_of(piece)
    return isinstance(error, IndentationError) and "expected an indented block" not in (error.msg or "")


def _is_unhandled(piece: str) -> bool:
    error = _error_of(piece)
    return error is not None and "expected 'except' or 'finally'" in (error.msg or "")


def _error_of(piece: str) -> SyntaxError | None:
    """The first thing Python's own parser does not understand of whole statements, if that is syntax."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            ast.parse(piece)
    except SyntaxError as error:
        return error
    except (ValueError, RecursionError, MemoryError):
        pass
    return None


def _in_text(document: Document, offset: int) -> bool:
    """Whether a string or a comment that begins before `offset` goes on there."""
    leaf = next(document.leaves(offset, offset + 1), None)
    if leaf is None:
        return False
    if leaf.start < offset:
        # To the grammars a comment has the carriage return of its line's end.
        if "comment" in leaf.kind and not document.text[offset : leaf.end].strip():
            return False
        return "comment" in leaf.kind or "string" in leaf.kind
    return leaf.kind in ("string_content", "string_end", "string_fragment", "escape_sequence")


def _in_comment(document: Document, offset: int) -> bool:
    leaf = next(document.leaves(offset, offset + 1), None)
    return leaf is not None and "comment" in leaf.kind
