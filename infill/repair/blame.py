"""Whether it is a fill's fault that a text does not parse, or that of code around it.

Files are broken most of the time somebody writes in them. What is broken elsewhere, and would be with
anything in the hole, says nothing against a fill; what is broken at the hole does.
"""

from __future__ import annotations

import ast
import warnings
from enum import Enum
from functools import cached_property

from infill.code.document import Document
from infill.code.indentation import indent_of
from infill.code.lines import line_end, line_start
from infill.repair.damage import UNREADABLE, damage, python_error

_PROBES = ("x", "pass", "")
"""Something that fits nearly everywhere."""
_ALLOW_INCOMPLETE = 0x4000  # `codeop`'s flag for a text that may go on, which typeshed does not know
_MOST_CHARS = 400_000  # of a text that Python's own parser is asked about: some 100 ms


class Blame(Enum):
    """What is known about a fill with which the text does not parse."""

    FILL = "fill"  # with something simple in its place there would be fewer errors
    PLACE = "place"  # nothing simple helps, and nothing else is broken: the hole's own statement is
    ELSEWHERE = "elsewhere"  # other code is broken, and the fill adds nothing to it


class Hurt:
    """What fills of one hole do to a text, each looked at once.

    A fill takes the place of `start` to `end`, and begins with `typed` in any case.
    """

    def __init__(self, document: Document, start: int, end: int, typed: str) -> None:
        self._document, self._start, self._end, self._typed = document, start, end, typed
        self._known: dict[str, int] = {}

    def damage(self, text: str) -> int:
        """What is wrong with the whole text once `text` stands there; see `infill.repair.damage`."""
        if text not in self._known:
            self._known[text] = damage(self._document, self._start, self._end, text)
        return self._known[text]

    @cached_property
    def least(self) -> int:
        """The damage where something simple stands there."""
        return min(self.damage(self._typed + probe) for probe in _PROBES)

    def blame(self, left: int) -> Blame:
        """Who is at fault that the text has `left` faults with a fill, one or more.

        For languages other than Python there is no parser that says where the first error is: there the
        benefit of the doubt is the fill's.
        """
        if self.least < left:
            return Blame.FILL
        return Blame.ELSEWHERE if self._is_broken_elsewhere else Blame.PLACE

    def is_sound(self, text: str) -> bool:
        """Whether the text parses with a fill, or would not with anything in its place; False where nobody
        can tell."""
        if not self._document.is_read(self._start, self._end):
            return False
        left = self.damage(text)
        return left == 0 or (left != UNREADABLE and self.blame(left) is Blame.ELSEWHERE)

    @cached_property
    def _is_broken_elsewhere(self) -> bool:
        whole = self._document.text
        if self._document.language != "python" or len(whole) > _MOST_CHARS:
            return True
        if "\0" in whole[: self._start] or "\0" in whole[self._end :]:  # which no Python reads
            return True
        if _is_broken_so_far(whole[: line_start(whole, self._start)]):
            return True
        return _is_broken_below(whole, self._start, self._end)


def _is_broken_so_far(text: str) -> bool:
    """Whether no code that could follow would make it parse."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the code we read, not of ours
            compile(text, "<text>", "exec", flags=ast.PyCF_ONLY_AST | _ALLOW_INCOMPLETE)
    except SyntaxError as error:
        return "incomplete input" not in (error.msg or "")
    except (ValueError, RecursionError, MemoryError):
        return True
    return False


def _is_broken_below(whole: str, start: int, end: int) -> bool:
    """Whether code some lines below the hole is broken whatever the hole's own lines say."""
    first, last = line_start(whole, start), line_end(whole, end)
    if _is_in_string(whole[:first]):  # of which everything below is the other half
        return False
    indent = indent_of(whole, first)
    line = python_error(whole[:first] + indent + "pass" + whole[last:])
    if line is None:
        return False
    following = whole[last:]
    blanks = len(following) - len(following.lstrip())
    next_code = whole.count("\n", 0, first) + 1 + following.count("\n", 0, blanks)
    return line > next_code


def _is_in_string(text: str) -> bool:
    """Whether a text ends within a string of several lines."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            ast.parse(text)
    except SyntaxError as error:
        return "triple-quoted" in (error.msg or "")
    except (ValueError, RecursionError, MemoryError):
        pass
    return False
