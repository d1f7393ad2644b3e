"""Holes on demand: commands, `infill/fillHoles` and code actions, and the edits they come to."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from engine.request import Stop
from tests.fakes.engine import ScriptedEngine
from tests.lsp.session import URI, Json, Session, connect

VERSIONED = {"workspace": {"applyEdit": True, "workspaceEdit": {"documentChanges": True}}}
TAGS = {"textDocument": {"codeAction": {"tagSupport": {"valueSet": [1]}}}}
TWO = 'x = "👩", ___\ny = ___\n'


def span(line: int, start: int, end: int) -> Json:
    return {"start": {"line": line, "character": start}, "end": {"line": line, "character": end}}


async def command(
    session: Session, name: str, *arguments: Any, applied: bool = True
) -> tuple[Any, list[Json]]:
    """Run a command as an editor that applies edits does; its result, and the edits it was sent."""
    asked = session.ask("workspace/executeCommand", {"command": name, "arguments": list(arguments)})
    first = await session.until(lambda m: m.get("method") == "workspace/applyEdit" or m.get("id") == asked)
    if "method" in first:
        session.send({"id": first["id"], "result": {"applied": applied}})
    answer = await session.answer_to(asked)
    sent = [m["params"] for m in session.received if m.get("method") == "workspace/applyEdit"]
    return answer["result"], sent


def edits(edit: Json) -> list[tuple[Json, str]]:
    """The ranges and texts of an edit of the one document."""
    [change] = edit["documentChanges"]
    assert change["textDocument"] == {"uri": URI, "version": 1}
    return [(one["range"], one["newText"]) for one in change["edits"]]


async def test_all_holes_are_filled_in_one_edit() -> None:
    async with connect(ScriptedEngine([" 1"]), capabilities=VERSIONED) as session:
        session.open(TWO)
        result, [sent] = await command(session, "infill.fillAllHoles", {"uri": URI})
    assert result == {"applied": True, "filled": 2, "reason": None}
    assert edits(sent["edit"]) == [(span(0, 10, 13), "1"), (span(1, 4, 7), "1")]


async def test_an_edit_the_editor_refuses_is_reported() -> None:
    async with connect(ScriptedEngine([" 1"]), capabilities=VERSIONED) as session:
        session.open(TWO)
        result, _ = await command(session, "infill.fillAllHoles", {"uri": URI}, applied=False)
    assert result == {"applied": False, "filled": 0, "reason": "the editor refused the edit"}


async def test_a_client_without_document_changes_gets_plain_ones() -> None:
    async with connect(ScriptedEngine(["1"])) as session:
        session.open("x = ___\n")
        _, [sent] = await command(session, "infill.fillAllHoles", {"uri": URI})
    assert sent["edit"] == {"changes": {URI: [{"range": span(0, 4, 7), "newText": "1"}]}}


async def test_the_hole_at_the_cursor_is_a_marker_or_what_is_missing() -> None:
    for column, expected in ((5, (span(0, 4, 7), "1")), (0, None)):
        async with connect(ScriptedEngine(["1"]), capabilities=VERSIONED) as session:
            session.open("x = ___\n")
            at = {"line": 0 if expected else 1, "character": column}
            result, sent = await command(session, "infill.fillHole", {"uri": URI, "position": at})
        assert result["applied"]
        assert edits(sent[0]["edit"]) == [expected or (span(1, 0, 0), "1")]


async def test_a_selection_is_rewritten() -> None:
    async with connect(ScriptedEngine([" 2"]), capabilities=VERSIONED) as session:
        session.open("x = 1\n")
        where = {"uri": URI, "range": span(0, 4, 5)}
        result, [sent] = await command(session, "infill.rewriteSelection", where)
    assert result["applied"]
    assert edits(sent["edit"]) == [(span(0, 3, 5), " 2")]


@pytest.mark.parametrize(
    ("text", "name", "reason"),
    [
        ("x = 1\n", "infill.fillAllHoles", "there is nothing to fill here"),
        ("x = ___\n", "infill.fillAllHoles", "it leaves a bracket or a quote unbalanced"),
    ],
)
async def test_where_nothing_is_filled_the_reason_is_the_answer(text: str, name: str, reason: str) -> None:
    async with connect(ScriptedEngine(["((("])) as session:
        session.open(text)
        result, sent = await command(session, name, {"uri": URI})
        explained, _ = await command(session, "infill.explainNoSuggestion", {"uri": URI})
    assert (result, sent) == ({"applied": False, "filled": 0, "reason": reason}, [])
    assert explained["reason"] == reason


async def test_an_edit_meanwhile_stops_the_work_and_nothing_is_applied() -> None:
    engine = ScriptedEngine(["1"], gate=threading.Event())
    async with connect(engine) as session:
        session.open(TWO)
        asked = session.ask(
            "workspace/executeCommand", {"command": "infill.fillAllHoles", "arguments": [{"uri": URI}]}
        )
        assert await asyncio.to_thread(engine.started.wait, 5)
        session.change(2, {"text": "y = 1\n"})
        answer = await session.answer_to(asked)
        assert await asyncio.to_thread(engine.finished.wait, 5)
    assert answer["result"]["reason"] == "the text changed meanwhile"
    assert engine.stops == [Stop.CANCELLED]
    assert not any(m.get("method") == "workspace/applyEdit" for m in session.received)


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ({"position": {"line": 1, "character": 4}}, [(span(1, 4, 7), "1")]),
        ({"ranges": [span(0, 4, 8)]}, [(span(0, 4, 8), "1")]),
        ({}, [(span(0, 10, 13), "1"), (span(1, 4, 7), "1")]),
    ],
)
async def test_the_request_gives_the_edit(params: Json, expected: list[Any]) -> None:
    async with connect(ScriptedEngine([" 1"]), capabilities=VERSIONED) as session:
        session.open(TWO)
        answer = await session.request("infill/fillHoles", {"textDocument": {"uri": URI}, **params})
    given = edits(answer["result"]["edit"])
    assert [where for where, _ in given] == [where for where, _ in expected]
    assert [text.strip() for _, text in given] == [text for _, text in expected]


@pytest.mark.parametrize(
    ("params", "reason"),
    [
        ({}, "not open"),
        ({"textDocument": {"uri": "file:///no.py"}}, "not open"),
        ({"textDocument": {"uri": URI}, "position": 7}, "a position"),
        ({"textDocument": {"uri": URI}, "ranges": 7}, "a list"),
        ({"textDocument": {"uri": URI}, "ranges": [7]}, "a range"),
        ({"textDocument": {"uri": URI}, "ranges": [span(0, 0, 3), span(0, 2, 4)]}, "overlap"),
        ({"textDocument": {"uri": URI}, "ranges": []}, "nothing to fill"),
    ],
)
async def test_a_request_that_cannot_be_served_says_why(params: Json, reason: str) -> None:
    async with connect() as session:
        session.open(TWO)
        answer = await session.request("infill/fillHoles", params)
    assert answer["result"]["edit"] is None
    assert reason in answer["result"]["reason"]


async def actions(session: Session, where: Json, **context: Any) -> list[Json]:
    answer = await session.request(
        "textDocument/codeAction",
        {"textDocument": {"uri": URI}, "range": where, "context": {"diagnostics": [], **context}},
    )
    found: list[Json] = answer["result"]
    return found


async def test_actions_are_offered_where_they_make_sense() -> None:
    async with connect(capabilities=TAGS) as session:
        session.open(TWO)
        nothing = await actions(session, span(0, 0, 0))
        marker = await actions(session, span(1, 5, 5))
        selection = await actions(session, span(0, 0, 3))
        filtered = await actions(session, span(1, 5, 5), only=["quickfix"])
        wanted = await actions(session, span(1, 5, 5), only=["refactor"])
    assert nothing == filtered == []
    assert [a["title"].partition(" with")[0] for a in marker] == [
        "Fill this hole",
        "Fill all holes of this file",
    ]
    assert wanted == marker
    assert [a["title"].partition(" with")[0] for a in selection] == ["Rewrite the selection"]
    assert all(a["kind"] == "refactor.rewrite" and a["tags"] == [1] and "edit" not in a for a in selection)


async def test_a_chosen_action_is_resolved_to_its_edit() -> None:
    engine = ScriptedEngine([" 1"])
    async with connect(engine, capabilities=VERSIONED) as session:
        session.open(TWO)
        one, everything = await actions(session, span(1, 5, 5))
        assert "tags" not in one
        assert engine.requests == []
        resolved = [await session.request("codeAction/resolve", a) for a in (one, everything)]
    assert edits(resolved[0]["result"]["edit"]) == [(span(1, 4, 7), "1")]
    assert len(edits(resolved[1]["result"]["edit"])) == 2


@pytest.mark.parametrize("data", [None, 7, {}, {"provider": "other"}, {"provider": "rewriting", "uri": 3}])
async def test_an_action_of_somebody_else_stays_as_it_is(data: object) -> None:
    async with connect() as session:
        answer = await session.request("codeAction/resolve", {"title": "Theirs", "data": data})
    assert "edit" not in answer["result"]
    assert answer["result"]["disabled"]["reason"]


async def test_an_action_for_an_older_text_has_no_edit() -> None:
    async with connect() as session:
        session.open(TWO)
        [action, _] = await actions(session, span(1, 5, 5))
        session.change(2, {"text": "y = ___\n"})
        answer = await session.request("codeAction/resolve", action)
    assert answer["result"]["disabled"] == {"reason": "the text changed meanwhile"}
    assert "edit" not in answer["result"]


async def test_an_action_that_cannot_be_done_says_so_every_time() -> None:
    async with connect(ScriptedEngine(["((("])) as session:
        session.open(TWO)
        [action, _] = await actions(session, span(1, 5, 5))
        for _ in range(2):
            await session.request("codeAction/resolve", action)
        session.change(2, {"text": "y = ___\n"})
        await session.request("codeAction/resolve", action)
    refused = "Infill: Fill this hole with Infill: it leaves a bracket or a quote unbalanced"
    stale = "Infill: Fill this hole with Infill: the text changed meanwhile"
    assert session.shown == [refused, refused, stale]


async def test_filling_many_holes_shows_progress() -> None:
    capabilities = {"window": {"workDoneProgress": True}}
    async with connect(ScriptedEngine([" 1"]), capabilities=capabilities) as session:
        session.open(TWO)
        params = {"command": "infill.fillAllHoles", "arguments": [{"uri": URI}], "workDoneToken": "mine"}
        asked = session.ask("workspace/executeCommand", params)
        sent = await session.until(lambda m: m.get("method") == "workspace/applyEdit")
        session.send({"id": sent["id"], "result": {"applied": True}})
        await session.answer_to(asked)
        told = [m["params"] for m in session.received if m.get("method") == "$/progress"]
    values = [p["value"] for p in told if p["token"] == "mine"]
    assert [v["kind"] for v in values] == ["begin", "report", "end"]
    assert values[1]["message"] == "2 of 2"


async def test_who_wants_to_watch_sees_every_step() -> None:
    engine = ScriptedEngine(["value"], steps=3)
    async with connect(engine, options={"canvas": True}) as session:
        session.open("x = \n")
        await session.inline(0, 4)
        shown = [m["params"] for m in session.received if m.get("method") == "infill/canvas"]
    assert [s["step"] for s in shown] == [1, 2, 3]
    assert [s["done"] for s in shown] == [False, False, True]
    last = shown[-1]
    assert (last["uri"], last["version"], last["text"]) == (URI, 1, " value")
    assert last["range"] == span(0, 3, 4)
    assert last["confidences"] == [0.9] * len(" value")  # one a character


async def test_a_canvas_of_several_holes_is_shown_hole_by_hole() -> None:
    engine = ScriptedEngine([" a", " b"], steps=2)
    async with connect(engine, options={"canvas": True}, capabilities=VERSIONED) as session:
        session.open("def f(a):\r\n    x = ___\r\n    return ___\r\n")
        await command(session, "infill.fillAllHoles", {"uri": URI})
        shown = [m["params"] for m in session.received if m.get("method") == "infill/canvas"]
    [shared] = [each for each in shown if "parts" in each]
    assert shared["text"] == " a\n    return b"
    assert [(part["range"], part["text"]) for part in shared["parts"]] == [
        (span(1, 8, 11), " a"),
        (span(2, 11, 14), " b"),
    ]
    assert [part["confidences"] for part in shared["parts"]] == [[0.9] * 2, [0.9] * 2]
    alone = [each for each in shown if "parts" not in each and each["done"]]
    assert {each["range"]["start"]["line"] for each in alone} == {1, 2}


async def test_nobody_else_does() -> None:
    async with connect(ScriptedEngine(["value"])) as session:
        session.open("x = \n")
        await session.inline(0, 4)
        assert not any(m.get("method") == "infill/canvas" for m in session.received)
