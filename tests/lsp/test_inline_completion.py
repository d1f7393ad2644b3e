"""`textDocument/inlineCompletion`: what is answered, and what is not."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

import pytest

from engine.errors import EngineError
from engine.request import DenoiseRequest, EngineInfo, Step, Stop
from lsp.editor_commands import COMMANDS
from tests.fakes.engine import ScriptedEngine
from tests.lsp.session import Session, connect


def shown(items: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What of the items the user sees: all but the command that says what became of them."""
    commands = [item["command"] for item in items]
    assert all(c["command"] == "infill.accepted" and c["arguments"][0]["id"] for c in commands)
    return [{name: value for name, value in item.items() if name != "command"} for item in items]


def span(line: int, start: int, end: int) -> dict[str, dict[str, int]]:
    return {"start": {"line": line, "character": start}, "end": {"line": line, "character": end}}


async def test_the_capability_is_advertised_and_no_more() -> None:
    capabilities = {"textDocument": {"inlineCompletion": {}}}
    async with connect(capabilities=capabilities, initialize=False) as session:
        answer = await session.initialize()
    assert answer["result"]["serverInfo"]["name"] == "infill"
    assert answer["result"]["capabilities"] == {
        "positionEncoding": "utf-16",
        "inlineCompletionProvider": {},
        "codeActionProvider": {"codeActionKinds": ["quickfix", "refactor.rewrite"], "resolveProvider": True},
        "diagnosticProvider": {
            "identifier": "infill",
            "interFileDependencies": False,
            "workspaceDiagnostics": False,
        },
        "executeCommandProvider": {"commands": list(COMMANDS), "workDoneProgress": True},
        "textDocumentSync": {"openClose": True, "change": 2, "save": False},
        "workspace": {"workspaceFolders": {"supported": True, "changeNotifications": True}},
    }


async def test_a_suggestion_replaces_the_word_at_the_cursor_and_begins_with_it() -> None:
    async with connect(ScriptedEngine(["value + 1)"])) as session:
        session.open("value = 3\nprint(val\n")
        items = await session.inline(1, 9)
    assert shown(items) == [{"insertText": "value + 1)", "range": span(1, 6, 9)}]


async def test_a_suggestion_within_brackets_the_editor_closed_begins_with_the_typed_one() -> None:
    engine = ScriptedEngine(['("hi")'])
    async with connect(engine) as session:
        session.open("print()\n")
        items = await session.inline(0, 6)
    assert engine.requests[0].prompt.prefix == "print"
    assert shown(items) == [{"insertText": '("hi"', "range": span(0, 5, 6)}]


async def test_the_range_counts_in_the_client_s_units() -> None:
    text = '"👩é".val\n'
    for encoding, start in (("utf-8", 9), ("utf-16", 6), ("utf-32", 5)):
        capabilities = {"general": {"positionEncodings": [encoding]}}
        async with connect(ScriptedEngine(["value"]), capabilities=capabilities) as session:
            session.open(text)
            items = await session.inline(0, start + 3)
        assert shown(items) == [{"insertText": "value", "range": span(0, start, start + 3)}], encoding


async def test_line_endings_in_a_suggestion_are_line_feeds() -> None:
    async with connect(ScriptedEngine(["a = 1\n    b = 2\n"])) as session:
        session.open("def f():\r\n    \r\n")
        [item] = await session.inline(1, 4)
    assert "\n" in item["insertText"]
    assert "\r" not in item["insertText"]


async def test_the_selected_entry_of_the_popup_counts_as_typed() -> None:
    engine = ScriptedEngine(["print(value)"])
    async with connect(engine) as session:
        session.open("x = 1\npri\n")
        selected = {"range": span(1, 0, 3), "text": "print"}
        items = await session.inline(1, 3, selectedCompletionInfo=selected)
    assert engine.requests[0].prompt.typed == "print"
    assert shown(items) == [{"insertText": "print(value)", "range": span(1, 0, 3)}]


async def test_a_selected_entry_that_is_not_a_word_is_brought_along() -> None:
    engine = ScriptedEngine(["value)"])
    async with connect(engine) as session:
        session.open("pri\n")
        selected = {"range": span(0, 0, 3), "text": "print("}
        items = await session.inline(0, 3, selectedCompletionInfo=selected)
    assert [item["range"] for item in items] == [span(0, 0, 3)]
    assert items[0]["insertText"].startswith("print(value")


async def test_a_selected_entry_elsewhere_gives_nothing() -> None:
    async with connect() as session:
        session.open("pri\nx\n")
        selected = {"range": span(0, 0, 3), "text": "print"}
        assert await session.inline(1, 1, selectedCompletionInfo=selected) == []
    assert "not at the cursor" in session.log[-1]


async def test_a_rejected_suggestion_is_an_empty_list_with_a_reason() -> None:
    async with connect(ScriptedEngine([""])) as session:
        session.open("x = \n")
        answer = await session.answer_to(session.ask_inline(0, 4))
    assert answer["result"] == {"items": []}
    assert "nothing: the model suggests nothing here" in session.log[-1]


async def test_one_line_is_logged_a_request_without_the_user_s_code() -> None:
    async with connect(ScriptedEngine(["secret_plan"])) as session:
        session.open("secret = 1\nx = sec\n")
        await session.inline(1, 7)
    assert len(session.log) == 2  # the other one says that the model is loaded
    line = session.log[-1]
    for expected in ("app.py version 1", "3 steps", " ms ", "prompt 19 characters", "1 item"):
        assert expected in line
    assert "secret" not in "".join(session.log)


async def test_a_newer_request_takes_the_place_of_the_older_one() -> None:
    gate = threading.Event()
    engine = ScriptedEngine(["1"], gate=gate)
    async with connect(engine) as session:
        session.open("x = \ny = \n")
        first = session.ask_inline(0, 4)
        assert await asyncio.to_thread(engine.started.wait, 5)
        second = session.ask_inline(1, 4)
        assert (await session.answer_to(first))["result"] == {"items": []}
        gate.set()
        assert len((await session.answer_to(second))["result"]["items"]) == 1
    assert engine.stops == [Stop.CANCELLED, Stop.CONFIDENT]


async def test_requests_for_two_documents_do_not_disturb_each_other() -> None:
    gate = threading.Event()
    engine = ScriptedEngine(["1"], gate=gate)
    async with connect(engine) as session:
        for uri in ("file:///a.py", "file:///b.py"):
            session.open("x = \n", uri=uri)
        asked = [session.ask_inline(0, 4, uri=uri) for uri in ("file:///a.py", "file:///b.py")]
        assert await asyncio.to_thread(engine.started.wait, 5)
        gate.set()
        assert [len((await session.answer_to(a))["result"]["items"]) for a in asked] == [1, 1]


@pytest.mark.parametrize(("queued_s", "left_ms"), [(0.0, 1000), (0.75, 250), (5.0, 1)])
async def test_waiting_for_another_document_s_request_counts_against_the_deadline(
    queued_s: float, left_ms: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 100.0
    monkeypatch.setattr("lsp.suggest.time", SimpleNamespace(perf_counter=lambda: now))
    gate = threading.Event()
    engine = ScriptedEngine(["1"], gate=gate)
    async with connect(engine, options={"deadline_ms": 1000}) as session:
        for uri in ("file:///a.txt", "file:///b.txt"):
            session.open("x = \n", language="plaintext", uri=uri)
        session.ask_inline(0, 4, uri="file:///a.txt")
        assert await asyncio.to_thread(engine.started.wait, 5)
        behind = session.ask_inline(0, 4, uri="file:///b.txt")
        await session.inline(0, 0, uri="file:///unknown.txt")  # answered, so the one before it is queued
        now += queued_s
        gate.set()
        await session.answer_to(behind)
    assert f"({queued_s * 1000:.0f} queued)" in session.log[-1]
    if left_ms > 1:
        deadline_ms = engine.requests[1].deadline_ms
        assert deadline_ms is not None
        assert left_ms - 100 < deadline_ms <= left_ms  # the rest was spent on the context
    else:
        assert all(0 < (r.deadline_ms or 0) <= left_ms for r in engine.requests[1:])


@pytest.mark.parametrize("how", ["change", "close", "reopen"])
async def test_an_answer_about_an_older_text_is_dropped_and_the_work_stopped(how: str) -> None:
    engine = ScriptedEngine(["1"], gate=threading.Event())
    async with connect(engine) as session:
        session.open("x = \n")
        asked = session.ask_inline(0, 4)
        assert await asyncio.to_thread(engine.started.wait, 5)
        if how == "change":
            session.change(2, {"text": "y = \n"})
        elif how == "close":
            session.notify("textDocument/didClose", {"textDocument": {"uri": "file:///project/app.py"}})
        else:
            session.open("x = \n")
        assert (await session.answer_to(asked))["result"] == {"items": []}
        assert await asyncio.to_thread(engine.finished.wait, 5)
        states = [m["params"] for m in session.received if m.get("method") == "infill/status"]
    assert engine.stops == [Stop.CANCELLED]
    assert "the text changed meanwhile" in session.log[-1]
    assert not any("reason" in state for state in states)  # nobody is to be told at every key


async def test_a_request_is_about_the_text_before_the_edit_that_follows_it() -> None:
    """Though both arrive at once, and the handler runs as a task: its position is of the older text."""
    engine = ScriptedEngine(["1"])
    async with connect(engine) as session:
        session.open("x = \n")
        await session.inline(0, 4)
        asked = session.ask_inline(0, 4, trigger=1)
        session.change(2, {"text": "#\nx = \n"})
        assert (await session.answer_to(asked))["result"] == {"items": []}
    assert all(request.prompt.prefix.startswith("x") for request in engine.requests)
    assert "version 1" in session.log[-1]


async def test_cancelling_stops_the_denoiser_and_the_next_request_works() -> None:
    gate = threading.Event()
    engine = ScriptedEngine(["1"], steps=50, gate=gate)
    async with connect(engine) as session:
        session.open("x = \n")
        asked = session.ask_inline(0, 4)
        assert await asyncio.to_thread(engine.started.wait, 5)
        session.notify("$/cancelRequest", {"id": asked})
        assert (await session.answer_to(asked))["error"]["code"] == -32800
        assert await asyncio.to_thread(engine.finished.wait, 5)
        assert engine.stops == [Stop.CANCELLED]
        gate.set()
        assert len(await session.inline(0, 4)) == 1
    cancelled = next(line for line in session.log if "cancelled by the client" in line)
    assert "1 steps" in cancelled


async def test_a_storm_of_cancelled_requests_leaves_one_answer_each() -> None:
    engine = ScriptedEngine(["1"], steps=2, gate=threading.Event())
    async with connect(engine) as session:
        session.open("x = \n")
        asked = [session.ask_inline(0, 4) for _ in range(100)]
        for request in asked:
            session.notify("$/cancelRequest", {"id": request})
        for request in asked:
            await session.answer_to(request)
        answers = [m["id"] for m in session.received if "method" not in m and m["id"] in asked]
    assert sorted(answers) == asked
    assert len(engine.requests) <= len(engine.stops) + 1


@asynccontextmanager
async def while_loading() -> AsyncIterator[tuple[Session, threading.Event, ScriptedEngine]]:
    """A session with `x = ` open whose model loads until the gate is set."""
    gate = threading.Event()
    engine = ScriptedEngine(["1"])

    def load(model: str | None, on_progress: object) -> ScriptedEngine:
        assert gate.wait(5)
        return engine

    async with connect(load, initialize=False) as session:
        await session.request("initialize", {"processId": None, "capabilities": {}})
        session.notify("initialized", {})
        session.open("x = \n")
        yield session, gate, engine


async def test_automatic_requests_do_not_wait_for_the_model_and_invoked_ones_do() -> None:
    async with while_loading() as (session, gate, _):
        invoked = session.ask_inline(0, 4, trigger=1)
        assert await session.inline(0, 4, trigger=2) == []
        assert "the model is loading" in session.log[-1]
        gate.set()
        assert len((await session.answer_to(invoked))["result"]["items"]) == 1


async def test_a_text_that_changed_while_the_model_was_loading_is_not_denoised() -> None:
    async with while_loading() as (session, gate, engine):
        invoked = session.ask_inline(0, 4, trigger=1)
        session.change(2, {"text": "y = \n"})
        assert await session.inline(0, 4) == []  # so the change has arrived
        gate.set()
        assert (await session.answer_to(invoked))["result"] == {"items": []}
    assert engine.requests == []


async def test_somebody_who_asks_with_a_key_waits_longer() -> None:
    engine = ScriptedEngine(["1"])
    async with connect(engine, options={"deadline_ms": 1000, "max_steps": 7, "seed": 5}) as session:
        session.open("x = \n")
        await session.inline(0, 4, trigger=2)
        await session.inline(0, 4, trigger=1)
    automatic, invoked = engine.requests[:2]
    assert automatic.deadline_ms is not None
    assert invoked.deadline_ms is not None
    assert 900 < automatic.deadline_ms <= 1000 < 3900 < invoked.deadline_ms <= 4000
    assert (automatic.max_steps, automatic.seed) == (7, 5)


async def test_how_sure_the_model_must_be_counts_only_for_what_nobody_asked_for() -> None:
    engine = ScriptedEngine(["1"], confidence=0.5)
    async with connect(engine, options={"min_confidence": 0.6}) as session:
        session.open("x = \n")
        assert await session.inline(0, 4, trigger=2) == []
        assert "nothing: " in session.log[-1]
        assert len(await session.inline(0, 4, trigger=1)) == 1
    async with connect(engine, options={"min_confidence": 0.4}) as session:
        session.open("x = \n")
        assert len(await session.inline(0, 4, trigger=2)) == 1


class BrokenEngine(ScriptedEngine):
    """An engine that fails."""

    def __init__(self, error: Exception) -> None:
        super().__init__(["1"])
        self.error = error

    def info(self) -> EngineInfo:
        return super().info()

    def denoise(self, request: DenoiseRequest, cancelled: threading.Event) -> Iterator[Step]:
        raise self.error


@pytest.mark.parametrize(
    ("error", "shown"),
    [(EngineError("out of memory"), "out of memory"), (ZeroDivisionError("user code"), "ZeroDivisionError")],
)
async def test_a_failing_engine_is_shown_once_and_answers_stay_empty(error: Exception, shown: str) -> None:
    async with connect(BrokenEngine(error)) as session:
        session.open("x = \n")
        assert [await session.inline(0, 4) for _ in range(3)] == [[], [], []]
    assert len(session.shown) == 1
    assert shown in session.shown[0]
    assert "user code" not in session.shown[0]
