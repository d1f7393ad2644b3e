"""What of the workspace is worth showing beside the code at a cursor, most useful first.

In this order: what is imported and used near the cursor; what the files of the same folder define and is
used near it; code of texts the user has looked at lately that is like the code there; and what is imported
but not used near it yet. The same input gives the same snippets, and the surroundings move in blocks of
lines, so that a prompt's cache survives typing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from engine.request import Snippet
from engine.text.half_typed import in_word
from infill.code.document import Document
from infill.code.utf8 import encode
from infill.workspace.definitions import Definition
from infill.workspace.imports import MOST_IMPORTS, Import, imports
from infill.workspace.index import Entry, Index
from infill.workspace.render import LONGEST_CHARS, render
from infill.workspace.resolve import as_module, sought
from infill.workspace.shapes import Kind
from infill.workspace.similar import OtherText, identifiers, similar

_BLOCK_LINES = 8  # how far the surroundings move at once
_ABOVE_BLOCKS, _BELOW_BLOCKS = 5, 2
_MOST_SIMILAR = 3
_MOST_SNIPPETS = 40
_LEAST_CHARS = 160  # of room for a type and its members, however small the budget
_DEEPEST_REEXPORT = 3
_IMPORTING_SECTIONS = 8  # of a long text
_MOST_LOOKUPS = 500  # of imports, for a package that passes on everything of everything
_WORD = re.compile(r"[^\W\d]\w*")


@dataclass(frozen=True, kw_only=True)
class Place:
    """A cursor: `offset` in `document`, which is the file `path` of the workspace folder `root`.

    `path` is relative, with forward slashes.
    """

    document: Document
    offset: int
    root: Path
    path: str


def gather(
    index: Index, place: Place, others: Sequence[OtherText] = (), *, budget_chars: int
) -> tuple[Snippet, ...]:
    """The snippets for a cursor; `others` are texts lately looked at, the latest first.

    They may come to more than `budget_chars` (`infill.snippets` chooses), but none is made for more room
    than there is.
    """
    text, language = place.document.text, place.document.language
    surroundings = near(text, place.offset)
    distances = used_names(text, surroundings, place.offset)
    wanted = _Wanted(index, place, distances, budget_chars)
    own = own_imports(place.document)
    found: dict[tuple[str, str], Snippet] = {}
    used, unused = wanted.imported(own)
    for definition, entry in [*used, *wanted.beside(own)]:
        wanted.show(found, definition, entry)
    start, end = surroundings
    alike = similar(
        identifiers(text[start:end]), [o for o in others if o.language == language], _MOST_SIMILAR
    )
    found.update({(s.path, s.text): s for s in alike})
    for definition, entry in unused:
        wanted.show(found, definition, entry)
    return tuple(found.values())[:_MOST_SNIPPETS]


def own_imports(document: Document) -> tuple[Import, ...]:
    """What the text imports in the first of its sections and those that go on with it."""
    found: list[Import] = []
    for text, tree in islice(document.trees(), _IMPORTING_SECTIONS):
        more = imports(tree, encode(text), document.language)
        if found and not more:
            break
        found += more
    return tuple(dict.fromkeys(found))[:MOST_IMPORTS]


def near(text: str, offset: int) -> tuple[int, int]:
    """Where the surroundings of a cursor begin and end."""
    inside = text.count("\n", 0, offset) % _BLOCK_LINES  # lines of the cursor's block above the cursor's
    start = offset + 1
    for _ in range(_ABOVE_BLOCKS * _BLOCK_LINES + inside + 1):
        start = text.rfind("\n", 0, max(0, start - 1)) + 1
        if start == 0:
            break
    end = offset
    for _ in range((_BELOW_BLOCKS + 1) * _BLOCK_LINES - inside):
        end = text.find("\n", end) + 1
        if end == 0:
            return start, len(text)
    return start, end


def used_names(text: str, surroundings: tuple[int, int], offset: int) -> dict[str, int]:
    """The names in the surroundings, each with its least distance from the cursor in blocks of lines.

    The word at the cursor is left out: while it is being typed it is a different one at every keystroke.
    """
    start, end = surroundings
    begin, stop = offset, offset
    while begin > start and in_word(text[begin - 1]):
        begin -= 1
    while stop < end and in_word(text[stop]):
        stop += 1
    names: dict[str, int] = {}
    for first, last in ((start, begin), (stop, end)):
        for match in _WORD.finditer(text, first, last):
            between = sorted((match.start(), offset))
            distance = text.count("\n", *between) // _BLOCK_LINES
            names[match[0]] = min(distance, names.get(match[0], distance))
    return names


_Found = tuple[Definition, Entry]


class _Wanted:
    """One gathering's view of the index."""

    def __init__(self, index: Index, place: Place, distances: dict[str, int], budget_chars: int) -> None:
        self._index, self._place, self._distances = index, place, distances
        self._own = index.entry(place.root / place.path)
        self._lookups = 0
        self._most_chars = min(LONGEST_CHARS, max(_LEAST_CHARS, budget_chars // 3))

    def imported(self, own: Sequence[Import]) -> tuple[list[_Found], list[_Found]]:
        """What is imported and used near the cursor, the nearest first; and what is only imported."""
        used: list[tuple[int, _Found]] = []
        unused: list[_Found] = []
        for one in own:
            for local, found in self._definitions(one):
                if local in self._distances:
                    used.append((self._distances[local], found))
                else:
                    unused.append(found)
        used.sort(key=lambda item: item[0])
        return [found for _, found in used], unused

    def beside(self, own: Sequence[Import]) -> list[_Found]:
        """What the files of the same folder define and is used near the cursor, the nearest first."""
        known = {one.alias for one in own}
        if self._own is not None:
            known |= self._own.definitions.keys()
        found = []
        for entry in self._index.siblings(self._place.root / self._place.path):
            if entry.language != self._place.document.language:
                continue
            for name in sorted((self._distances.keys() & entry.definitions.keys()) - known):
                found += [(d, entry) for d in entry.definitions[name] if not d.container]
        found.sort(key=lambda item: self._distances[item[0].name])
        return found

    def show(self, into: dict[tuple[str, str], Snippet], definition: Definition, entry: Entry) -> None:
        """Add a definition's snippet."""
        members = entry.members(definition.name) if definition.kind is Kind.TYPE else []
        text = render(definition, members, entry.language, self._distances, self._most_chars)
        into.setdefault((entry.path, text), Snippet(path=entry.path, text=text))

    def _definitions(self, one: Import) -> Iterator[tuple[str, _Found]]:
        """What an import may bring, with its name here; of a whole module what is used near the cursor."""
        place = self._place
        if one.name not in ("", "*"):
            by_name = False
            for entry in self._meant(one, self._own, place.root, place.path):
                for found in self._named(entry, one.name, _DEEPEST_REEXPORT):
                    by_name = True
                    yield one.alias, found
            module = as_module(one, place.document.language)
            if by_name or module is None:
                return
            one = module
        if one.name == "*" or one.alias.rpartition(".")[2] in self._distances:
            for entry in self._meant(one, self._own, place.root, place.path):
                for name in sorted(self._distances):
                    for found in self._named(entry, name, _DEEPEST_REEXPORT):
                        yield name, found

    def _named(self, entry: Entry, name: str, depth: int) -> Iterator[_Found]:
        """A file's definitions of a name, or those of the file it passes the name on from."""
        here = [d for d in entry.definitions.get(name, ()) if not d.container]
        if name == "default":
            here = [
                d for of in entry.definitions.values() for d in of if d.signature.startswith("export default")
            ]
        yield from ((definition, entry) for definition in here)
        if here or depth == 0:
            return
        passed_on = [one for one in entry.imports if one.alias == name or one.name == "*"]
        for one in sorted(passed_on, key=lambda one: one.name == "*"):
            inner = name if one.name == "*" else one.name
            further = self._meant(one, entry, entry.root, entry.path)
            if found := [pair for file in further for pair in self._named(file, inner, depth - 1)]:
                yield from found
                return

    def _meant(self, one: Import, importer: Entry | None, root: Path, path: str) -> list[Entry]:
        """The files an import leads to; none once there were too many to look for."""
        self._lookups += 1
        if self._lookups > _MOST_LOOKUPS:
            return []
        wanted = sought(one, path, importer.language if importer else self._place.document.language)
        return self._index.find(wanted, importer, root, path)
