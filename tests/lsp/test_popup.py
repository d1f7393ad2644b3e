"""The suggestion as an entry of the popup, for editors without ghost text."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from tests.fakes.engine import ScriptedEngine
from tests.lsp.session import URI, Json, Session, connect

GHOST_TEXT: Json = {"textDocument": {"inlineCompletion": {}}}


async def complete(session: Session, line: int, column: int) -> Json:
    answer = await session.request(
        "textDocument/completion",
        {"textDocument": {"uri": URI}, "position": {"line": line, "character": column}},
    )
    result: Json = answer["result"]
    return result


def reads(*formats: str) -> Json:
    """The capabilities of a client that reads documentation in these formats."""
    return {"textDocument": {"completion": {"completionItem": {"documentationFormat": [*formats]}}}}


@pytest.mark.parametrize(
    ("capabilities", "popup", "there"),
    [
        ({}, "auto", True),
        (GHOST_TEXT, "auto", False),
        (GHOST_TEXT, "always", True),
        ({}, "never", False),
    ],
)
async def test_it_is_there_where_there_is_no_ghost_text(capabilities: Json, popup: str, there: bool) -> None:
    async with connect(capabilities=capabilities, options={"popup": popup}, initialize=False) as session:
        answer = await session.initialize()
        session.open("x = \n")
        asked = await session.request(
            "textDocument/completion",
            {"textDocument": {"uri": URI}, "position": {"line": 0, "character": 4}},
        )
    assert ("completionProvider" in answer["result"]["capabilities"]) is there
    assert ("result" in asked) is there


async def test_an_entry_says_what_it_is_and_sorts_last() -> None:
    async with connect(
        ScriptedEngine(["value = 1\n    return `value`\n"]), capabilities=reads("markdown", "plaintext")
    ) as session:
        session.open("def f():\n    val\n")
        answer = await complete(session, 1, 7)
        [item] = answer["items"]
        resolved = (await session.request("completionItem/resolve", item))["result"]
    assert answer["isIncomplete"] is True
    assert item["label"] == "value = 1"
    assert item["labelDetails"] == {"description": "Infill"}
    assert item["detail"] == "Infill, 90% sure"
    assert item["filterText"] == "value = 1"
    assert item["sortText"] > "zzz"
    assert item["textEdit"]["newText"].startswith("value = 1")
    assert item["textEdit"]["range"] == {
        "start": {"line": 1, "character": 4},
        "end": {"line": 1, "character": 7},
    }
    assert "documentation" not in item
    assert resolved["documentation"]["kind"] == "markdown"
    assert resolved["documentation"]["value"].split("\n") == [
        "```diff",
        "-    val",
        "+    value = 1",
        "```",
    ]


@pytest.mark.parametrize(
    ("capabilities", "shown"),
    [
        (
            reads("plaintext", "markdown"),
            {"kind": "markdown", "value": "```diff\n+    a = 1\n+    b = 2\n```"},
        ),
        (reads("plaintext"), {"kind": "plaintext", "value": "+    a = 1\n+    b = 2"}),
        ({}, "+    a = 1\n+    b = 2"),  # as Helix and Eglot, which name no format
    ],
)
async def test_several_lines_are_marked_in_the_label_and_shown_in_the_preview(
    capabilities: Json, shown: Json | str
) -> None:
    async with connect(ScriptedEngine(["a = 1\n    b = 2\n"]), capabilities=capabilities) as session:
        session.open("def f():\n    \n")
        [item] = (await complete(session, 1, 4))["items"]
        resolved = (await session.request("completionItem/resolve", item))["result"]
    assert item["label"] == "a = 1 …"
    assert resolved["documentation"] == shown


@pytest.mark.parametrize(("known", "mode"), [([1, 2], 1), ([2], None), (None, None)])
async def test_an_editor_that_indents_lines_is_told_that_they_are(known: Any, mode: int | None) -> None:
    item = {"insertTextModeSupport": {"valueSet": known}} if known else {}
    capabilities = {"textDocument": {"completion": {"completionItem": item}}}
    async with connect(ScriptedEngine(["a = 1\n    b = 2\n"]), capabilities=capabilities) as session:
        session.open("def f():\n    \n")
        [entry] = (await complete(session, 1, 4))["items"]
    assert entry["textEdit"]["newText"] == "a = 1\n    b = 2"
    assert entry.get("insertTextMode") == mode


async def test_it_never_waits_longer_than_its_deadline() -> None:
    engine = ScriptedEngine(["1"])
    async with connect(engine, options={"popup_deadline_ms": 50}) as session:
        session.open("x = \n")
        await complete(session, 0, 4)
    assert 0 < (engine.requests[0].deadline_ms or 0) <= 50


async def test_an_entry_of_long_ago_is_resolved_to_itself() -> None:
    async with connect() as session:
        item = {"label": "x", "data": {"uri": URI, "id": "99"}}
        assert (await session.request("completionItem/resolve", item))["result"] == item


async def test_nothing_is_an_empty_list_with_a_reason() -> None:
    async with connect(ScriptedEngine([""], gate=threading.Event(), steps=1)) as session:
        session.open("x = \n")
        answer: Any = await complete(session, 0, 4)
    assert answer == {"isIncomplete": True, "items": []}
    assert session.log[-1].startswith("completion ")
    assert "nothing: the model suggests nothing here" in session.log[-1]
