"""Finds what a file imports, as it is written; where that lies is `infill.workspace.resolve`'s business."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from tree_sitter import Node, Tree

MOST_IMPORTS = 500
"""Of one file."""

_WRAPPERS = {
    "if_statement",
    "else_clause",
    "try_statement",
    "except_clause",
    "block",
    "import_declaration",
    "import_spec_list",
    "preproc_ifdef",
    "preproc_if",
    "lexical_declaration",
    "linkage_specification",
    "declaration_list",
}
_DEEPEST = 4
_REQUIRE = re.compile(r"""^\s*require\(\s*(['"])([^'"\n]+)\1\s*\)""")


@dataclass(frozen=True, slots=True)
class Import:
    """`name` of `module`, called `alias` here.

    `name` is "" where the module itself is imported, and "*" for everything it has, which has no alias.
    Rust's and Java's modules are written with slashes in place of their separators.
    """

    module: str
    name: str
    alias: str


def imports(tree: Tree, source: bytes, language: str) -> tuple[Import, ...]:
    """What a file imports at its top, in order; nothing for a language whose imports are not known."""
    read = _READERS.get(language)
    if read is None:
        return ()
    found: list[Import] = []
    for node in _statements(tree.root_node, 0):
        found += read(node, source)
        if len(found) >= MOST_IMPORTS:
            break
    return tuple(dict.fromkeys(found))


def _statements(parent: Node, depth: int) -> Iterator[Node]:
    """What stands at the top, also under a condition."""
    for node in parent.named_children:
        yield node
        if node.type in _WRAPPERS and depth < _DEEPEST:
            yield from _statements(node, depth + 1)


def _text(node: Node | None, source: bytes) -> str:
    return "" if node is None else source[node.start_byte : node.end_byte].decode("utf-8", "replace")


def _python(node: Node, source: bytes) -> list[Import]:
    names = node.children_by_field_name("name")
    if node.type == "import_statement":
        return [Import(_named(n, source)[0], "", _named(n, source)[1]) for n in names]
    if node.type != "import_from_statement":
        return []
    module = _text(node.child_by_field_name("module_name"), source).replace(" ", "")
    if any(child.type == "wildcard_import" for child in node.named_children):
        return [Import(module, "*", "")]
    return [Import(module, *_named(n, source)) for n in names]


def _named(node: Node, source: bytes) -> tuple[str, str]:
    """(name, alias) of one thing in a list of imports."""
    name = _text(node.child_by_field_name("name") or node, source)
    return name, _text(node.child_by_field_name("alias"), source) or name


def _javascript(node: Node, source: bytes) -> list[Import]:
    if node.type == "variable_declarator":
        return _required(node, source)
    module = _text(node.child_by_field_name("source"), source).strip("'\"`")
    if not module or node.type not in ("import_statement", "export_statement"):
        return []
    found = []
    for clause in node.named_children:
        for part in [clause, *clause.named_children] if clause.type == "import_clause" else [clause]:
            if part.type == "identifier":
                found.append(Import(module, "default", _text(part, source)))
            elif part.type == "namespace_import":
                found.append(Import(module, "", _text(part.named_children[0], source)))
            elif part.type in ("named_imports", "export_clause"):
                found += [Import(module, *_named(spec, source)) for spec in part.named_children]
    if node.type == "export_statement" and not found:
        found.append(Import(module, "*", ""))
    return found


def _required(node: Node, source: bytes) -> list[Import]:
    """`const name = require("module")`, and the same with `{ some, names }`."""
    match = _REQUIRE.match(_text(node.child_by_field_name("value"), source))
    name = node.child_by_field_name("name")
    if match is None or name is None:
        return []
    if name.type == "identifier":
        return [Import(match[2], "", _text(name, source))]
    names = [
        _text(n, source) for n in name.named_children if n.type == "shorthand_property_identifier_pattern"
    ]
    return [Import(match[2], n, n) for n in names]


def _go(node: Node, source: bytes) -> list[Import]:
    if node.type != "import_spec":
        return []
    module = _text(node.child_by_field_name("path"), source).strip('"`')
    alias = _text(node.child_by_field_name("name"), source)
    if alias == ".":
        return [Import(module, "*", "")]
    return [Import(module, "", alias or module.rsplit("/", 1)[-1])]


def _rust(node: Node, source: bytes) -> list[Import]:
    if node.type == "mod_item" and node.child_by_field_name("body") is None:
        name = _text(node.child_by_field_name("name"), source)
        return [Import(f"self/{name}", "", name)]
    tree = node.child_by_field_name("argument") if node.type == "use_declaration" else None
    return list(_used(tree, "", source)) if tree is not None else []


def _used(node: Node, above: str, source: bytes) -> Iterator[Import]:
    """The leaves of a tree of `use`; `above` is the path to it."""
    path = _slashed(above, _text(node.child_by_field_name("path"), source))
    if node.type == "scoped_use_list" or node.type == "use_list":
        inner = node.child_by_field_name("list") or node
        for child in inner.named_children:
            yield from _used(child, path, source)
    elif node.type == "use_wildcard":
        yield Import(_slashed(above, _text(node, source).removesuffix("::*")), "*", "")
    else:
        aliased = node.child_by_field_name("alias") is not None
        whole = _slashed(above, _text(node.child_by_field_name("path") if aliased else node, source))
        module, _, name = whole.rpartition("/")
        if name == "self":
            module, _, name = module.rpartition("/")
        yield Import(module, name, _text(node.child_by_field_name("alias"), source) or name)


def _slashed(*parts: str) -> str:
    return "/".join(part.replace("::", "/").strip() for part in parts if part)


def _java(node: Node, source: bytes) -> list[Import]:
    if node.type != "import_declaration":
        return []
    words = _text(node, source).removeprefix("import").strip(" ;\t\n").split()
    module, _, name = words[-1].replace(".", "/").rpartition("/")
    if words[0] == "static":  # of a type, which is what there is to be seen
        module, _, name = module.rpartition("/")
    return [Import(module, "*", "") if name == "*" else Import(module, name, name)]


def _c(node: Node, source: bytes) -> list[Import]:
    if node.type != "preproc_include":
        return []
    return [Import(_text(node.child_by_field_name("path"), source).strip('"<> '), "*", "")]


_READERS: dict[str, Callable[[Node, bytes], list[Import]]] = {
    "python": _python,
    "javascript": _javascript,
    "javascriptreact": _javascript,
    "typescript": _javascript,
    "typescriptreact": _javascript,
    "go": _go,
    "rust": _rust,
    "java": _java,
    "c": _c,
    "cpp": _c,
}
