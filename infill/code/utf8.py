"""Where a code point lies in a text's UTF-8, and on which row, without encoding the whole text each time.

Rows are tree-sitter's: only a line feed ends one. An editor's lines (which may also end with a carriage
return) are not this module's business.
"""

from __future__ import annotations

import threading
from bisect import bisect_right

_STRIDE = 1024  # code points between two marks: the most that one question has to encode


def encode(text: str) -> bytes:
    """UTF-8; lone surrogates, which an editor may well send, become three bytes instead of an error."""
    return text.encode("utf-8", "surrogatepass")


class Utf8Index:
    """Marks every 1024 code points of one text: how many bytes and rows lie before each.

    Marks are set as they are needed and kept up to the place of an edit, so that typing costs one
    stride wherever in the text it happens. Several threads may ask, one at a time may edit.
    """

    def __init__(self, text: str) -> None:
        self._text = text
        self._bytes = [0]
        self._rows = [0]
        self._lock = threading.Lock()

    def copy(self) -> Utf8Index:
        """An index of the same text that can be edited on its own."""
        twin = Utf8Index(self._text)
        with self._lock:
            twin._bytes, twin._rows = self._bytes.copy(), self._rows.copy()
        return twin

    def replace(self, text: str, start: int) -> None:
        """Take a new text that equals the old one before `start`."""
        keep = start // _STRIDE + 1
        del self._bytes[keep:], self._rows[keep:]
        self._text = text

    def byte(self, offset: int) -> int:
        """The byte at which a code point begins."""
        if self._text.isascii():
            return offset
        mark = self._mark(offset)
        return self._bytes[mark] + len(encode(self._text[mark * _STRIDE : offset]))

    def offset(self, byte: int) -> int:
        """The code point that begins at a byte, or the one it is part of."""
        if self._text.isascii():
            return byte
        while self._bytes[-1] <= byte and len(self._bytes) * _STRIDE <= len(self._text):
            self._mark(len(self._bytes) * _STRIDE)
        mark = bisect_right(self._bytes, byte) - 1
        start = mark * _STRIDE
        piece = encode(self._text[start : start + _STRIDE])[: byte - self._bytes[mark]]
        return start + len(_whole(piece).decode("utf-8", "surrogatepass"))

    def point(self, offset: int) -> tuple[int, int]:
        """(row, column in bytes) of a code point, as tree-sitter wants it."""
        mark = self._mark(offset)
        row = self._rows[mark] + self._text.count("\n", mark * _STRIDE, offset)
        line_start = self._text.rfind("\n", 0, offset) + 1
        return row, self.byte(offset) - self.byte(line_start)

    def _mark(self, offset: int) -> int:
        """Set marks as far as `offset` and return the last one at or before it."""
        wanted = offset // _STRIDE
        if len(self._rows) <= wanted:
            with self._lock:
                while len(self._rows) <= wanted:
                    start = (len(self._rows) - 1) * _STRIDE
                    piece = self._text[start : start + _STRIDE]
                    self._bytes.append(self._bytes[-1] + len(encode(piece)))
                    self._rows.append(self._rows[-1] + piece.count("\n"))
        return wanted


def _whole(piece: bytes) -> bytes:
    """`piece` without a code point at its end that is cut short."""
    for back in range(1, min(4, len(piece)) + 1):
        lead = piece[-back]
        if lead & 0xC0 != 0x80:
            width = 1 if lead < 0x80 else 2 if lead < 0xE0 else 3 if lead < 0xF0 else 4
            return piece[:-back] if width > back else piece
    return piece
