"""What a definition looks like in each grammar: data for `infill.workspace.definitions`, no code.

Node and field names are the grammars' own. A language without an entry has no definitions.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Kind(Enum):
    """What a definition defines."""

    FUNCTION = "function"
    TYPE = "type"  # shown with its members, if it has any of its own
    VALUE = "value"


@dataclass(frozen=True, kw_only=True)
class Shape:
    """One node type that defines something.

    `name` is the field that holds the name, or leads to it through nodes that have the same field.
    The signature ends where the field `body` begins; "" shows the node whole. `members` is the field whose
    children are definitions within this one.
    """

    kind: Kind
    name: str = "name"
    body: str = "body"
    members: str = ""


@dataclass(frozen=True, kw_only=True)
class Shapes:
    """A grammar's definitions by node type.

    `wrappers` are nodes that hold definitions and say nothing themselves; `leads` are wrappers that belong to
    the one definition they hold, such as its decorators. `owners` name a type
    that is defined elsewhere, by the field given, and hold members of it. `prefixed` are definitions
    that lack their keyword, which is the first word of the node around them.
    """

    definitions: dict[str, Shape]
    wrappers: frozenset[str] = frozenset()
    leads: frozenset[str] = frozenset()
    owners: dict[str, str] | None = None
    prefixed: frozenset[str] = frozenset()


_FUNCTION = Shape(kind=Kind.FUNCTION)
_CLASS = Shape(kind=Kind.TYPE, members="body")
_WHOLE = Shape(kind=Kind.TYPE, body="")
_VALUE = Shape(kind=Kind.VALUE, body="")

_PYTHON = Shapes(
    definitions={
        "function_definition": _FUNCTION,
        "class_definition": _CLASS,
        "assignment": Shape(kind=Kind.VALUE, name="left", body=""),
        "type_alias_statement": Shape(kind=Kind.TYPE, name="left", body=""),
    },
    wrappers=frozenset(
        {
            "expression_statement",
            "if_statement",
            "else_clause",
            "try_statement",
            "except_clause",
            "block",
        }
    ),
    leads=frozenset({"decorated_definition"}),
)

_JAVASCRIPT = Shapes(
    definitions={
        "function_declaration": _FUNCTION,
        "generator_function_declaration": _FUNCTION,
        "class_declaration": _CLASS,
        "method_definition": _FUNCTION,
        "field_definition": Shape(kind=Kind.VALUE, name="property", body=""),
        "variable_declarator": _VALUE,
    },
    wrappers=frozenset({"lexical_declaration", "variable_declaration"}),
    leads=frozenset({"export_statement"}),
    prefixed=frozenset({"variable_declarator"}),
)

_TYPESCRIPT = Shapes(
    definitions={
        **_JAVASCRIPT.definitions,
        "abstract_class_declaration": _CLASS,
        "interface_declaration": _WHOLE,
        "type_alias_declaration": _WHOLE,
        "enum_declaration": _WHOLE,
        "function_signature": _FUNCTION,
        "abstract_method_signature": _FUNCTION,
        "public_field_definition": _VALUE,
    },
    wrappers=_JAVASCRIPT.wrappers | {"internal_module", "module", "statement_block", "expression_statement"},
    leads=_JAVASCRIPT.leads | {"ambient_declaration"},
    prefixed=_JAVASCRIPT.prefixed,
)

_GO = Shapes(
    definitions={
        "function_declaration": _FUNCTION,
        "method_declaration": _FUNCTION,
        "type_spec": _WHOLE,
        "type_alias": _WHOLE,
        "const_spec": _VALUE,
        "var_spec": _VALUE,
    },
    wrappers=frozenset({"type_declaration", "const_declaration", "var_declaration", "var_spec_list"}),
    prefixed=frozenset({"type_spec", "type_alias", "const_spec", "var_spec"}),
)

_RUST = Shapes(
    definitions={
        "function_item": _FUNCTION,
        "function_signature_item": _FUNCTION,
        "struct_item": _WHOLE,
        "enum_item": _WHOLE,
        "union_item": _WHOLE,
        "type_item": _WHOLE,
        "trait_item": _CLASS,
        "const_item": _VALUE,
        "static_item": _VALUE,
        "macro_definition": Shape(kind=Kind.FUNCTION, body=""),
    },
    wrappers=frozenset({"mod_item", "declaration_list", "foreign_mod_item"}),
    owners={"impl_item": "type"},
)

_JAVA = Shapes(
    definitions={
        "class_declaration": _CLASS,
        "interface_declaration": _CLASS,
        "record_declaration": _CLASS,
        "enum_declaration": _WHOLE,
        "annotation_type_declaration": _WHOLE,
        "method_declaration": _FUNCTION,
        "constructor_declaration": _FUNCTION,
        "field_declaration": Shape(kind=Kind.VALUE, name="declarator", body=""),
    },
)

_C = Shapes(
    definitions={
        "function_definition": Shape(kind=Kind.FUNCTION, name="declarator"),
        "declaration": Shape(kind=Kind.FUNCTION, name="declarator", body=""),
        "type_definition": Shape(kind=Kind.TYPE, name="declarator", body=""),
        "struct_specifier": _WHOLE,
        "union_specifier": _WHOLE,
        "enum_specifier": _WHOLE,
        "preproc_def": _VALUE,
        "preproc_function_def": Shape(kind=Kind.FUNCTION, body=""),
    },
    wrappers=frozenset(
        {"preproc_ifdef", "preproc_if", "preproc_else", "preproc_elif", "linkage_specification"}
        | {"declaration_list"}
    ),
)

_CPP = Shapes(
    definitions={
        **_C.definitions,
        "class_specifier": _CLASS,
        "struct_specifier": _CLASS,
        "alias_declaration": _WHOLE,
        "field_declaration": Shape(kind=Kind.VALUE, name="declarator", body=""),
    },
    wrappers=_C.wrappers | {"namespace_definition"},
    leads=frozenset({"template_declaration"}),
)

SHAPES = {
    "python": _PYTHON,
    "javascript": _JAVASCRIPT,
    "javascriptreact": _JAVASCRIPT,
    "typescript": _TYPESCRIPT,
    "typescriptreact": _TYPESCRIPT,
    "go": _GO,
    "rust": _RUST,
    "java": _JAVA,
    "c": _C,
    "cpp": _CPP,
}
"""By LSP language id."""
