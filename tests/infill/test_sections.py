"""Long texts, which are parsed in sections: what a request sees must be what one parse of the whole has."""

from __future__ import annotations

import argparse
import random
import tarfile
import threading
import typing
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import infill.code.section
import infill.code.syntax
from infill.code.document import Document
from infill.code.syntax import leaves
from infill.code.utf8 import Utf8Index, encode
from infill.repair.damage import damage

STATEMENTS = {
    "python": (
        "import os\n",
        "# größe 😀\nGRÖSSE_{n} = [\n    {n},\n    'é',\n]\n\n\n",
        "@cache\ndef f_{n}(x):\n    '''中.'''\n    if x:\n        return f'{{x}} 😀'\n    return [{n}]\n\n\n",
        "class A{n}(B):\n    x = {n}\n\n    def f(self):\n        return self.x\n\n\n",
        "if x_{n}:\n    y = 1\nelse:\n    y = 2\n",
        "print(f_{n}(1))\n",
    ),
    "typescript": (
        "import {{ a{n} }} from './a';\n",
        "export function f{n}(x: number): string {{\n  return `${{x}} 😀 {n}`;\n}}\n\n",
        "// größe\nconst größe{n} = {{\n  a: [{n}],\n}};\n",
        "f{n}(1)\n",
        "class A{n} extends B {{\n  x = {n};\n  f() {{ return this.x; }}\n}}\n",
    ),
    "go": (
        'func f{n}(x int) string {{\n\treturn "é" + g(x, {n})\n}}\n\n',
        "type T{n} struct {{\n\ta int\n}}\n",
        "var x{n} = []int{{1, {n}}}\n",
    ),
    "c": (
        "#define A{n} {n}\n",
        "static int f{n}(int x)\n{{\n    return x + {n};\n}}\n\n",
        "struct s{n} {{\n    int a;\n}};\n",
        "#ifdef B{n}\nint b{n};\n#endif\n",
    ),
}
PIECES = [
    "x",
    " ",
    "\n",
    "(",
    ")",
    '"',
    '"""',
    "'",
    "# ",
    "/*",
    "*/",
    "{",
    "}",
    "@d\n",
    "é",
    "😀",
    "    ",
    "x = 1\n",
]


def written(language: str, chars: int = 20_000, seed: int = 0) -> str:
    """A text of at least so many characters."""
    draw, found, length = random.Random(seed), list[str](), 0
    while length < chars:
        found.append(draw.choice(STATEMENTS[language]).format(n=len(found)))
        length += len(found[-1])
    return "".join(found)


def all_leaves(document: Document) -> list[tuple[int, int, str]]:
    """What requests see of it."""
    return [(leaf.start, leaf.end, leaf.kind) for leaf in document.leaves(0, len(document.text))]


def whole_leaves(text: str, language: str) -> tuple[list[tuple[int, int, str]], bool]:
    """The same of one fresh parse of the whole text, and whether that has an error."""
    tree = Document(text, language).tree
    assert tree is not None
    index = Utf8Index(text)
    found = [
        (index.offset(node.start_byte), index.offset(node.end_byte), node.type)
        for node in leaves(tree, 0, len(encode(text)))
    ]
    return found, tree.root_node.has_error


def opened(text: str, language: str) -> Document:
    """A document of several sections."""
    document = Document(text, language)
    next(document.leaves(0, 1))
    assert len(document._sections) > 3
    return document


def check(document: Document) -> None:
    """What can be read at all is read as in one parse; what cannot is not taken for whole."""
    expected, broken = whole_leaves(document.text, document.language)
    if broken:
        assert document.faults()
    else:
        assert all_leaves(document) == expected
        assert document.faults() == []
    assert "".join(section.text for section in document._sections) == document.text


@pytest.mark.parametrize("module", [argparse, tarfile, typing])
def test_real_files_read_as_in_one_parse(module: ModuleType) -> None:
    text = Path(str(module.__file__)).read_text(encoding="utf-8")
    check(opened(text, "python"))


@pytest.mark.parametrize("language", STATEMENTS)
def test_written_files_read_as_in_one_parse(language: str) -> None:
    check(opened(written(language), language))


@pytest.mark.parametrize("language", STATEMENTS)
@settings(max_examples=4, deadline=None)
@given(data=st.data())
def test_edits_read_as_in_one_parse(language: str, data: st.DataObject) -> None:
    """One edit after another, each taken back where it leaves an error: the next has a whole text again."""
    document = opened(written(language), language)
    for _ in range(data.draw(st.integers(1, 3))):
        text = document.text
        start = data.draw(st.integers(0, len(text)))
        end = data.draw(
            st.integers(start, min(len(text), start + data.draw(st.sampled_from([0, 0, 3, 40, 6000]))))
        )
        new = "".join(data.draw(st.lists(st.sampled_from(PIECES), max_size=3)))
        document.edit(start, end, new)
        assert document.text == text[:start] + new + text[end:]
        check(document)
        if document.faults():
            document.edit(start, start + len(new), text[start:end])
            check(document)


@pytest.mark.parametrize("typed", ["@cache\n", "if x:\n    pass\nel", "async ", "x = (\n", "\\\n"])
def test_what_is_typed_between_two_sections_concerns_both(typed: str) -> None:
    document = opened(written("python"), "python")
    for start in document._starts[1:]:
        fresh = document.snapshot()
        fresh.edit(start, start, typed)
        check(fresh)
    for start in document._starts[1:4]:
        fresh = document.snapshot()
        fresh.edit(start - 1, start, typed)
        check(fresh)


class Parses:
    """Counts what is parsed."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.bytes = 0
        self.olds: list[object] = []
        monkeypatch.setattr(infill.code.section, "parse", self)

    def __call__(self, *args: Any) -> Any:
        self.bytes += len(args[1])
        self.olds.append(args[2])
        return infill.code.syntax.parse(*args)


def test_a_keystroke_in_a_long_file_parses_its_section_only(monkeypatch: pytest.MonkeyPatch) -> None:
    document = opened(written("python", 700_000), "python")
    assert document.text.count("\n") > 20_000
    draw = random.Random(1)
    for _ in range(20):
        at = draw.randrange(len(document.text))
        parses = Parses(monkeypatch)
        document.edit(at, at, " ")
        next(document.leaves(at, at + 1), None)
        assert 0 < parses.bytes < 30_000
        again = Parses(monkeypatch)
        document.edit(at, at, " ")  # the next one begins with its tree
        next(document.leaves(at, at + 1), None)
        assert 0 < again.bytes < 30_000
        assert None not in again.olds


def test_typing_in_one_place_keeps_its_section(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where it grows until it is cut: the part with the cursor need not be joined with another again."""
    document = opened(written("python", 100_000), "python")
    at = document._starts[4]
    parses, fresh = Parses(monkeypatch), 0
    for n in range(800):
        new = f"value_{n} = {n}\n"
        document.edit(at, at, new)
        at += len(new)
        next(document.leaves(at, at + 1))
        fresh += parses.olds[-1] is None
    assert fresh < 12
    assert max(len(section.text) for section in document._sections) < 20_000
    check(document)


def test_a_fault_is_its_sections() -> None:
    document = opened(written("python", 40_000), "python")
    at = document.text.index("def f_", 12_000)
    before = all_leaves(document)
    document.edit(at, at, "(")
    [start] = {document._within(fault.start, fault.start)[0][0] for fault in document.faults()}
    elsewhere = [leaf for leaf in before if leaf[1] <= start]
    assert all_leaves(document)[: len(elsewhere)] == elsewhere
    # So what is filled somewhere else is judged by itself.
    other = document.text.index("class A", 30_000)
    assert damage(document, other, other, "x = 1\n\n\n") == 0
    assert damage(document, other, other, "x = (\n\n\n") > 0


def test_a_text_that_is_edited_while_a_snapshot_is_parsed_takes_over_its_sections() -> None:
    document = Document(written("python", 40_000), "python")
    snapshot = document.snapshot()
    document.edit(9000, 9000, "\nx = 1\n")
    thread = threading.Thread(target=lambda: next(snapshot.leaves(0, 1)))
    thread.start()
    thread.join()
    document.edit(20_000, 20_010, "y")
    assert len(document._sections) > 3
    check(document)
    check(snapshot)


def test_a_whole_new_text() -> None:
    document = opened(written("python", 40_000), "python")
    document.set_text(document.text.replace("return self.x", "return self.y"))
    check(document)
    document.set_text("x = 1\n")
    check(document)
    document.set_text(written("python", seed=3))
    next(document.leaves(0, 1))
    check(document)


def test_everything_can_be_deleted() -> None:
    document = opened(written("python", 40_000), "python")
    document.edit(0, len(document.text), "")
    assert document.text == ""
    assert all_leaves(document) == []
    document.edit(0, 0, "x")
    check(document)


def test_what_encloses_a_place() -> None:
    text = written("python", 40_000)
    document, at = opened(text, "python"), text.index("return self.x", 15_000)
    lone = Document(text, "python")
    assert lone._sections[0].enclosing(at, at + 3) == document.enclosing(at, at + 3)
    assert [span.kind for span in document.enclosing(100, len(text))] == ["module"]
