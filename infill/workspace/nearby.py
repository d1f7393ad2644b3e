"""The texts of other files that are worth looking up how things are written in, most useful first.

In this order: what the user has looked at lately, what the text imports, and what lies in the same folder.
They do not depend on where in the text the cursor is.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain

from infill.code.lines import with_line_feeds
from infill.workspace.files import read
from infill.workspace.gather import Place, own_imports
from infill.workspace.index import Entry, Index
from infill.workspace.resolve import as_module, sought
from infill.workspace.similar import OtherText

_LARGEST_SHARE = 0.5  # of the budget, for one text


def nearby(
    index: Index, place: Place, others: Sequence[OtherText] = (), *, budget_chars: int
) -> tuple[str, ...]:
    """Texts in the language of the one at `place`, with bare line feeds, of `budget_chars` together.

    `others` are texts lately looked at, the latest first. Files are read anew. The last text is cut to what
    is left of the budget.
    """
    language = place.document.language
    here = [other for other in others if other.language == language and other.path != place.path]
    found: list[str] = []
    left, most = budget_chars, int(budget_chars * _LARGEST_SHARE)
    # One by one: what there is no room for is not read.
    for text in chain((with_line_feeds(other.text) for other in here), _files(index, place, here)):
        found.append(text[: min(left, most)])
        left -= len(found[-1])
        if left <= 0:
            break
    return tuple(text for text in found if text)


def _files(index: Index, place: Place, opened: Sequence[OtherText]) -> Iterator[str]:
    """The texts of the files that are imported and of those in the same folder, but for the `opened` ones."""
    own = index.entry(place.root / place.path)
    passed = {place.path, *(other.path for other in opened)}
    for entry in (*_imported(index, place, own), *index.siblings(place.root / place.path)):
        if entry.language != place.document.language or entry.path in passed or entry.stamp is None:
            continue
        passed.add(entry.path)
        data = read(entry.root / entry.path)
        if data is not None:
            yield data.decode("utf-8")


def _imported(index: Index, place: Place, own: Entry | None) -> Iterator[Entry]:
    language = place.document.language
    for one in own_imports(place.document):
        for meant in (as_module(one, language), one):
            if meant is not None:
                yield from index.find(sought(meant, place.path, language), own, place.root, place.path)
