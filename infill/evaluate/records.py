"""What an evaluation has found so far, kept in a file, so that one that was stopped goes on where it was.

A line of JSON each; a last line that was cut off is left out. It knows nothing of what is evaluated.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

from infill.errors import InfillError

_BEGINS = b'{"key": '
_Result = TypeVar("_Result")


class BadRecords(InfillError):
    """The file cannot be read or written, or it holds something else."""


class Records:
    """Results by key; without a path they are only kept in memory."""

    def __init__(self, path: Path | None = None) -> None:
        """Read what there is.

        Raises:
            BadRecords: there is a file, and it holds something else.
        """
        self._path = path
        self._known: dict[str, Any] = {}
        if path is None or not path.exists():
            return
        try:
            data = path.read_bytes()
        except OSError as error:
            raise BadRecords(f"{path} cannot be read: {error}") from error
        whole = data[: data.rfind(b"\n") + 1]
        for number, line in enumerate(whole.splitlines(), 1):
            try:
                entry = json.loads(line)
                self._known[entry["key"]] = entry["value"]
            except (ValueError, KeyError, TypeError) as error:
                raise BadRecords(f"line {number} of {path} is no record") from error
        cut_off = data[len(whole) :]
        if not _BEGINS.startswith(cut_off[: len(_BEGINS)]):
            raise BadRecords(f"the end of {path} is no record")
        if cut_off:  # it was being written when the run was stopped
            try:
                path.write_bytes(whole)
            except OSError as error:
                raise BadRecords(f"{path} cannot be written: {error}") from error

    def get(self, key: str, compute: Callable[[], Any]) -> Any:
        """The value of a key; computed, and written down, if it is not known. A plain JSON value.

        Raises:
            BadRecords: the file cannot be written.
        """
        if key not in self._known:
            self._known[key] = compute()
            if self._path is not None:
                try:
                    with self._path.open("a", encoding="utf-8") as file:
                        file.write(json.dumps({"key": key, "value": self._known[key]}) + "\n")
                except OSError as error:
                    raise BadRecords(f"{self._path} cannot be written: {error}") from error
        return self._known[key]

    def begin(self, run: dict[str, Any]) -> None:
        """Say which run these are the records of.

        Raises:
            BadRecords: they are another's, or cannot be written.
        """
        if (kept := self.get("run", lambda: run)) != run:
            raise BadRecords(f"{self._path} holds the records of another run: {kept}")

    def value(self, key: str, result: type[_Result], compute: Callable[[], _Result]) -> _Result:
        """`get` for a dataclass of plain values, whose tuples come back as lists.

        Raises:
            BadRecords: the file cannot be written.
        """
        return result(**self.get(key, lambda: asdict(compute())))  # type: ignore[call-overload]
