"""What can be made of a fill that does not parse without any model: cut, closed, mended.

Candidates only; whether one parses and which reads best is decided in `infill.repair.repair`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum

from infill.checks import check_balance
from infill.code.brackets import Balance
from infill.code.document import Document
from infill.code.indentation import indent_of, indent_unit
from infill.code.lines import line_start, newline_of
from infill.repair.damage import damage, faults_with

TOKEN = re.compile(r"\w+|\n[ \t]*|[^\w\s]")
_CLOSER = {"(": ")", "[": "]", "{": "}"}
_TAILS = (")", "]", "}", ":", "):", '"', "'", '")', "')", '"""', "'''", "x")
"""What a fill may lack at its end; the name stands for any operand."""
_HEADS = ("(", "[", "{", '"', "'")
"""What it may lack at its beginning."""
_TAILED = 4  # of the longest cuts, every tail is tried as well
_CONTEXT_CHARS = 1000  # before the hole, for the brackets that are open there


class How(Enum):
    """What became of a fill."""

    KEPT = "kept"  # it parses, or nothing else is better
    CUT = "cut"  # a beginning of it
    CLOSED = "closed"  # a beginning of it with brackets, a quote or a colon behind
    MENDED = "mended"  # without the tokens the parser could not read
    RENOISED = "renoised"  # denoised again at the fault


@dataclass(frozen=True, kw_only=True)
class Fill:
    """A fill under repair: `text` for `start` to `end`, of which the first `typed` characters are fixed."""

    document: Document
    start: int
    end: int
    text: str
    typed: int

    def damage(self, text: str) -> int:
        """What is wrong with the whole text once `text` stands there; 0 is nothing."""
        return damage(self.document, self.start, self.end, self.native(text))

    def is_balanced(self, text: str) -> bool:
        """Whether no more brackets and quotes lack a partner with `text` than without."""
        return check_balance(Balance(self.document, self.start, self.end)(self.native(text))) is None

    def native(self, text: str) -> str:
        """`text` with the line endings of the document."""
        return text.replace("\n", newline_of(self.document.text, self.start))


def mechanical(fill: Fill) -> Iterator[tuple[str, How]]:
    """What can be done without a model, the longest candidates first."""
    if (mended := _mended(fill)) is not None:
        yield mended, How.MENDED
    for moved in _moved(fill):
        yield moved, How.MENDED
    seen = {fill.text, ""}
    context = _context_tails(fill)
    for index, beginning in enumerate(_beginnings(fill)):
        closers = _closers(beginning)
        few = index < _TAILED or len(beginning) == fill.typed
        heads = [beginning[: fill.typed] + head + beginning[fill.typed :] for head in _HEADS if few]
        tails = [beginning + closers + tail for tail in (*_TAILS, *context) if few]
        for candidate in (beginning, beginning + closers, *tails, *heads):
            if candidate not in seen and candidate[fill.typed :].strip():
                seen.add(candidate)
                yield candidate, How.CUT if candidate == beginning else How.CLOSED


def _moved(fill: Fill) -> Iterator[str]:
    """The fill with its lines indented otherwise: as its place is, and one level more or less behind."""
    text, start = fill.document.text, fill.start
    if fill.typed or text[line_start(text, start) : start].strip():
        return
    unit = indent_unit(text, start, fill.document.language)
    bare = fill.text.lstrip(" \t")
    head, feed, rest = bare.partition("\n")
    shift = len(fill.text) - len(bare)
    if shift:
        yield head + feed + re.sub(rf"(?m)^[ \t]{{1,{shift}}}", "", rest)
    if shift or feed:
        yield bare
        yield head + feed + re.sub(r"(?m)^(?=[ \t]*\S)", unit, rest)
        yield head + feed + re.sub(rf"(?m)^[ \t]{{1,{len(unit)}}}", "", rest)


def _beginnings(fill: Fill) -> Iterator[str]:
    """The fill cut behind each of its tokens, the longest first; the last is what was typed."""
    for end in reversed([found.end() for found in TOKEN.finditer(fill.text)]):
        if end > fill.typed and len(beginning := fill.text[:end].rstrip()) > fill.typed:
            yield beginning
    yield fill.text[: fill.typed]


def _context_tails(fill: Fill) -> list[str]:
    """What closes the brackets that are open where the hole is, and what opens or ends a docstring."""
    text = fill.document.text
    before = text[max(0, fill.start - _CONTEXT_CHARS) : fill.start]
    before = before[max(0, before.rfind("\n\n")) :]
    closers = _closers(before)
    if fill.document.language != "python":
        return [closers]
    indent = indent_of(text, line_start(text, fill.start))
    docstring = "\n" + indent + '"""'
    return [closers, closers + ":", docstring, closers + ":" + docstring, ":" + docstring]


def _mended(fill: Fill) -> str | None:
    """The fill without what lies under ERROR nodes and with what the parser found missing."""
    text, shift = fill.text, fill.start
    for fault in reversed(faults_with(fill.document, fill.start, fill.end, fill.native(fill.text))):
        start, end = fault.start - shift, fault.end - shift
        if not fill.typed <= start <= end <= len(text):
            continue
        insert = fault.kind if fault.missing and re.fullmatch(r"[^\w\s]+", fault.kind) else ""
        text = text[:start] + insert + text[end:]
    return text if text.strip() and text != fill.text and len(text) > fill.typed else None


def _closers(text: str) -> str:
    """What closes the brackets and the quote a text leaves open."""
    pending: list[str] = []
    quote = ""
    skip = False
    for char in text:
        if skip:
            skip = False
        elif quote:
            skip = char == "\\"
            quote = "" if char in (quote, "\n") else quote
        elif char in "\"'":
            quote = char
        elif char in _CLOSER:
            pending.append(_CLOSER[char])
        elif pending and char == pending[-1]:
            pending.pop()
    return quote + "".join(reversed(pending))
