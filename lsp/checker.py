"""Asks the user's own checker about a text that is on no disk: ruff, pyright, mypy, a compiler.

The command is the user's, from the command line; it is split like a shell's but no shell runs it. Nothing
that comes with a workspace may ever name one, since it would be run.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

_TIMEOUT_S = 60.0
_LOOK_S = 0.05  # how often somebody looks whether it is still wanted
_MOST_CHARS = 20_000_000  # of output that is looked at
_LINE = re.compile(r"^(?P<path>.*?):(?P<line>\d+):(?:(?P<column>\d+):)? *(?P<message>.+)$")
_HINT = re.compile(r"^(?:note|help|info)\b")


class CheckerError(Exception):
    """The command cannot be run, takes too long, or says nothing that can be read; one line for the user."""


@dataclass(frozen=True, kw_only=True)
class Complaint:
    """What a checker says about a place: lines and columns from 1, the end exclusive; `end` may be the start.

    `code` is the rule's name where the checker has names, "" otherwise.
    """

    line: int
    column: int
    end_line: int
    end_column: int
    code: str
    message: str

    @property
    def kind(self) -> tuple[str, str]:
        """What makes two complaints the same one wherever they stand."""
        return self.code, self.message


@dataclass(frozen=True, kw_only=True)
class Checker:
    """A command. `{copy}` in it becomes the path of a copy of the text, and `{file}` the file's own path.

    Without `{copy}` the text is the command's standard input. It runs in the file's folder, so that it finds
    its configuration.
    """

    command: tuple[str, ...]
    timeout_s: float = _TIMEOUT_S

    @classmethod
    def parse(cls, command: str) -> Checker:
        """A command as it is typed.

        Raises:
            CheckerError: it is empty, or a quote in it has no end.
        """
        try:
            words = tuple(shlex.split(command))
        except ValueError as error:
            raise CheckerError(f"the checker's command cannot be read: {error}") from error
        if not words:
            raise CheckerError("the checker's command is empty")
        return cls(command=words)

    def complaints(
        self, text: str, file: str, cancelled: threading.Event | None = None
    ) -> tuple[Complaint, ...]:
        """What the checker says about `text` as the content of `file`, in order.

        Raises:
            CheckerError: it cannot be run, takes too long, or its answer cannot be read; or it was
                `cancelled`, which ends it.
        """
        path = Path(file)
        folder = path.resolve().parent
        with tempfile.TemporaryDirectory(prefix="infill-checker-") as temporary:
            copy = Path(temporary) / (path.name or "text")
            copy.write_bytes(text.encode("utf-8", "surrogatepass"))
            places = {"{copy}": str(copy), "{file}": str(path.resolve())}
            words = [_filled(word, places) for word in self.command]
            by_copy = any("{copy}" in word for word in self.command)
            with open(os.devnull if by_copy else copy, "rb") as given:
                done = self._run(words, folder, given, cancelled or threading.Event())
            found = _read(done.stdout, {str(copy), str(copy.resolve()), str(path.resolve()), path.name})
        if not found and done.returncode not in (0, 1):
            said = (done.stderr.strip() or done.stdout.strip()).split("\n")[-1][:200]
            raise CheckerError(f"{self.command[0]} ended with {done.returncode}: {said}")
        return found

    def _run(
        self, words: Sequence[str], folder: Path, given: BinaryIO, cancelled: threading.Event
    ) -> subprocess.CompletedProcess[str]:
        ends = time.monotonic() + self.timeout_s
        try:
            with subprocess.Popen(
                words,
                cwd=folder if folder.is_dir() else None,
                stdin=given,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                encoding="utf-8",
                errors="replace",
            ) as process:
                while True:
                    try:
                        out, said = process.communicate(timeout=_LOOK_S)
                    except subprocess.TimeoutExpired:
                        late = time.monotonic() > ends
                        if not late and not cancelled.is_set():
                            continue
                        process.kill()
                        why = (
                            f"took longer than {self.timeout_s:g} seconds"
                            if late
                            else "is not wanted any more"
                        )
                        raise CheckerError(f"{words[0]} {why}") from None
                    return subprocess.CompletedProcess(words, process.returncode, out, said)
        except OSError as error:
            raise CheckerError(f"{words[0]} cannot be run: {error.strerror or error}") from error


def settles(before: Sequence[Complaint], after: Sequence[Complaint], target: Complaint | None) -> bool:
    """Whether a change cleared `target`, where there is one, and brought no complaint that is new.

    Complaints are compared by rule and words, not by place, since a change moves what is behind it.
    """
    old, new = Counter(c.kind for c in before), Counter(c.kind for c in after)
    if new - old:
        return False
    return target is None or new[target.kind] < old[target.kind]


def agreed(
    checker: Checker,
    standing: Sequence[Complaint],
    texts: Iterable[str],
    file: str,
    target: Complaint | None,
    *,
    wanted: int,
    cancelled: threading.Event,
) -> Iterator[tuple[int, tuple[Complaint, ...]]]:
    """The indices of the first `wanted` of `texts` that settle `target`, with what is said about each.

    `standing` is what the checker says now. Each text takes a run of the checker.

    Raises:
        CheckerError: it cannot be run, takes too long, or its answer cannot be read.
    """
    for index, text in enumerate(texts):
        if wanted == 0 or cancelled.is_set():
            return
        said = checker.complaints(text, file, cancelled)
        if settles(standing, said, target):
            wanted -= 1
            yield index, said


def _filled(word: str, places: dict[str, str]) -> str:
    for name, value in places.items():
        word = word.replace(name, value)
    return word


def _read(out: str, names: set[str]) -> tuple[Complaint, ...]:
    """Complaints in the JSON of ruff, pyright or mypy, else in lines of `path:line:column: message`."""
    out = out[:_MOST_CHARS]
    for read in (_as_json, _as_json_lines):
        found = read(out)
        if found is not None:
            return tuple(found)
    return tuple(_as_lines(out, names))


def _as_json(out: str) -> list[Complaint] | None:
    try:
        value = json.loads(out)
    except ValueError:
        return None
    try:
        if isinstance(value, list):
            return [_of_ruff(entry) for entry in value]
        if isinstance(value, dict) and "generalDiagnostics" in value:
            return [_of_pyright(e) for e in value["generalDiagnostics"] if e.get("severity") != "information"]
    except (KeyError, TypeError, AttributeError) as error:
        raise CheckerError(f"the checker's JSON is of no kind that is known: {error!r}") from error
    return None


def _as_json_lines(out: str) -> list[Complaint] | None:
    """mypy's `--output json`: an object a line."""
    lines = [line for line in out.split("\n") if line.strip()]
    try:
        entries = [json.loads(line) for line in lines]
        return [_of_mypy(e) for e in entries if e["severity"] != "note"] if entries else None
    except (ValueError, KeyError, TypeError):
        return None


def _of_ruff(entry: dict[str, Any]) -> Complaint:
    start, end = entry["location"], entry.get("end_location") or entry["location"]
    return Complaint(
        line=start["row"],
        column=start["column"],
        end_line=end["row"],
        end_column=end["column"],
        code=entry.get("code") or "syntax",
        message=entry["message"],
    )


def _of_pyright(entry: dict[str, Any]) -> Complaint:
    start, end = entry["range"]["start"], entry["range"]["end"]
    return Complaint(
        line=start["line"] + 1,
        column=start["character"] + 1,
        end_line=end["line"] + 1,
        end_column=end["character"] + 1,
        code=entry.get("rule", ""),
        message=entry["message"],
    )


def _of_mypy(entry: dict[str, Any]) -> Complaint:
    line, column = entry["line"], entry["column"] + 1
    return Complaint(
        line=max(1, line),
        column=max(1, column),
        end_line=max(1, line),
        end_column=max(1, column),
        code=entry.get("code") or "",
        message=entry["message"],
    )


def _as_lines(out: str, names: set[str]) -> list[Complaint]:
    found = []
    for line in out.split("\n"):
        match = _LINE.match(line.strip())
        if match is None or (match["path"] not in names and Path(match["path"]).name not in names):
            continue
        message = match["message"]
        if _HINT.match(message):
            continue
        column = int(match["column"] or 1)
        place = {"line": int(match["line"]), "end_line": int(match["line"])}
        found.append(Complaint(**place, column=column, end_column=column, code="", message=message))
    return found
