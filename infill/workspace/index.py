"""The index: what every source file of the workspace defines and imports, kept up to date file by file.

It is bounded in files, in bytes and in the time a scan may take; what lies beyond is not there. All methods
may be called from any thread. It knows no cursor.
"""

from __future__ import annotations

import posixpath
import re
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from infill.code.languages import language_of
from infill.code.syntax import grammar, parse
from infill.ignore import IgnoreRules
from infill.workspace.definitions import Definition, definitions
from infill.workspace.files import is_code, is_source, read, walk
from infill.workspace.imports import Import, imports
from infill.workspace.resolve import Sought

_PARSE_BUDGET_S = 0.5
_CPP = re.compile(rb"^\s*(?:namespace\s|class\s+\w|template\s*<|using\s+\w)", re.MULTILINE)
_MOST_IN_FOLDER = 200  # files of one folder that are looked at for its names


@dataclass(frozen=True, kw_only=True)
class Limits:
    """How much is indexed at most: files, bytes of source text, and seconds of work in one scan."""

    files: int = 20_000
    text_bytes: int = 256_000_000
    scan_s: float = 120.0


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One file: `path` is relative to the workspace folder `root`, with forward slashes.

    `stamp` is the file's state when it was read (modification time in ns, bytes), or None where its text
    came from an editor.
    """

    root: Path
    path: str
    language: str
    stamp: tuple[int, int] | None
    text_bytes: int
    imports: tuple[Import, ...]
    definitions: dict[str, tuple[Definition, ...]] = field(repr=False)

    def members(self, container: str) -> list[Definition]:
        """What belongs to a type, in order."""
        found = (d for of_name in self.definitions.values() for d in of_name if d.container == container)
        return sorted(found, key=lambda definition: definition.line)


@dataclass(frozen=True, kw_only=True)
class Scanned:
    """What a scan came to; `complete` unless a limit ended it."""

    files: int
    read: int
    seconds: float
    complete: bool


class Index:
    """The files of some workspace folders, by their path."""

    def __init__(self, limits: Limits | None = None) -> None:
        self._limits = limits or Limits()
        self._lock = threading.Lock()
        self._folders: list[IgnoreRules] = []
        self._entries: dict[Path, Entry] = {}
        self._by_name: dict[str, set[Path]] = {}
        self._by_folder: dict[Path, set[Path]] = {}
        self._folders_by_name: dict[str, set[Path]] = {}
        self._text_bytes = 0

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def text_bytes(self) -> int:
        """How much source text the files have that are indexed."""
        return self._text_bytes

    def set_folders(self, folders: Iterable[IgnoreRules]) -> None:
        """Take these workspace folders; what lies in no other is forgotten."""
        self._folders = list(folders)
        roots = {rules.root for rules in self._folders}
        for path, entry in list(self._entries.items()):
            if entry.root not in roots:
                self.forget(path)

    def scan(self, pause: Callable[[], bool] = lambda: False) -> Scanned:
        """Read what is new or has changed, and forget what is gone.

        `pause` is called before each file: it may wait, which does not count, and its True ends the scan.
        """
        spent, count, began = 0.0, 0, time.perf_counter()
        seen: set[Path] = set()
        complete = True
        for path in (path for rules in list(self._folders) for path in walk(rules)):
            spent += time.perf_counter() - began
            stop = pause() or spent > self._limits.scan_s or not self._has_room(path)
            began = time.perf_counter()
            if stop:
                complete = False
                break
            seen.add(path)
            count += self._refresh(path)
        if complete:
            for path in [p for p, entry in self._entries.items() if p not in seen and entry.stamp]:
                self.forget(path)
        spent += time.perf_counter() - began
        return Scanned(files=len(self), read=count, seconds=spent, complete=complete)

    def update(self, path: Path) -> None:
        """A file was made, changed or deleted; one whose text an editor holds is left alone."""
        known = self._entries.get(path)
        if known is not None and known.stamp is None:
            return
        rules = self._rules(path)
        if rules is None or not is_source(path, rules) or not path.is_file():
            self.forget(path)
        elif self._has_room(path):
            self._refresh(path)

    def put(self, path: Path, text: str) -> None:
        """Take a file's text from an editor, whatever is on the disk."""
        rules = self._rules(path)
        data = text.encode("utf-8", "replace")
        if rules is None or not is_source(path, rules) or not self._has_room(path) or not is_code(data):
            self.forget(path)
            return
        self._keep(path, self._read(path, rules, data, None))

    def release(self, path: Path) -> None:
        """The editor has closed a file: from now on the disk counts."""
        self.forget(path)
        self.update(path)

    def forget(self, path: Path) -> None:
        """Drop a file; one that is not there is no error."""
        with self._lock:
            self._drop(path)

    def entry(self, path: Path) -> Entry | None:
        """A file as it is now: it is read again if it has changed, in case nobody said so."""
        entry = self._entries.get(path)
        if entry is not None and entry.stamp is not None and entry.stamp != _stamp(path):
            self.update(path)
            entry = self._entries.get(path)
        return entry

    def siblings(self, path: Path) -> list[Entry]:
        """The other files of a file's folder, in the order of their names."""
        with self._lock:
            found = sorted(self._by_folder.get(path.parent, set()) - {path})[:_MOST_IN_FOLDER]
        return [entry for sibling in found if (entry := self.entry(sibling)) is not None]

    def find(self, wanted: Iterable[Sought], importer: Entry | None, root: Path, path: str) -> list[Entry]:
        """The files meant by an import in `path` of the folder `root`; none if it leads elsewhere.

        The first that is there counts, and of several with the same end the one nearest to the importer.
        """
        for sought in wanted:
            found = self._meant(sought, root, path)
            entries = [entry for p in found if (entry := self.entry(p)) is not None and entry is not importer]
            if entries:
                return entries
        return []

    def _meant(self, sought: Sought, root: Path, importer: str) -> list[Path]:
        if sought.exact:
            path = root / sought.path
            return [path] if path in self._entries else []
        name = posixpath.basename(sought.path)
        if not name:
            return []
        with self._lock:
            among = (self._folders_by_name if sought.folder else self._by_name).get(name, set())
            ends = [p for p in among if p.as_posix().endswith("/" + sought.path)]
            if not ends:
                return []
            best = min(ends, key=lambda p: (-_common((root / importer).as_posix(), p.as_posix()), str(p)))
            return sorted(self._by_folder.get(best, set()))[:_MOST_IN_FOLDER] if sought.folder else [best]

    def _rules(self, path: Path) -> IgnoreRules | None:
        around = [rules for rules in self._folders if path.is_relative_to(rules.root)]
        return max(around, key=lambda rules: len(rules.root.parts), default=None)

    def _has_room(self, path: Path) -> bool:
        if path in self._entries:
            return True
        return len(self._entries) < self._limits.files and self._text_bytes < self._limits.text_bytes

    def _refresh(self, path: Path) -> bool:
        """Read a file if it is not what was read; whether it was."""
        known, stamp = self._entries.get(path), _stamp(path)
        if known is not None and known.stamp in (None, stamp):
            return False
        rules = self._rules(path)
        data = read(path) if rules is not None else None
        if rules is None or data is None or stamp is None:
            self.forget(path)
            return False
        self._keep(path, self._read(path, rules, data, stamp))
        return True

    def _read(self, path: Path, rules: IgnoreRules, data: bytes, stamp: tuple[int, int] | None) -> Entry:
        language = _language(path, data)
        rule = grammar(language)
        tree = parse(rule, data, None, _PARSE_BUDGET_S) if rule is not None else None
        by_name: dict[str, tuple[Definition, ...]] = {}
        for definition in definitions(tree, data, language) if tree is not None else ():
            by_name[definition.name] = (*by_name.get(definition.name, ()), definition)
        return Entry(
            root=rules.root,
            path=path.relative_to(rules.root).as_posix(),
            language=language,
            stamp=stamp,
            text_bytes=len(data),
            imports=imports(tree, data, language) if tree is not None else (),
            definitions=by_name,
        )

    def _keep(self, path: Path, entry: Entry) -> None:
        with self._lock:
            self._drop(path)
            self._entries[path] = entry
            self._text_bytes += entry.text_bytes
            self._by_name.setdefault(path.name, set()).add(path)
            self._by_folder.setdefault(path.parent, set()).add(path)
            self._folders_by_name.setdefault(path.parent.name, set()).add(path.parent)

    def _drop(self, path: Path) -> None:
        """Only under the lock."""
        entry = self._entries.pop(path, None)
        if entry is None:
            return
        self._text_bytes -= entry.text_bytes
        self._by_name[path.name].discard(path)
        siblings = self._by_folder[path.parent]
        siblings.discard(path)
        if not siblings:
            del self._by_folder[path.parent]
            self._folders_by_name[path.parent.name].discard(path.parent)


def _language(path: Path, data: bytes) -> str:
    """The language of a file; a header is C++ if it looks like it, since both have the same names."""
    language = language_of(path.name)
    return "cpp" if language == "c" and path.suffix == ".h" and _CPP.search(data) else language


def _stamp(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size


def _common(one: str, other: str) -> int:
    """How many folders two paths share at their start."""
    return len(posixpath.commonpath([one, other]).split("/")) if one[0] == other[0] == "/" else 0
