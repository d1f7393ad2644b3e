"""The incrementally kept tree equals a fresh parse, and bytes, rows and code points agree."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tree_sitter import Node, Tree

import infill.code.section
import infill.code.syntax
import infill.code.utf8
from infill.code.document import Document
from infill.code.languages import LANGUAGES, PLAIN, language_of
from infill.code.syntax import grammar
from infill.code.utf8 import Utf8Index, encode

AWKWARD = [
    "a",
    "é",
    "中",
    "😀",
    "\n",
    "\r\n",
    "\r",
    "\f",
    "\u2028",
    "\x85",
    "\t",
    " ",
    '"',
    "(",
    ")",
    "\ud83d",
    "#",
]
CODE = [
    "def f(x):\n",
    "    return x\n",
    "class A:\n",
    "x = 1\n",
    "if x:\n",
    "'''",
    '"é"',
    "f(1)",
    "# 中😀\n",
    *AWKWARD,
]

BASE = "".join(f"def größe_{n}(x):\n    y = f'{{x}} 😀' + '中'\n    return [y, {n}]\n\n" for n in range(12))


def shape(node: Node) -> object:
    """A tree as comparable data, with bytes and points."""
    return (
        node.type,
        node.start_byte,
        node.end_byte,
        tuple(node.start_point),
        tuple(node.end_point),
        node.is_missing,
        [shape(child) for child in node.children],
    )


def assert_fresh(document: Document) -> None:
    """The tree is the one a new document would have."""
    fresh = tree_of(Document(document.text, document.language))
    assert shape(tree_of(document).root_node) == shape(fresh.root_node)


def tree_of(document: Document) -> Tree:
    tree = document.tree
    assert tree is not None
    return tree


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_incremental_parse_equals_a_fresh_one(data: st.DataObject) -> None:
    """After edits to a text long enough for most of its tree to be used again."""
    document = Document(BASE, "python")
    tree_of(document)
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.integers(0, len(document.text)))
        end = data.draw(st.integers(start, min(len(document.text), start + 20)))
        new = "".join(data.draw(st.lists(st.sampled_from(CODE), max_size=4)))
        expected = document.text[:start] + new + document.text[end:]
        document.edit(start, end, new)
        assert document.text == expected
        if data.draw(st.booleans()):  # several edits between two parses must work as well
            assert_fresh(document)
    assert_fresh(document)


@pytest.mark.parametrize("new", ["x = 1\n", "é = '😀'\n\n", "\r\n", "# 中\u2028\f"])
@pytest.mark.parametrize("line", [0, 3, 17])
def test_incremental_parse_after_an_insertion(new: str, line: int) -> None:
    document = Document(BASE, "python")
    tree_of(document)
    start = len("".join(BASE.splitlines(keepends=True)[:line]))
    document.edit(start, start, new)
    assert_fresh(document)
    document.edit(start, start + len(new), "")
    assert_fresh(document)


@pytest.mark.parametrize(("at", "end", "new"), [(5, 5, "é\n😀"), (9, 9, "\n"), (2, 8, "中"), (0, 0, "\n\n")])
def test_the_old_tree_is_moved_before_it_is_parsed_again(
    monkeypatch: pytest.MonkeyPatch, at: int, end: int, new: str
) -> None:
    """Bytes, rows and columns: what a wrong edit would leave of the tree's places is rarely seen later."""
    document = Document("é = [😀,\n  '中', x]\ny\n", "python")
    tree_of(document)
    olds: list[Tree] = []

    def spy(*args: Any) -> Tree | None:
        olds.append(args[2])
        return infill.code.syntax.parse(*args)

    monkeypatch.setattr(infill.code.section, "parse", spy)
    document.edit(at, end, new)
    tree_of(document)
    last = olds[0].root_node.children[-1]
    index, start = Utf8Index(document.text), document.text.index("y\n")
    assert (last.start_byte, tuple(last.start_point)) == (index.byte(start), index.point(start))
    assert tuple(olds[0].root_node.end_point) == index.point(len(document.text))


@settings(max_examples=100, deadline=None)
@given(st.lists(st.sampled_from(AWKWARD), max_size=30).map("".join), st.data())
def test_index_agrees_with_encoding_the_whole(text: str, data: st.DataObject) -> None:
    index = Utf8Index(text)
    for _ in range(3):
        at = data.draw(st.integers(0, len(text)))
        before = text[:at]
        assert index.byte(at) == len(encode(before))
        assert index.offset(index.byte(at)) == at
        column = len(encode(before[before.rfind("\n") + 1 :]))
        assert index.point(at) == (before.count("\n"), column)
        new = data.draw(st.sampled_from(AWKWARD))
        text = before + new + text[at:]
        index.replace(text, at)


def test_index_beyond_one_stride() -> None:
    text = "é中😀x\n" * 5000
    index = Utf8Index(text)
    assert index.offset(len(encode(text))) == len(text)
    for at in (0, 1, 1023, 1024, 1025, 20_000, len(text)):
        assert index.byte(at) == len(encode(text[:at]))
        assert index.offset(index.byte(at)) == at
    inside_emoji = index.byte(2) + 2
    assert index.offset(inside_emoji) == 2
    index.replace("y" + text, 0)
    assert index.point(len(text) + 1) == (5000, 0)
    assert index.byte(9000) == len(encode(text[:8999])) + 1
    assert index.offset(index.byte(9000)) == 9000


@pytest.mark.parametrize("language", sorted(LANGUAGES))
def test_every_grammar_loads_and_parses(language: str) -> None:
    document = Document("x", language)
    assert tree_of(document).root_node.end_byte == 1
    document.edit(1, 1, " y😀\n")
    assert tree_of(document).root_node.end_byte >= 1


def test_unknown_language_has_no_tree() -> None:
    document = Document("anything", "brainfuck")
    document.edit(0, 8, "else")
    assert document.tree is None
    assert list(document.leaves(0, 4)) == []
    assert document.text == "else"
    assert grammar(PLAIN) is None


@pytest.mark.parametrize(
    ("path", "language"),
    [("a.py", "python"), ("B.TSX", "typescriptreact"), ("d/x.h", "c"), ("x.hpp", "cpp"), ("Makefile", PLAIN)],
)
def test_language_of_a_path(path: str, language: str) -> None:
    assert language_of(path) == language


def test_edit_outside_the_text() -> None:
    document = Document("abc", "python")
    for start, end in ((-1, 0), (2, 1), (0, 4)):
        with pytest.raises(ValueError, match="in a text of 3 characters"):
            document.edit(start, end, "x")


def test_set_text_keeps_what_is_common() -> None:
    document = Document("a = 1\nb = 2\nc = 3\n", "python")
    tree_of(document)
    for text in ("a = 1\nb = 22\nc = 3\n", "", "é\n", "é\n", "aa", "aaa", "a"):
        document.set_text(text)
        assert document.text == text
        assert shape(tree_of(document).root_node) == shape(tree_of(Document(text, "python")).root_node)


def test_leaves_are_in_code_points() -> None:
    text = "é = '😀'  # 中\nx"
    leaves = list(Document(text, "python").leaves(0, len(text)))
    assert [text[leaf.start : leaf.end] for leaf in leaves] == ["é", "=", "'", "😀", "'", "# 中", "x"]
    assert [leaf.kind for leaf in Document(text, "python").leaves(2, 3)] == ["="]


def test_snapshot_is_not_reached_by_later_edits() -> None:
    document = Document("x = 1\n", "python")
    snapshot = document.snapshot()
    document.edit(0, 1, "long_name")
    assert snapshot.text == "x = 1\n"
    assert tree_of(snapshot).root_node.end_byte == 6
    assert shape(tree_of(document).root_node) == shape(tree_of(Document(document.text, "python")).root_node)


def test_snapshot_hands_its_tree_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise a document whose requests all run on snapshots would be parsed anew each time."""
    document = Document("x = 1\n" * 10, "python")
    snapshot = document.snapshot()
    document.edit(0, 0, "y = 2\n")  # typed while the snapshot is being parsed on another thread
    thread = threading.Thread(target=lambda: snapshot.tree)
    thread.start()
    thread.join()
    olds: list[object] = []
    real = infill.code.syntax.parse

    def spy(*args: object) -> Tree | None:
        olds.append(args[2])
        return real(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(infill.code.section, "parse", spy)
    assert shape(tree_of(document).root_node) == shape(tree_of(Document(document.text, "python")).root_node)
    assert olds[0] is not None
    assert olds[1] is None


def test_a_parse_that_takes_too_long_leaves_plain_text(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(infill.code.section, "PARSE_BUDGET_S", -1.0)
    document = Document("x = [1, 2]\n" * 2000, "python")
    assert document.tree is None
    document.edit(0, 0, "y")
    assert document.tree is None
    assert document.snapshot().tree is None


class FailingParses:
    """Stands in for `parse`, whose first calls take too long."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, failures: int) -> None:
        self.calls = 0
        self._failures = failures
        monkeypatch.setattr(infill.code.section, "parse", self)

    def __call__(self, *args: Any) -> Tree | None:
        self.calls += 1
        return None if self.calls <= self._failures else infill.code.syntax.parse(*args)


def test_a_parse_that_took_too_long_is_tried_again_after_some_edits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Editors that send edits only would never bring a whole new text."""
    parses = FailingParses(monkeypatch, 1)
    document = Document("x = [1, 2]\n", "python")
    for _ in range(50):
        assert document.snapshot().tree is None
        document.edit(0, 0, "y")
    assert parses.calls == 1
    assert_fresh(document)


def test_it_is_tried_again_ever_more_rarely(monkeypatch: pytest.MonkeyPatch) -> None:
    parses = FailingParses(monkeypatch, 100)
    document = Document("x = [1, 2]\n", "python")
    tried = []
    for n in range(400):
        before = parses.calls
        assert document.snapshot().tree is None
        assert document.tree is None
        tried += [n] * (parses.calls - before)
        document.edit(0, 0, "y")
    assert tried == [0, 50, 150, 350]


def test_it_is_tried_again_once_the_text_is_much_shorter(monkeypatch: pytest.MonkeyPatch) -> None:
    FailingParses(monkeypatch, 1)
    document = Document("x = 1\n" * 10, "python")
    document.edit(0, 0, "[" * 100)
    assert document.tree is None
    document.edit(0, 1, "")
    assert document.tree is None
    document.edit(0, 99, "")
    assert_fresh(document)


def test_a_new_text_is_parsed_though_the_old_ones_parse_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    FailingParses(monkeypatch, 2)
    document = Document("x = 1\n", "python")
    assert document.tree is None
    snapshot = document.snapshot()
    document.set_text("x = 2\n")
    late = document.snapshot()
    document.set_text("x = 3\n")
    assert snapshot.tree is None
    assert late.tree is None  # takes too long, and the text is another one by now
    assert_fresh(document)


def _count_parses(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    parsed: list[bytes] = []

    def parse(grammar: Any, source: bytes, *rest: Any) -> Any:
        parsed.append(source)
        return infill.code.syntax.parse(grammar, source, *rest)

    monkeypatch.setattr(infill.code.section, "parse", parse)
    return parsed


def test_what_was_filled_before_is_not_parsed_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same text comes about by other edits too: with what was typed before it, say."""
    document = Document("x = fo\n", "python")
    assert document.tree is not None
    parsed = _count_parses(monkeypatch)
    for start, new in ((6, "o(1)"), (6, "o(1)"), (4, "foo(1)"), (0, "x = foo(1)")):
        filled = document.filled(start, 6, new)
        assert filled.text == "x = foo(1)\n"
        assert not filled.faults()
    assert parsed == [b"x = foo(1)\n"]
    filled.edit(0, 1, "y")
    assert document.filled(6, 6, "o(1)").text == "x = foo(1)\n"


def test_an_edit_forgets_what_was_filled() -> None:
    document = Document("x = \n", "python")
    assert document.filled(4, 4, "1").text == "x = 1\n"
    document.edit(0, 1, "y")
    assert document.filled(4, 4, "1").text == "y = 1\n"
    document.set_text("z = \n")
    assert document.filled(4, 4, "1").text == "z = 1\n"


def test_fills_are_kept_within_bounds() -> None:
    document = Document("x = \n", "python")
    for number in range(100):
        assert document.filled(4, 4, str(number)).text == f"x = {number}\n"
    assert len(document._fills) <= 16
