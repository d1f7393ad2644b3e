"""Where a single token could be wrong, and what could stand there instead, from the syntax alone."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from infill.code.document import Document, Leaf
from infill.fixes.edit import Edit
from infill.fixes.names import alike, counts, is_builtin, names_in_scope, scope_of

_SWAPS = {
    "<": ("<=", ">"),
    "<=": ("<", ">="),
    ">": (">=", "<"),
    ">=": (">", "<="),
    "==": ("!=",),
    "!=": ("==",),
    "+": ("-",),
    "-": ("+",),
    "and": ("or",),
    "or": ("and",),
    "&&": ("||",),
    "||": ("&&",),
    "True": ("False",),
    "False": ("True",),
    "true": ("false",),
    "false": ("true",),
    "0": ("1",),
    "1": ("0",),
}
_LITERALS = frozenset(("True", "False", "true", "false", "0", "1"))
_ARGUMENTS = re.compile(r"(?<=\()([^\W\d]\w*), ([^\W\d]\w*)(?=[,)])")
_AWAITED = re.compile(r"\bawait\s+(?:\w+\.)*(\w+)\(|\basync\s+def\s+(\w+)")
"""What is waited for somewhere, or may be."""
_CALLEE = re.compile(r"(?:\w+\.)*$")
_NAMES = 5
_DEFINITIONS = frozenset(
    ["def", "class", "import", "as", "for", "fn", "func", "function", "let", "const", "var"]
)


_BINDERS = (
    "parameters",
    "keyword_argument",
    "default_parameter",
    "typed_parameter",
    "list_splat_pattern",
    "dictionary_splat_pattern",
    "dotted_name",
    "type",
)
_ASSIGNS = re.compile(r" =(?!=)")


@dataclass(frozen=True, kw_only=True)
class Site:
    """A place, its kind (one of `suspicious.KINDS`), and the edits that could put it right."""

    kind: str
    start: int
    end: int
    swaps: tuple[Edit, ...]


def sites(document: Document, start: int, end: int) -> Iterator[Site]:
    """The places between two offsets that have something else to offer."""
    scope = _Scope(document)
    before = ""
    for leaf in document.leaves(start, end):
        if leaf.start < start or leaf.end > end or "string" in leaf.kind or "comment" in leaf.kind:
            continue
        token = document.text[leaf.start : leaf.end]
        if leaf.kind == "identifier":
            yield from _name(document, leaf, token, before, scope)
        elif token in _SWAPS:
            kind = "literal" if token in _LITERALS else "operator"
            yield _site(kind, leaf, _SWAPS[token])
        if document.language == "python":
            yield from _missing(document, leaf, token, before, scope)
        before = token
    for found in _ARGUMENTS.finditer(document.text, start, end):
        if found[1] != found[2]:
            edit = Edit(start=found.start(), end=found.end(), text=f"{found[2]}, {found[1]}", how="arguments")
            yield Site(kind="arguments", start=found.start(), end=found.end(), swaps=(edit,))


class _Scope:
    """The names a chunk can see, and how often each is said."""

    def __init__(self, document: Document) -> None:
        self._document = document
        self._near: dict[tuple[int, int], list[str]] = {}
        self.counts = counts(document, 0, len(document.text))
        self.awaited = frozenset(found[1] or found[2] for found in _AWAITED.finditer(document.text))

    def is_async(self, offset: int) -> bool:
        """Whether the innermost function around `offset` may wait for something."""
        return self._document.text.startswith("async", scope_of(self._document, offset)[0])

    def swaps(self, token: str, offset: int, least: int = 2) -> list[str]:
        """What could stand at `offset` where `token` does: other names that are known and said `least` times,
        the likest first."""
        around = scope_of(self._document, offset)
        if around not in self._near:
            self._near[around] = names_in_scope(self._document, offset)
        near = self._near[around]
        known = [n for n in near if n != token and self.counts[n] >= least and _is_variable(n)]
        return list(dict.fromkeys([*alike(token, known, 3), *known]))[:_NAMES]


def _name(document: Document, leaf: Leaf, token: str, before: str, scope: _Scope) -> Iterator[Site]:
    after = document.text[leaf.end : leaf.end + 1]
    if before in _DEFINITIONS or before == "." or not _is_variable(token) or leaf.parent in _BINDERS:
        return
    # What is called is mostly defined elsewhere, and known there better than here.
    if after in ("=", "(") or _ASSIGNS.match(document.text, leaf.end):
        return
    once = scope.counts[token] == 1
    # What was meant may have been said once itself, where it was given its value.
    if once and (like := alike(token, scope.swaps(token, leaf.start, 1), 3)):
        yield _site("misspelt", leaf, tuple(like))
    elif others := scope.swaps(token, leaf.start):
        yield _site("name", leaf, tuple(others))
    if document.language == "python" and f"self.{token}" in document.text:
        edit = Edit(start=leaf.start, end=leaf.end, text=f"self.{token}", how="missing")
        yield Site(kind="missing", start=leaf.start, end=leaf.end, swaps=(edit,))


def _is_variable(name: str) -> bool:
    """Whether it looks like a variable: no class, no constant, nothing special to the language."""
    special = name in ("self", "cls", "this") or name.startswith("__") or is_builtin(name)
    return not special and not name.lstrip("_")[:1].isupper()


def _missing(document: Document, leaf: Leaf, token: str, before: str, scope: _Scope) -> Iterator[Site]:
    """Where a word may have been forgotten: `not` before a question, `await` and `self.` before a call."""
    text = document.text
    if leaf.kind == "identifier" and text[leaf.end : leaf.end + 1] == "(" and before not in _DEFINITIONS:
        callee = _CALLEE.search(text, max(0, leaf.start - 100), leaf.start)
        at = callee.start() if callee is not None else leaf.start
        if token in scope.awaited and not text[:at].rstrip().endswith("await") and scope.is_async(at):
            edit = Edit(start=at, end=at, text="await ", how="missing")
            yield Site(kind="missing", start=at, end=leaf.end, swaps=(edit,))
        if before != "." and (f"def {token}(self" in text or f"self.{token}(" in text):
            edit = Edit(start=leaf.start, end=leaf.end, text=f"self.{token}", how="missing")
            yield Site(kind="missing", start=leaf.start, end=leaf.end, swaps=(edit,))
    if token in ("if", "while", "and", "or") and text[leaf.end : leaf.end + 1] == " ":
        at = leaf.end + 1
        if not text.startswith("not ", at) and text[at : at + 1].isalpha():
            edit = Edit(start=at, end=at, text="not ", how="missing")
            yield Site(kind="missing", start=at, end=at + 1, swaps=(edit,))


def _site(kind: str, leaf: Leaf, texts: tuple[str, ...]) -> Site:
    swaps = tuple(Edit(start=leaf.start, end=leaf.end, text=text, how=kind) for text in texts)
    return Site(kind=kind, start=leaf.start, end=leaf.end, swaps=swaps)
