"""Ghost text while the user types: along a suggestion, against it, and what they do with it."""

from __future__ import annotations

import asyncio
import threading

import pytest

from engine.audience import Fate
from engine.request import Segment, Stop
from lsp.restraint import Pace
from lsp.settings import Settings
from tests.fakes.engine import ScriptedEngine
from tests.lsp.session import URI, Json, Session, connect


def insertion(line: int, column: int, text: str) -> Json:
    at = {"line": line, "character": column}
    return {"range": {"start": at, "end": at}, "text": text}


async def run(session: Session, command: str, *arguments: object) -> object:
    answer = await session.request(
        "workspace/executeCommand", {"command": command, "arguments": list(arguments)}
    )
    return answer["result"]


def texts(items: list[Json]) -> list[str]:
    return [item["insertText"] for item in items]


async def test_typing_along_is_answered_from_memory() -> None:
    engine = ScriptedEngine(["value + 1"])
    async with connect(engine) as session:
        session.open("x = \n")
        assert texts(await session.inline(0, 4)) == [" value + 1"]
        for version, (column, char) in enumerate([(4, "v"), (5, "a"), (6, "l")], 2):
            session.change(version, insertion(0, column, char))
            [item] = await session.inline(0, column + 1)
            assert item["insertText"] == " value + 1"
            assert item["range"]["end"]["character"] == column + 1
        assert len(engine.requests) == 1
        assert "from memory" in session.log[-1]
        session.change(9, insertion(0, 0, "y"))  # elsewhere
        await session.inline(0, 8)
    assert len(engine.requests) == 2


async def test_typing_against_pins_what_was_typed_and_keeps_the_rest_under_noise() -> None:
    engine = ScriptedEngine(["foo(a, b)", "r", "(a, c)"])
    async with connect(engine) as session:
        session.open("x = \n")
        await session.inline(0, 4)
        session.change(2, insertion(0, 4, "ba"))
        assert texts(await session.inline(0, 6)) == [" bar(a, c)"]
    [layout] = engine.requests[1].layouts
    assert layout[:2] == (Segment(text=" ba"), Segment(free_tokens=2))
    assert layout[2].text == "(a, b)"
    assert 0 < layout[2].noise < 1


async def test_where_the_warm_start_comes_to_nothing_a_fresh_canvas_is_tried() -> None:
    engine = ScriptedEngine(["foo(a, b)", "r", "(((", "baz"])
    async with connect(engine) as session:
        session.open("x = \n")
        await session.inline(0, 4)
        session.change(2, insertion(0, 4, "ba"))
        items = await session.inline(0, 6)
    assert texts(items) == [" babaz"]
    assert [bool(r.layouts) for r in engine.requests] == [False, True, False]


async def test_who_asks_with_a_key_gets_alternatives_and_others_one() -> None:
    engine = ScriptedEngine(["a", "b", "c", "d"])
    async with connect(engine) as session:
        session.open("x = \n")
        assert texts(await session.inline(0, 4, trigger=1)) == [" a", " b", " c"]
        assert len(engine.requests) == 1
        assert engine.requests[0].candidates == 3
        assert texts(await session.inline(0, 4, trigger=1)) == [" a", " b", " c"]  # from memory
        assert texts(await session.inline(0, 4, trigger=2)) == [" a"]
        assert len(engine.requests) == 1


async def test_canvases_of_other_lengths_bring_what_one_batch_lacks() -> None:
    engine = ScriptedEngine(["a", "a", "a", "b", "a", "c"])
    async with connect(engine) as session:
        session.open("def f():\n    \n")
        assert texts(await session.inline(1, 4, trigger=1)) == ["a", "b", "c"]
    assert [r.canvas_tokens for r in engine.requests] == [64, 128]


async def test_a_suggestion_is_cut_to_the_lines_the_user_wants() -> None:
    engine = ScriptedEngine(["a = 1\n    b = 2\n    c = 3\n"])
    async with connect(engine, options={"max_lines": 2}) as session:
        session.open("def f():\n    \n")
        assert texts(await session.inline(1, 4)) == ["a = 1\n    b = 2"]


class Asking(ScriptedEngine):
    """Wants to know what becomes of its suggestions, as the shared engine does."""

    def __init__(self, middles: list[str]) -> None:
        super().__init__(middles)
        self.fates: list[Fate] = []

    def tell(self, fate: Fate) -> None:
        """Note it."""
        self.fates.append(fate)


async def test_what_becomes_of_a_suggestion_reaches_the_server_and_the_engine() -> None:
    engine = Asking(["value"])
    async with connect(engine, options={"prefetch": False}) as session:
        session.open("x = \n")
        [item] = await session.inline(0, 4)
        session.notify("textDocument/didShowCompletion", {"item": item})
        session.notify("textDocument/didPartiallyAcceptCompletion", {"item": item, "acceptedLength": 2})
        await run(session, item["command"]["command"], *item["command"]["arguments"])
        await run(session, item["command"]["command"], *item["command"]["arguments"])  # only once
        status = await run(session, "infill.status")
    assert isinstance(status, dict)
    assert status["state"] == "ready"
    assert status["model"] == "scripted"
    names = ("offered", "shown", "partiallyAccepted", "accepted", "acceptedChars", "rejected")
    assert [status[name] for name in names] == [1, 1, 1, 1, 7, 0]
    assert status["p50Ms"] > 0
    assert engine.fates == [Fate.OFFERED, Fate.SHOWN, Fate.PARTLY_ACCEPTED, Fate.ACCEPTED]


@pytest.mark.parametrize("item", [None, {}, {"command": 3}, {"command": {"arguments": [7]}}, "x"])
async def test_a_broken_item_does_no_harm(item: object) -> None:
    async with connect() as session:
        session.open("x = ")
        session.notify("textDocument/didShowCompletion", {"item": item})
        session.notify("textDocument/didPartiallyAcceptCompletion", {"item": item})
        await run(session, "infill.accepted", item)
        assert len(await session.inline(0, 4)) == 1
    assert session.shown == []


async def test_a_dismissed_suggestion_is_not_shown_again_unless_asked_for() -> None:
    engine = Asking(["value"])
    async with connect(engine) as session:
        session.open("x = \n")
        [item] = await session.inline(0, 4)
        await run(session, "infill.rejected", *item["command"]["arguments"])
        assert engine.fates == [Fate.OFFERED, Fate.REJECTED]
        assert await session.inline(0, 4) == []
        assert "dismissed" in session.log[-1]
        assert len(await session.inline(0, 4, trigger=1)) == 1


async def test_after_an_accept_the_next_places_are_worked_out() -> None:
    engine = ScriptedEngine(["value", "[0]", "y = 1"])
    async with connect(engine) as session:
        session.open("x = \n")
        [item] = await session.inline(0, 4)
        session.change(2, insertion(0, 4, "value"))
        await run(session, "infill.accepted", *item["command"]["arguments"])
        [here] = await session.inline(0, 9)  # joins what is being worked on
        assert here["insertText"].endswith("value[0]")
        async with asyncio.timeout(5):
            while session.server.status.counts.prefetched < 2:
                await asyncio.sleep(0)
        states = [m["params"]["state"] for m in session.received if m.get("method") == "infill/status"]
        assert states[-1] == "ready"
        session.change(3, insertion(0, 9, "\n"))
        assert texts(await session.inline(1, 0)) == ["y = 1"]
    assert len(engine.requests) == 3
    assert engine.requests[1].prompt.typed == " value"


async def test_a_request_for_something_else_ends_prefetching() -> None:
    gate = threading.Event()
    gate.set()
    engine = ScriptedEngine(["value"], gate=gate)
    async with connect(engine) as session:
        session.open("x = \n")
        [item] = await session.inline(0, 4)
        gate.clear()
        await run(session, "infill.accepted", *item["command"]["arguments"])
        async with asyncio.timeout(30):
            while len(engine.requests) < 2:  # what was never begun is not ended either
                await asyncio.sleep(0)
        session.change(2, insertion(0, 0, "abc"))
        asked = session.ask_inline(0, 7)
        async with asyncio.timeout(30):
            while len(engine.requests) < 3 and Stop.CANCELLED not in engine.stops:
                await asyncio.sleep(0)
        gate.set()
        assert len((await session.answer_to(asked))["result"]["items"]) == 1
    assert session.server.status.counts.prefetched == 0


@pytest.mark.parametrize(
    ("options", "before", "change", "at", "reason"),
    [
        ({"automatic": False}, "x = \n", None, 4, "switched off"),
        ({"disabled_languages": ["python"]}, "x = \n", None, 4, "switched off for python"),
        ({}, "value\n", None, 3, "inside a word"),
        ({}, "x = ab\n", {"start": 5, "end": 6}, 5, "just deleted"),
    ],
)
async def test_keeping_quiet_unless_asked(
    options: Json, before: str, change: Json | None, at: int, reason: str
) -> None:
    engine = ScriptedEngine(["value"])
    async with connect(engine, options=options) as session:
        session.open(before)
        if change is not None:
            span = {name: {"line": 0, "character": column} for name, column in change.items()}
            session.change(2, {"range": span, "text": ""})
        assert await session.inline(0, at) == []
        assert reason in session.log[-1]
        assert engine.requests == []
        await session.inline(0, at, trigger=1)
        assert engine.requests


async def test_of_two_quick_requests_only_the_second_reaches_the_engine() -> None:
    engine = ScriptedEngine(["1"])
    async with connect(engine, options={"debounce_ms": 50}) as session:
        session.open("x = \n")
        await session.inline(0, 4)  # the first of a pause is not kept waiting
        session.change(2, {"text": "y = \nz = \n"})
        first, second = session.ask_inline(0, 4), session.ask_inline(1, 4)
        assert (await session.answer_to(first))["result"] == {"items": []}
        assert len((await session.answer_to(second))["result"]["items"]) == 1
    assert len(engine.requests) == 2


def test_the_wait_follows_the_measured_latency_and_how_quickly_one_types() -> None:
    now = 100.0
    pace = Pace(lambda: now)
    settings = Settings()
    assert pace.wait_ms("a", settings) == 0  # nothing is known yet
    for ms in (400, 500, 600):
        pace.answered(ms)
    now += 0.1
    assert pace.wait_ms("a", settings) == pytest.approx(150)
    assert pace.wait_ms("b", settings) == 0  # another document's first
    now += 10
    assert pace.wait_ms("a", settings) == 0  # after a pause
    for _ in range(100):
        pace.answered(20)
    assert pace.wait_ms("a", settings) == 0  # too quick to be worth it
    for _ in range(100):
        pace.answered(5000)
    assert pace.wait_ms("a", settings) == 300
    assert pace.wait_ms("a", Settings(debounce_ms=70)) == 70
    assert (pace.percentile_ms(0.5), pace.percentile_ms(1.0)) == (5000, 5000)


async def test_every_request_ends_in_a_status_with_its_reason() -> None:
    async with connect(ScriptedEngine(["", "1"])) as session:
        session.open("x = \n")
        await session.inline(0, 4)
        explained = await run(session, "infill.explainNoSuggestion", {"uri": URI})
        assert explained == {"reason": "the model suggests nothing here", "text": " "}
        await session.inline(0, 4)
        explained = await run(session, "infill.explainNoSuggestion", {"uri": URI})
        assert isinstance(explained, dict)
        assert "with a suggestion" in explained["reason"]
        never = await run(session, "infill.explainNoSuggestion", {"uri": "file:///other.py"})
        assert isinstance(never, dict)
        assert "nothing was asked" in never["reason"]
        states = [m["params"] for m in session.received if m.get("method") == "infill/status"]
    assert [s["state"] for s in states] == ["loading", "ready", "busy", "ready", "busy", "ready"]
    assert [s.get("reason") for s in states[2:]] == [None, "the model suggests nothing here", None, None]
    assert states[-1]["model"] == "scripted"


async def test_a_rejected_text_can_be_seen() -> None:
    async with connect(ScriptedEngine(["(((("])) as session:
        session.open("x = \n")
        assert await session.inline(0, 4) == []
        explained = await run(session, "infill.explainNoSuggestion", {"uri": URI})
        status = await run(session, "infill.status")
    assert explained == {"reason": "it leaves a bracket or a quote unbalanced", "text": " (((("}
    assert isinstance(status, dict)
    assert status["nothing"] == {"it leaves a bracket or a quote unbalanced": 1}


async def test_restarting_the_engine_loads_it_again_and_frees_what_hangs() -> None:
    engines = [ScriptedEngine(["1"], gate=threading.Event()), ScriptedEngine(["2"])]
    loaded: list[ScriptedEngine] = []

    def load(model: str | None, on_progress: object) -> ScriptedEngine:
        loaded.append(engines[len(loaded)])
        return loaded[-1]

    async with connect(load) as session:
        session.open("x = \n")
        hanging = session.ask_inline(0, 4)
        assert await asyncio.to_thread(engines[0].started.wait, 5)
        await run(session, "infill.restartEngine")
        assert (await session.answer_to(hanging))["result"] == {"items": []}
        assert texts(await session.inline(0, 4, trigger=1)) == [" 2"]
    assert len(loaded) == 2


async def test_unknown_and_broken_commands_are_refused() -> None:
    async with connect() as session:
        for command, arguments in (("infill.nothing", []), ("infill.explainNoSuggestion", [])):
            answer = await session.request(
                "workspace/executeCommand", {"command": command, "arguments": arguments}
            )
            assert answer["error"]["code"] == -32602
    assert session.shown == []
