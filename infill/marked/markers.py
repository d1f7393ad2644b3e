"""Holes a user has left in code: bodies of `...`, the name `___`, and comments that say `fill`.

Found by their text and confirmed by syntax, so that the same characters within a string are none. In a
language without a grammar only `___` is known. It does not look at what a model could put there.

| marker | where | what becomes of it |
|---|---|---|
| `...` | the whole body of a function, class or block | replaced |
| `___` | a name or an expression | replaced |
| `todo!()`, `unimplemented!()` | Rust | replaced |
| `# fill`, `// TODO: fill in` | a comment that says no more | replaced |
| `# TODO: fill in the totals`, `# fill: the totals` | a comment that says with what | kept, code goes below |
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from tree_sitter import Node

from infill.code.document import Document, Leaf
from infill.code.indentation import indent_of
from infill.code.lines import line_start, newline_of

_CANDIDATE = re.compile(r"(?<!\w)___(?!\w)|(?<!\.)\.\.\.(?!\.)|\b(?:todo|unimplemented)!\(\)|\bfill\b", re.I)
_PLAIN = re.compile(
    r"(?:#|//|/\*)\s*(?:(?:TODO|FIXME):?\s*)?fill(?:\s+(?:in|me|this|here))*[\s.:]*(?:\*/)?", re.IGNORECASE
)
_DESCRIBED = re.compile(r"(?:#|//)\s*(?:(?:TODO|FIXME):?\s*fill\b|fill:).*\S.*", re.IGNORECASE)
_STUB_DECORATORS = ("overload", "abstractmethod")
_STUB_BASE = re.compile(r"(?:(?:t|te|typing|typing_extensions)\.)?Protocol")
"""What tells a Python body of `...` that is meant to stay; `asyncio.Protocol` does not."""
_NAMED_BASE = re.compile(r"[\w.]*(?:Error|Exception|Warning)")
"""Of such classes a name is often all there is to say."""


@dataclass(frozen=True, kw_only=True)
class Marker:
    """A hole at the code points `start` to `end`, which go; `lead` comes before what fills it."""

    start: int
    end: int
    lead: str = ""


def find_markers(
    document: Document, start: int = 0, end: int | None = None, *, stubs: bool = False
) -> list[Marker]:
    """The markers that overlap `start` to `end`, or begin or end there, in order.

    In a file of `stubs`, such as a `.pyi`, every body of `...` is meant to stay.
    """
    text = document.text
    stop = len(text) if end is None else end
    first, last = line_start(text, start), text.find("\n", stop)
    within = _CANDIDATE.finditer(text, first, len(text) if last < 0 else last)
    if stubs:
        within = (found for found in within if found[0] != "...")
    found = {m.start: m for m in _confirmed(document, within)}
    return [m for _, m in sorted(found.items()) if m.start <= stop and m.end >= start]


def _confirmed(document: Document, candidates: Iterator[re.Match[str]]) -> Iterator[Marker]:
    for found in candidates:
        leaf = next(document.leaves(found.start(), found.start() + 1), None)
        if leaf is None:
            if found[0] == "___":
                yield Marker(start=found.start(), end=found.end())
            continue
        for recognise in _RECOGNISERS:
            if (marker := recognise(document, found, leaf)) is not None:
                yield marker
                break


def _name(document: Document, found: re.Match[str], leaf: Leaf) -> Marker | None:
    if found[0] != "___" or "identifier" not in leaf.kind:
        return None
    return Marker(start=leaf.start, end=leaf.end) if leaf.end - leaf.start == 3 else None


def _body(document: Document, found: re.Match[str], leaf: Leaf) -> Marker | None:
    if found[0] != "..." or "comment" in leaf.kind or "string" in leaf.kind:
        return None
    marker = Marker(start=found.start(), end=found.end())
    if document.language == "python":
        return marker if _is_python_body(leaf.node) else None
    before = document.text[: found.start()].rstrip()[-1:]
    after = document.text[found.end() : found.end() + 1000].lstrip()[:1]
    return marker if (before, after) == ("{", "}") else None


def _is_python_body(node: Node) -> bool:
    """Whether an ellipsis is all there is in a body, docstring and comments aside, and no stub's."""
    statement = node.parent
    block = statement.parent if statement is not None else None
    if statement is None or statement.type != "expression_statement" or block is None:
        return False
    if block.type != "block" or block.parent is None:
        return False
    others = [n for n in block.named_children if n.type != "comment" and n != statement]
    if len(others) > 1 or not all(_is_docstring(n) for n in others):
        return False
    return not _is_stub(block.parent)


def _is_docstring(statement: Node) -> bool:
    inner = statement.named_children
    return statement.type == "expression_statement" and len(inner) == 1 and inner[0].type == "string"


def _is_stub(definition: Node) -> bool:
    """Whether a definition says of itself, or its class of it, that it has no body."""
    if any(_NAMED_BASE.fullmatch(base) for base in _bases(definition)):
        return True
    node: Node | None = definition
    while node is not None:
        decorators = [_name_of(n).rpartition(".")[2] for n in node.children if n.type == "decorator"]
        if any(_STUB_BASE.fullmatch(base) for base in _bases(node)) or any(
            name in _STUB_DECORATORS for name in decorators
        ):
            return True
        node = node.parent
    return False


def _bases(definition: Node) -> list[str]:
    """The names of a class's bases."""
    lists = [n for n in definition.children if n.type == "argument_list"]
    return [_name_of(base) for n in lists for base in n.named_children]


def _name_of(node: Node) -> str:
    """`b.c` of `@b.c`, `b.c(x)` and `b.c[T]`."""
    text = (node.text or b"").decode("utf-8", "replace")
    return re.split(r"[(\[]", text, maxsplit=1)[0].strip("@ \t")


def _macro(document: Document, found: re.Match[str], leaf: Leaf) -> Marker | None:
    if document.language != "rust" or "!" not in found[0] or leaf.parent != "macro_invocation":
        return None
    return Marker(start=found.start(), end=found.end())


def _comment(document: Document, found: re.Match[str], leaf: Leaf) -> Marker | None:
    if found[0].lower() != "fill" or "comment" not in leaf.kind:
        return None
    text = document.text[leaf.start : leaf.end].rstrip()
    end = leaf.start + len(text)
    if _PLAIN.fullmatch(text):
        return Marker(start=leaf.start, end=end)
    if _DESCRIBED.fullmatch(text):
        indent = indent_of(document.text, line_start(document.text, leaf.start))
        return Marker(start=end, end=end, lead=newline_of(document.text, leaf.start) + indent)
    return None


_RECOGNISERS: tuple[Callable[[Document, re.Match[str], Leaf], Marker | None], ...] = (
    _name,
    _body,
    _macro,
    _comment,
)
