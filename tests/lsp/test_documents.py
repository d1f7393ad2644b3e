"""Incremental synchronisation against a reference that splices as the specification says."""

from __future__ import annotations

import random
from unittest import mock

import pytest

from lsp import lines
from lsp.documents import Change, Documents
from lsp.lines import Encoding, Lines
from tests.infill.test_document import BASE, CODE, assert_fresh
from tests.lsp.session import URI, connect
from tests.lsp.test_lines import random_text, reference_offset


def spliced(text: str, change: Change, encoding: Encoding) -> str:
    if change.start is None or change.end is None:
        return change.text
    start, end = (reference_offset(text, *p, encoding) for p in (change.start, change.end))
    return text[:start] + change.text + text[end:]


def random_change(rng: random.Random, length: int) -> Change:
    new = random_text(rng, rng.randrange(6 if length < 150 else 2))
    if rng.random() < 0.02:
        return Change(text=random_text(rng, 40))
    a, b = ((rng.randrange(14), rng.randrange(12)) for _ in range(2))
    return Change(text=new, start=min(a, b), end=max(a, b))


@pytest.mark.parametrize("encoding", Encoding)
def test_a_thousand_random_edits_agree_with_the_reference(encoding: Encoding) -> None:
    rng = random.Random(encoding.value)
    documents = Documents(encoding)
    expected = random_text(rng, 60)
    documents.open(URI, "python", 1, expected)
    for version in range(2, 502):
        changes = []
        for _ in range(2):  # the second one's positions are about what the first one left
            changes.append(random_change(rng, len(expected)))
            expected = spliced(expected, changes[-1], encoding)
        assert documents.change(URI, version, changes)
        document = documents.get(URI)
        assert document is not None
        assert document.document.text == expected
        assert document.version == version
        assert document.lines.count == Lines(expected).count


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("encoding", Encoding)
def test_a_thousand_random_edits_of_code_parse_as_a_fresh_text(encoding: Encoding, seed: int) -> None:
    """Four times 250 in each encoding: text and tree after every edit, positions in the client's units."""
    rng = random.Random(f"{encoding.value} {seed}")
    documents = Documents(encoding)
    short = BASE[: BASE.index("def größe_4")]
    expected = short
    documents.open(URI, "python", 1, expected)
    for version in range(2, 252):
        new = "".join(rng.choice(CODE) for _ in range(rng.randrange(5 if len(expected) < len(short) else 2)))
        line, column = rng.randrange(expected.count("\n") + 2), rng.randrange(30)
        longer = (line, column + rng.randrange(8)) if rng.random() < 0.8 else (line + 1, rng.randrange(8))
        change = Change(text=new, start=(line, column), end=longer)
        expected = spliced(expected, change, encoding)
        assert documents.change(URI, version, [change])
        opened = documents.get(URI)
        assert opened is not None
        assert opened.document.text == expected
        assert_fresh(opened.document)


async def test_a_range_the_wrong_way_round_is_turned() -> None:
    async with connect() as session:
        session.open("abcdef")
        backwards = {"start": {"line": 0, "character": 4}, "end": {"line": 0, "character": 2}}
        session.change(2, {"range": backwards, "text": "-"})
        await session.inline(0, 0)
        document = session.server.documents.get(URI)
        assert document is not None
        assert document.document.text == "ab-ef"


async def test_a_change_of_an_unknown_document_is_ignored(caplog: pytest.LogCaptureFixture) -> None:
    async with connect() as session:
        session.change(2, {"text": "x"})
        session.notify("textDocument/didClose", {"textDocument": {"uri": URI}})
        assert await session.inline(0, 0) == []
    assert "not open" in session.log[-1]
    assert "changed that is not open" in caplog.text
    assert session.shown == []


async def test_an_unknown_language_is_plain_text() -> None:
    async with connect() as session:
        session.open("once upon a ", language="klingon")
        assert len(await session.inline(0, 12)) == 1


@pytest.mark.parametrize("position", [(0, 999), (999, 0), (2**31 - 1, 2**31 - 1)])
async def test_a_position_outside_the_file_is_clamped(position: tuple[int, int]) -> None:
    async with connect() as session:
        session.open("x = ")
        [item] = await session.inline(*position)
    assert item["range"]["end"] == {"line": 0, "character": 4}


async def test_an_empty_file_gets_a_suggestion() -> None:
    async with connect() as session:
        session.open("")
        [item] = await session.inline(0, 0)
    assert item["range"] == {"start": {"line": 0, "character": 0}, "end": {"line": 0, "character": 0}}


@pytest.mark.parametrize(
    ("text", "line", "column"),
    [("x = 1\n" * 50_000 + "y = ", 50_000, 4), ("x = '" + "é" * 1_000_000 + "' + ", 0, 1_000_009)],
    ids=["50,000 lines", "1 MB line"],
)
async def test_large_files_work_and_typing_in_them_does_not_go_through_all_of_them(
    text: str, line: int, column: int
) -> None:
    async with connect() as session:
        session.open(text)
        await session.inline(line, column)
        ends = mock.Mock(wraps=lines._LINE_END)
        with mock.patch("lsp.lines._LINE_END", ends):
            for i in range(20):
                at = {"line": line, "character": column + i}
                session.change(2 + i, {"range": {"start": at, "end": at}, "text": "y"})
            items = await session.inline(line, column + 20)
        scans = [call.args for call in ends.finditer.call_args_list]
        document = session.server.documents.get(URI)
        assert document is not None
        assert document.document.text == text + "y" * 20
    assert len(items) == 1
    assert items[0]["range"]["end"] == {"line": line, "character": column + 20}
    # Each edit looks for line endings in a few characters, its own and their neighbours.
    assert [stop - start for _, start, stop in scans] == [3] * 20
