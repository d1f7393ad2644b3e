"""The names a place in a file can see, from the syntax alone: those that are bound, and how near.

Scopes are the functions and classes around the place and the file itself; what other files hold is unknown.
"""

from __future__ import annotations

import builtins
import difflib
import re
from collections import Counter

from infill.code.document import Document, Leaf

_SCOPES = re.compile(
    r"(?:function|method)_(?:definition|declaration|item)|arrow_function|lambda|func_literal|closure_expression"
    r"|(?:class|impl)_(?:definition|declaration|item)"
)


def identifiers(document: Document, start: int, end: int) -> list[Leaf]:
    """The identifiers between two offsets that stand for variables, not for attributes or keywords."""
    text = document.text
    found = []
    for leaf in document.leaves(start, end):
        if leaf.kind == "identifier" and leaf.start >= start and text[max(0, leaf.start - 1)] != ".":
            found.append(leaf)
    return found


def names_in_scope(document: Document, offset: int) -> list[str]:
    """The names the place can see, those of the innermost scope first, each once.

    A name counts as bound where it is read, too: the text has to say it somewhere else than at `offset`.
    """
    scopes = [s for s in document.enclosing(offset, offset) if _SCOPES.fullmatch(s.kind)]
    spans = [(scope.start, scope.end) for scope in scopes] + [(0, len(document.text))]
    names: dict[str, None] = {}
    for index, (start, end) in enumerate(spans):
        outermost = index == len(spans) - 1
        for leaf in identifiers(document, start, end):
            # Of the file itself only what its own statements bind, not what its functions keep to themselves.
            of_file = _at_margin(document, leaf) and "param" not in leaf.parent
            if not leaf.start <= offset <= leaf.end and (not outermost or of_file):
                names.setdefault(document.text[leaf.start : leaf.end])
    return list(names)


def scope_of(document: Document, offset: int) -> tuple[int, int]:
    """The innermost function or class around a place; the whole text outside of any."""
    for node in document.enclosing(offset, offset):
        if _SCOPES.fullmatch(node.kind):
            return node.start, node.end
    return 0, len(document.text)


def counts(document: Document, start: int, end: int) -> Counter[str]:
    """How often each name stands between two offsets."""
    return Counter(document.text[leaf.start : leaf.end] for leaf in identifiers(document, start, end))


def alike(name: str, names: list[str], most: int) -> list[str]:
    """The names that are spelt most like one, likest first: what a spell-checker would offer."""
    return difflib.get_close_matches(name, [n for n in names if n != name], n=most, cutoff=0.6)


def is_builtin(name: str) -> bool:
    """Whether Python knows the name by itself."""
    return hasattr(builtins, name)


def _at_margin(document: Document, leaf: Leaf) -> bool:
    text = document.text
    line = text.rfind("\n", 0, leaf.start) + 1
    return text[line : line + 1] not in (" ", "\t")
