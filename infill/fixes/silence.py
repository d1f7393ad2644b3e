"""What the user does not want to be told: by kind, by a comment on the line, or for the whole file."""

from __future__ import annotations

import re
from collections.abc import Collection

_COMMENT = re.compile(r"(?:#|//|/\*)\s*infill:\s*(ignore(?:-file)?)(?:\[([\w\s,-]*)\])?")


def silenced_lines(text: str, kinds: Collection[str]) -> dict[int, frozenset[str]]:
    """The kinds that are silenced on each line, from 0; line -1 stands for the whole file.

    `# infill: ignore` silences all `kinds` on its line, `# infill: ignore[name, operator]` those two, and
    `# infill: ignore-file` the file. In other languages `//` and `/*` begin the comment.
    """
    found: dict[int, frozenset[str]] = {}
    for number, line in enumerate(text.split("\n")):
        comment = _COMMENT.search(line)
        if comment is None:
            continue
        named = {part.strip() for part in (comment[2] or "").split(",") if part.strip()}
        at = -1 if comment[1] == "ignore-file" else number
        found[at] = found.get(at, frozenset()) | (frozenset(named) if named else frozenset(kinds))
    return found


def is_silenced(silenced: dict[int, frozenset[str]], line: int, kind: str) -> bool:
    """Whether a kind is silenced on a line, from 0."""
    return kind in silenced.get(line, frozenset()) or kind in silenced.get(-1, frozenset())
