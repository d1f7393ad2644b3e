"""A place in a source file: parsing FILE:LINE:COL, reading the file, and writing it back whole.

Lines and columns count from 1 and columns count code points; offsets count code points from 0. Lines
end where `lsp.lines` says, as in the protocol, so that \\f and U+2028 are ordinary characters. Knows nothing
of models.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from lsp.commands.errors import CommandError, FileChanged
from lsp.lines import Encoding, Lines

STDIN = "<stdin>"
"""The name a target has when the text comes from standard input."""

_BOM = b"\xef\xbb\xbf"
_PLACE = re.compile(r"(?P<path>.+):(?P<line>[0-9]+):(?P<column>[0-9]+)", re.DOTALL)
_POSITION = re.compile(r"(?P<line>[0-9]+):(?P<column>[0-9]+)")


@dataclass(frozen=True, kw_only=True)
class Position:
    """A line and a column, both from 1; the column one past a line's last character is its end."""

    line: int
    column: int


@dataclass(frozen=True, kw_only=True)
class Source:
    """A text, and the bytes it was read from (`data`, with the byte order mark if there was one)."""

    name: str
    data: bytes
    text: str

    def encode(self, text: str) -> bytes:
        """`text` in this file's encoding, with its byte order mark."""
        return (_BOM if self.data.startswith(_BOM) else b"") + text.encode("utf-8")


def parse_place(target: str) -> tuple[str, Position]:
    """Split FILE:LINE:COL, from the right since paths may hold colons.

    Raises:
        CommandError: it has another form, or counts from 0.
    """
    match = _PLACE.fullmatch(target)
    if match is None:
        shown = f"-{target.removeprefix(STDIN)}" if target.startswith(STDIN) else target
        raise CommandError(f"{shown!r} is not FILE:LINE:COL (such as app.py:12:5, or -:12:5 for stdin)")
    return match["path"], _position(match, target)


def parse_position(text: str) -> Position:
    """Read LINE:COL.

    Raises:
        CommandError: it has another form, or counts from 0.
    """
    match = _POSITION.fullmatch(text)
    if match is None:
        raise CommandError(f"{text!r} is not LINE:COL (such as 12:5)")
    return _position(match, text)


def _position(match: re.Match[str], shown: str) -> Position:
    # int() refuses absurdly long numbers with a ValueError; nine digits are more than any file needs.
    if len(match["line"]) > 9 or len(match["column"]) > 9:
        raise CommandError(f"{shown!r}: the line or the column is too large a number")
    position = Position(line=int(match["line"]), column=int(match["column"]))
    if position.line < 1 or position.column < 1:
        raise CommandError(f"{shown!r}: lines and columns count from 1")
    return position


def read_source(path: str) -> Source:
    """Read a UTF-8 file, or standard input for `STDIN`.

    Raises:
        CommandError: it may hold secrets, cannot be read or is not UTF-8.
    """
    from infill.ignore import secret_file

    if path != STDIN and (refused := secret_file(Path(path))):
        raise CommandError(f"{path}: {refused.message}")
    try:
        data = sys.stdin.buffer.read() if path == STDIN else Path(path).read_bytes()
    except IsADirectoryError:
        raise CommandError(f"{path} is a directory, not a file") from None
    except FileNotFoundError:
        raise CommandError(f"{path}: no such file") from None
    except (OSError, ValueError) as error:
        # Windows reports a directory as a plain PermissionError.
        if Path(path).is_dir():
            raise CommandError(f"{path} is a directory, not a file") from None
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise CommandError(f"{path!r} cannot be read: {reason}") from None
    body = data.removeprefix(_BOM)
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError as error:
        offset = error.start + len(data) - len(body)
        byte = f"0x{data[offset]:02x}"
        raise CommandError(f"{path} is not UTF-8: byte {byte} at byte offset {offset}") from None
    return Source(name=path, data=data, text=text)


def offset_of(source: Source, position: Position) -> int:
    """The offset of a position.

    Raises:
        CommandError: it lies outside the text; the message says how many lines or columns there are.
    """
    lines, text, name = Lines(source.text), source.text, source.name
    if position.line <= lines.count:
        start = lines.offset(position.line - 1, 0, Encoding.UTF32)
        columns = lines.offset(position.line - 1, len(text), Encoding.UTF32) - start + 1
        if position.column <= columns:
            return start + position.column - 1
        there = "column 1 only" if columns == 1 else f"columns 1 to {columns}"
        raise CommandError(
            f"column {position.column} is outside line {position.line} of {name}, which has {there}"
        )
    if not text:
        raise CommandError(f"{name} is empty, so 1:1 is its only position, not line {position.line}")
    last = ", the last of them empty" if text.endswith(("\n", "\r")) else ""
    count = "1 line" if lines.count == 1 else f"{lines.count} lines"
    raise CommandError(f"line {position.line} is outside {name}, which has {count}{last}")


def position_of(text: str, offset: int) -> Position:
    """The position of an offset, the inverse of `offset_of`."""
    line, column = Lines(text).position(offset, Encoding.UTF32)
    return Position(line=line + 1, column=column + 1)


def check_writable(path: str) -> None:
    """Say before any work is done that `--write` could not work.

    Raises:
        CommandError: there is no file to write to, or it is read-only.
    """
    if path == STDIN:
        raise CommandError("--write needs a file; standard input has none to write to")
    if not os.access(path, os.W_OK):
        raise CommandError(f"{path} is read-only; --write would replace it")


def replace_file(source: Source, data: bytes) -> None:
    """Replace the file atomically, keeping its mode; a symbolic link stays one.

    Raises:
        FileChanged: the file is no longer what was read.
        CommandError: it cannot be written.
    """
    path = Path(os.path.realpath(source.name))
    temporary = ""
    try:
        descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name[:64]}.")
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        shutil.copymode(path, temporary)
        # As late as possible: what is left of the race is the time of one rename.
        if path.read_bytes() != source.data:
            raise FileChanged(f"{source.name} changed while the hole was being filled; nothing was written")
        os.replace(temporary, path)
    except FileNotFoundError:
        raise FileChanged(f"{source.name} is gone; nothing was written") from None
    except OSError as error:
        raise CommandError(f"{source.name} cannot be written: {error.strerror or error}") from None
    finally:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
