"""Finds what a file defines: names with their signatures and the first line of their documentation.

It walks what stands at the top of a file and within its types, never into a function. It knows nothing
of other files.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from textwrap import dedent

from tree_sitter import Node, Tree

from infill.workspace.shapes import SHAPES, Kind, Shape, Shapes

MOST_DEFINITIONS = 4000
"""Of one file; what defines more is generated."""

_LONGEST_CHARS = 600  # of a signature, or of a definition that is shown whole
_MOST_LINES = 16
_LONGEST_DOC_CHARS = 120
_DEEPEST = 6  # of types within types and of what is wrapped around them
_NAME = re.compile(r"[^\W\d]\w*")
_IDENTIFIERS = frozenset(
    {
        "identifier",
        "type_identifier",
        "field_identifier",
        "property_identifier",
        "private_property_identifier",
    }
)
_COMMENT_MARKS = re.compile(r"^\s*(?:///?!?|/\*+!?|\*+/?|#+)\s?|\*/\s*$")


@dataclass(frozen=True, slots=True)
class Definition:
    """A name and what is said of it; `container` is the type it belongs to, "" for none.

    `signature` is code without the body, its own indentation taken away. `line` counts from 0.
    """

    name: str
    container: str
    kind: Kind
    signature: str
    doc: str
    line: int


def definitions(tree: Tree, source: bytes, language: str) -> tuple[Definition, ...]:
    """What a file defines, in order; nothing for a language without shapes."""
    shapes = SHAPES.get(language)
    if shapes is None:
        return ()
    found: list[Definition] = []
    for definition in _Walk(shapes, source).within(tree.root_node, "", 0):
        found.append(definition)
        if len(found) == MOST_DEFINITIONS:
            break
    return tuple(found)


class _Walk:
    """One file's walk."""

    def __init__(self, shapes: Shapes, source: bytes) -> None:
        self._shapes = shapes
        self._source = source

    def within(
        self, parent: Node, container: str, depth: int, outer: Node | None = None
    ) -> Iterator[Definition]:
        """The definitions among a node's children; `outer` is the wrapper that begins where they do."""
        if depth > _DEEPEST:
            return
        for node in parent.named_children:
            shape = self._shapes.definitions.get(node.type)
            if shape is not None:
                yield from self._defined(node, shape, container, depth, outer or node)
            elif node.type in self._shapes.leads:
                yield from self.within(node, container, depth + 1, outer or node)
            elif node.type in self._shapes.wrappers:
                yield from self.within(node, container, depth + 1)
            elif self._shapes.owners and (field := self._shapes.owners.get(node.type)):
                owner, body = node.child_by_field_name(field), node.child_by_field_name("body")
                if owner is not None and body is not None:
                    yield from self.within(body, _first_name(self._text(owner)), depth + 1)

    def _defined(
        self, node: Node, shape: Shape, container: str, depth: int, outer: Node
    ) -> Iterator[Definition]:
        name = self._name(node, shape.name)
        if name is None:
            return
        # The value of a constant may be a function, which has a body.
        body = node.child_by_field_name(shape.body or "value")
        if not shape.body and (body is None or not _is_function(body)):
            body = None
        yield Definition(
            name=name,
            container=container or self._receiver(node),
            kind=Kind.FUNCTION if body is not None and _is_function(body) else shape.kind,
            signature=self._signature(node, shape.kind, body, outer),
            doc=self._doc(node, outer),
            line=outer.start_point.row,
        )
        members = node.child_by_field_name(shape.members) if shape.members else None
        if members is not None:
            yield from self.within(members, name, depth + 1)

    def _name(self, node: Node, field: str) -> str | None:
        """The identifier a field leads to."""
        found = node.child_by_field_name(field)
        while found is not None and found.type not in _IDENTIFIERS:
            found = found.child_by_field_name("declarator") or found.child_by_field_name("name")
        return self._text(found) if found is not None else None

    def _receiver(self, node: Node) -> str:
        """The type a Go method belongs to."""
        receiver = node.child_by_field_name("receiver")
        return _last_name(self._text(receiver).partition("[")[0]) if receiver is not None else ""

    def _signature(self, node: Node, kind: Kind, body: Node | None, outer: Node) -> str:
        begin, end = outer.start_byte, node.end_byte
        if body is not None and _is_function(body):  # const f = (x) => …
            inner = body.child_by_field_name("body")
            end = inner.start_byte if inner is not None else end
        elif body is not None:
            end = body.start_byte
        keyword = ""
        if node.type in self._shapes.prefixed:
            begin = node.start_byte
            keyword = self._text(node.parent).split(None, 1)[0] + " " if node.parent is not None else ""
        text = self._source[begin : min(end, begin + 8 * _LONGEST_CHARS)].decode("utf-8", "replace")
        text = dedent(" " * node.start_point.column + text).strip() if not keyword else keyword + text
        if body is not None:
            return _clipped(text.rstrip("{ \n").removesuffix("=>").rstrip())
        return _clipped(text) if kind is not Kind.VALUE else _on_one_line(text)

    def _doc(self, node: Node, outer: Node) -> str:
        body = node.child_by_field_name("body")
        first = body.named_children[0] if body is not None and body.named_child_count else None
        if first is not None and first.type == "expression_statement" and first.named_child_count:
            first = first.named_children[0]
        if first is not None and first.type == "string":  # a docstring
            return _first_line(self._text(first).lstrip("rRuUbB").strip("\"' \n"))
        if node.type in self._shapes.prefixed and node.parent is not None:
            around = node.parent.parent
            outer = around if around is not None and around.type in self._shapes.leads else node.parent
        before, comments = outer.prev_named_sibling, []
        row = outer.start_point.row
        while before is not None and before.end_point.row >= row - 1:
            if "comment" in before.type:
                comments.append(self._text(before))
            elif before.type != "attribute_item":
                break
            row, before = before.start_point.row, before.prev_named_sibling
        lines = "\n".join(reversed(comments)).splitlines()
        return _first_line("\n".join(_COMMENT_MARKS.sub("", line) for line in lines))

    def _text(self, node: Node) -> str:
        return self._source[node.start_byte : node.end_byte].decode("utf-8", "replace")


def _is_function(node: Node) -> bool:
    return node.type in ("arrow_function", "function_expression", "generator_function")


def _first_line(text: str) -> str:
    line = next((line.strip() for line in text.splitlines() if line.strip()), "")
    return line if len(line) <= _LONGEST_DOC_CHARS else line[:_LONGEST_DOC_CHARS].rsplit(" ", 1)[0] + " …"


def _first_name(text: str) -> str:
    found = _NAME.search(text)
    return found[0] if found else ""


def _last_name(text: str) -> str:
    return next(iter(reversed(_NAME.findall(text))), "")


def _on_one_line(text: str) -> str:
    first, more, _ = text.partition("\n")
    cut = first[: 2 * _LONGEST_DOC_CHARS].rstrip()
    return f"{cut} ..." if more or len(cut) < len(first.rstrip()) else cut


def _clipped(text: str) -> str:
    """The whole lines of `text` that are not too much."""
    lines = text.split("\n")
    kept = lines[:_MOST_LINES]
    while len(kept) > 1 and sum(map(len, kept)) + len(kept) > _LONGEST_CHARS:
        kept.pop()
    return "\n".join(kept)[:_LONGEST_CHARS]
