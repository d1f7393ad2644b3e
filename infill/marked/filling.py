"""A text while its holes are being filled: which are, with what, and where the others lie now."""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass

from infill.code.document import Document
from infill.code.lines import with_line_feeds
from infill.marked.markers import Marker
from infill.repair.damage import python_error

_MOST_CHARS = 400_000  # of a text that Python's own parser is asked about: some 100 ms


@dataclass(frozen=True, kw_only=True)
class Filled:
    """A marker and its text: `start` to `end` of the document as it was becomes `text`."""

    start: int
    end: int
    text: str


class Filling:
    """The document with the holes that are filled already; markers are those of the document as it was."""

    def __init__(self, document: Document) -> None:
        self.document = document
        self.filled: list[Filled] = []
        self._shift = 0
        # The grammar does not mind a class without a body, of which the marker may have been all.
        short = document.language == "python" and len(document.text) <= _MOST_CHARS
        self._is_python = short and python_error(document.text) is None

    def at(self, marker: Marker) -> tuple[int, int]:
        """Where a marker behind all that is filled lies now."""
        return marker.start + self._shift, marker.end + self._shift

    def opened(self, marker: Marker) -> tuple[Document, int]:
        """The document without a marker, and where its hole is."""
        start, end = self.at(marker)
        return self.document.filled(start, end, marker.lead), start + len(marker.lead)

    def put(self, marker: Marker, text: str) -> None:
        """Fill a marker."""
        start, end = self.at(marker)
        new = marker.lead + text
        self.document = self.document.filled(start, end, new)
        self._shift += len(new) - (end - start)
        self.filled.append(Filled(start=marker.start, end=marker.end, text=new))

    def parses_with(self, group: Sequence[Marker], texts: Sequence[str]) -> bool:
        """Whether it would have no syntax error with these holes filled; False without a grammar."""
        trial = self.copy()
        for marker, new in zip(group, texts, strict=True):
            trial.put(marker, new)
        if not _parses(trial.document, self.at(group[0])[0], trial.at(group[-1])[1]):
            return False
        return not self._is_python or python_error(trial.document.text) is None

    def breaks_with(self, group: Sequence[Marker], texts: Sequence[str]) -> bool:
        """Whether it parses as it is, but not with these holes filled; False without a grammar."""
        as_it_is = _parses(self.document, self.at(group[0])[0], self.at(group[-1])[1])
        return as_it_is and not self.parses_with(group, texts)

    def middle(self, group: Sequence[Marker], texts: Sequence[str]) -> str:
        """Everything from the first of these holes to the last as it would be, with bare line feeds.

        It begins where `before` ends.
        """
        whole, out, at = self.document.text, "", self.before(group[0])
        for index, (marker, new) in enumerate(zip(group, texts, strict=True)):
            start, end = self.at(marker)
            out += whole[at:start] + (marker.lead if index else "") + new
            at = end
        return with_line_feeds(out)

    def before(self, marker: Marker) -> int:
        """Where what stands before a hole ends: without a space, which a middle's first token brings along.

        Indentation stays, and so does what a marker leads with.
        """
        text, start = self.document.text, self.at(marker)[0]
        spaced = text[start - 1 : start] == " " and text[start - 2 : start].strip() != ""
        return start - 1 if spaced and not marker.lead else start

    def copy(self) -> Filling:
        """One to try things on."""
        twin = copy(self)
        twin.filled = [*self.filled]
        return twin


def _parses(document: Document, start: int, end: int) -> bool:
    return document.is_read(start, end) and not document.faults(start, end)
