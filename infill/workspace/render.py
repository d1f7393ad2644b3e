"""Definitions as code to be shown: signatures, a type's members one below the other, no bodies."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from infill.workspace.definitions import Definition
from infill.workspace.shapes import Kind

LONGEST_CHARS = 700
"""Of a type with its members, where there is room for it."""

_MOST_MEMBERS = 24
_FIRST = ("__init__", "constructor", "new")  # members that tell how the type is made


def render(
    definition: Definition,
    members: Sequence[Definition],
    language: str,
    used: Collection[str],
    most_chars: int = LONGEST_CHARS,
) -> str:
    """One definition as code, with as many members as make `most_chars`, those named in `used` first."""
    chosen = _chosen(members, used, most_chars - len(definition.signature))
    if language == "python":
        return _python(definition, chosen)
    code = definition.signature if definition.kind is not Kind.FUNCTION else _declared(definition.signature)
    if not chosen or definition.kind is not Kind.TYPE:
        return f"// {definition.doc}\n{code}" if definition.doc else code
    inner = ["    " + _declared(m.signature).replace("\n", "\n    ") for m in chosen]
    code = "\n".join([f"{code} {{", *inner, "}"])
    return f"// {definition.doc}\n{code}" if definition.doc else code


def _python(definition: Definition, members: Sequence[Definition]) -> str:
    code = definition.signature
    if definition.kind is Kind.VALUE:
        return code
    if not members:
        return _with_doc(definition, "    ...")
    inner = []
    for member in members:
        text = member.signature + (" ..." if member.kind is not Kind.VALUE else "")
        inner.append("    " + text.replace("\n", "\n    "))
    return _with_doc(definition, "\n".join(inner))


def _with_doc(definition: Definition, body: str) -> str:
    doc = definition.doc.replace("\\", "\\\\").replace('"""', "'''")
    lines = [definition.signature, f'    """{doc}"""', body] if doc else [definition.signature, body]
    if doc and body.strip() == "...":
        lines.pop()
    return "\n".join(lines)


def _declared(signature: str) -> str:
    """A signature as a declaration, which ends where its body would begin."""
    return signature if signature.endswith((";", "}", ",")) or signature.startswith("#") else signature + ";"


def _chosen(members: Sequence[Definition], used: Collection[str], room: int) -> list[Definition]:
    """The members there is room for, in their own order."""

    def rank(member: Definition) -> tuple[bool, bool, bool, int]:
        private = member.name.startswith(("_", "#")) and member.name not in _FIRST
        return member.name not in used, member.name not in _FIRST, private, member.line

    chosen: list[Definition] = []
    for member in sorted(members, key=rank)[:_MOST_MEMBERS]:
        room -= len(member.signature) + 10
        if room < 0:
            break
        chosen.append(member)
    return sorted(chosen, key=lambda member: member.line)
