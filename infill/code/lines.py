"""Lines as an editor counts them: ended by a line feed, a carriage return or both, and by nothing else.

Not `str.splitlines`, which also splits at form feeds and U+2028. Offsets are code points.
"""

from __future__ import annotations


def line_start(text: str, offset: int) -> int:
    """Where the line begins that `offset` is on."""
    return max(text.rfind("\n", 0, offset), text.rfind("\r", 0, offset)) + 1


def line_end(text: str, offset: int) -> int:
    """Where the line ends that `offset` is on, before its line ending."""
    feed = text.find("\n", offset)
    feed = len(text) if feed < 0 else feed
    carriage = text.find("\r", offset, feed)
    return feed if carriage < 0 else carriage


def next_line_start(text: str, offset: int) -> int | None:
    """Where the next line begins; None on the last line."""
    end = line_end(text, offset)
    if end == len(text):
        return None
    return end + (2 if text.startswith("\r\n", end) else 1)


def previous_line(text: str, start: int) -> tuple[int | None, int]:
    """(start, end) of the line before the one that begins at `start`; start is None on the first line."""
    if start == 0:
        return None, 0
    end = start - (2 if text.startswith("\r\n", start - 2) and start >= 2 else 1)
    return line_start(text, end), end


def line_number(text: str, offset: int) -> int:
    """The number of the line `offset` is on, counted from 1."""
    feeds, carriages = text.count("\n", 0, offset), text.count("\r", 0, offset)
    return 1 + feeds + (carriages - text.count("\r\n", 0, offset) if carriages else 0)


def newline_of(text: str, offset: int) -> str:
    """The line ending in use: that of the line at `offset`, or of the one before it; else a line feed."""
    end = line_end(text, offset)
    if end == len(text):
        end = max(0, line_start(text, offset) - 1)
        end -= text[max(0, end - 1) : end + 1] == "\r\n"
    if text.startswith("\r\n", end):
        return "\r\n"
    return "\r" if text.startswith("\r", end) else "\n"


def with_line_feeds(text: str) -> str:
    """The text with a line feed in the place of every line ending."""
    return text.replace("\r\n", "\n").replace("\r", "\n") if "\r" in text else text
