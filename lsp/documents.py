"""The texts the client has open, as it has told us; the files on disk are not read.

Positions come as numbers and leave as offsets; the protocol's types stay outside.
"""

from __future__ import annotations

from dataclasses import dataclass

from infill.code.document import Document
from infill.marked.markers import Marker, find_markers
from infill.reuse import Memory
from lsp.lines import Encoding, Lines


@dataclass(frozen=True, slots=True)
class Change:
    """One change of a text: (line, column) `start` to `end` becomes `text`; the whole text without them."""

    text: str
    start: tuple[int, int] | None = None
    end: tuple[int, int] | None = None


class OpenDocument:
    """One text the client has open.

    `version` is the client's number, for messages. Whether an answer is still about this text is told by
    `revision`, which grows with every change whatever a client does with its numbers. `deleted` tells
    whether the last change only took something away. `memory` holds what was suggested for it, `requests`
    counts how often something was asked for.
    """

    def __init__(self, uri: str, language: str, version: int, text: str) -> None:
        self.uri = uri
        self.version = version
        self.revision = 0
        self.deleted = False
        self.memory = Memory()
        self.requests = 0
        self.document = Document(text, language)
        self.lines = Lines(text)

    def markers(self, start: int = 0, end: int | None = None) -> list[Marker]:
        """The marked holes that overlap the code points `start` to `end`; see `find_markers`."""
        return find_markers(self.document, start, end, stubs=self.uri.endswith(".pyi"))

    def apply(self, change: Change, encoding: Encoding) -> None:
        """Make one change; a range outside the text is clamped, one the wrong way round is turned."""
        self.revision += 1
        if change.start is None or change.end is None:
            self.deleted = False  # we are sent edits: a whole new text is another text, not a deletion
            self.document.set_text(change.text)
            self.lines = Lines(change.text)
            return
        ends = (self.lines.offset(*change.start, encoding), self.lines.offset(*change.end, encoding))
        start, end = min(ends), max(ends)
        self.deleted = not change.text and start < end
        self.document.edit(start, end, change.text)
        self.lines.replace(self.document.text, start, end, len(change.text))


class Documents:
    """All open texts by URI, as the client spells it."""

    def __init__(self, encoding: Encoding = Encoding.UTF16) -> None:
        self.encoding = encoding
        self._open: dict[str, OpenDocument] = {}

    def open(self, uri: str, language: str, version: int, text: str) -> None:
        """Take a text; one that is open already is replaced."""
        self._open[uri] = OpenDocument(uri, language, version, text)

    def change(self, uri: str, version: int, changes: list[Change]) -> bool:
        """Make changes in order; False if the text is not open."""
        document = self._open.get(uri)
        if document is None:
            return False
        for change in changes:
            document.apply(change, self.encoding)
        document.version = version
        return True

    def close(self, uri: str) -> None:
        """Forget a text; one that is not open is no error."""
        self._open.pop(uri, None)

    def get(self, uri: str) -> OpenDocument | None:
        """The text as it is now."""
        return self._open.get(uri)

    def is_current(self, document: OpenDocument, revision: int) -> bool:
        """Whether `document` is still open and still as it was at `revision`."""
        return self._open.get(document.uri) is document and document.revision == revision
