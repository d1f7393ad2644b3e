"""tree-sitter behind a few functions: load a grammar, parse bytes, walk leaves, find faults.

It speaks UTF-8 bytes, as tree-sitter does; code points are `infill.code.document`'s business.
"""

from __future__ import annotations

import importlib
import time
from collections.abc import Iterator
from functools import cache

from tree_sitter import Language as Grammar
from tree_sitter import Node, Parser, Tree

from infill.code.languages import LANGUAGES

_CHUNK_BYTES = 16_384


@cache
def grammar(language: str) -> Grammar | None:
    """The grammar of an LSP language id, loaded on first use; None where there is none."""
    entry = LANGUAGES.get(language)
    if entry is None:
        return None
    module = importlib.import_module(entry.module)
    return Grammar(getattr(module, entry.function)())


def parse(grammar: Grammar, source: bytes, old: Tree | None, budget_s: float) -> Tree | None:
    """Parse `source`, reusing `old` (already edited to fit it); None if it takes longer than `budget_s`.

    A hostile text, a megabyte of opening brackets say, can keep error recovery busy for long; a plain
    text answer in time is worth more. The budget is of processor time: a busy machine is no reason to do
    without a tree.
    """
    deadline = time.thread_time() + budget_s

    def read(at: int, _point: object) -> bytes:
        return source[at : at + _CHUNK_BYTES]

    def late(_at: int, _has_error: bool) -> bool:
        return time.thread_time() > deadline

    try:
        if old is None:
            return Parser(grammar).parse(read, progress_callback=late)
        return Parser(grammar).parse(read, old, progress_callback=late)
    except ValueError:  # what the binding raises for a parse that was called off
        return None


def leaves(tree: Tree, start_byte: int, end_byte: int) -> Iterator[Node]:
    """The leaves that overlap a range of bytes, in order; those of no width are left out."""
    cursor = tree.walk()
    while True:
        while cursor.goto_first_child_for_byte(start_byte) is not None:
            pass
        node = cursor.node
        if node is None or node.start_byte >= end_byte:
            return
        if node.child_count == 0 and node.end_byte > max(start_byte, node.start_byte):
            yield node
        while not cursor.goto_next_sibling():
            if not cursor.goto_parent():
                return


def faults(tree: Tree) -> list[Node]:
    """The ERROR and MISSING nodes in order, those within another left out.

    What a grammar hides (a line's end, say) is not among a node's children when it is missing: then the
    node itself stands for it.
    """
    found: list[Node] = []
    pending = [tree.root_node]
    while pending:
        node = pending.pop()
        if node.is_error or node.is_missing:
            found.append(node)
        elif node.has_error:
            faulty = [child for child in node.children if child.has_error or child.is_missing]
            pending.extend(reversed(faulty))
            found += [] if faulty else [node]
    return found


def around(tree: Tree, start_byte: int, end_byte: int) -> Iterator[Node]:
    """The named nodes that contain a range of bytes, the smallest first."""
    node = tree.root_node.named_descendant_for_byte_range(start_byte, end_byte)
    while node is not None:
        yield node
        node = node.parent
