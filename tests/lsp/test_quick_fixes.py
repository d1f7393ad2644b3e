"""Quick fixes and pull diagnostics over the protocol, with a scripted engine."""

from __future__ import annotations

import asyncio
import sys
import threading
from dataclasses import fields, replace
from pathlib import Path
from typing import ClassVar, Never

import pytest

from engine.errors import EngineUnavailable
from engine.request import Reading, ReadRequest
from lsp.checker import Checker
from tests.fakes.engine import ScriptedEngine
from tests.lsp.session import URI, Json, Session, connect

BUGGY = "def total(items):\n    result = 0\n    result += 1\n    return reslt\n"
PLACE = {"start": {"line": 3, "character": 11}, "end": {"line": 3, "character": 16}}
THEIRS = {"range": PLACE, "message": "undefined name 'reslt'", "source": "pyflakes", "severity": 1}
VERSIONED = {"workspace": {"workspaceEdit": {"documentChanges": True}}}


def engine() -> ScriptedEngine:
    """An engine that would rather read `result`."""
    return ScriptedEngine(
        ["x"],
        doubts={"reslt": ("result", 0.9)},
        score=lambda middle: -0.1 if "return result" in middle else -6.0,
    )


async def quick_fixes(session: Session, *diagnostics: Json) -> list[Json]:
    answer = await session.request(
        "textDocument/codeAction",
        {
            "textDocument": {"uri": URI},
            "range": PLACE,
            "context": {"diagnostics": list(diagnostics), "only": ["quickfix"]},
        },
    )
    found: list[Json] = answer["result"]
    return found


async def pulled(session: Session) -> list[Json]:
    answer = await session.request("textDocument/diagnostic", {"textDocument": {"uri": URI}})
    items: list[Json] = answer["result"]["items"]
    return items


async def test_a_diagnostic_of_another_tool_is_fixed_once_it_is_chosen() -> None:
    scripted = engine()
    async with connect(scripted, capabilities=VERSIONED) as session:
        session.open(BUGGY)
        [best, other] = await quick_fixes(session, THEIRS)
        assert best["title"] == "Fix `reslt` with Infill"
        assert "edit" not in best
        assert (scripted.requests, scripted.scored) == ([], [])
        resolved = (await session.request("codeAction/resolve", best))["result"]
        second = (await session.request("codeAction/resolve", other))["result"]
    assert resolved["title"] == "Replace `reslt` with `result`"
    [change] = resolved["edit"]["documentChanges"]
    assert change["textDocument"]["version"] == 1
    assert change["edits"] == [{"range": PLACE, "newText": "result"}]
    assert second["edit"]["documentChanges"][0]["edits"][0]["newText"] != "result"


async def test_a_fix_for_an_older_text_has_no_edit() -> None:
    async with connect(engine()) as session:
        session.open(BUGGY)
        [action, _] = await quick_fixes(session, THEIRS)
        session.change(2, {"text": "\n" + BUGGY})
        answer = (await session.request("codeAction/resolve", action))["result"]
    assert "edit" not in answer
    assert answer["disabled"]["reason"]


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (None, "the model has no fix for this"),
        (EngineUnavailable("the engine is gone"), "the engine is gone"),
        (ZeroDivisionError("why"), "internal error (ZeroDivisionError); the log has the details"),
    ],
)
async def test_a_fix_there_is_not_says_so_every_time(error: Exception | None, reason: str) -> None:
    scripted = ScriptedEngine(["1"])  # which is what stands there

    def failing(*_: object) -> Never:
        raise error or AssertionError

    async with connect(scripted) as session:
        session.open("x = 1\n")
        where = {"start": {"line": 0, "character": 4}, "end": {"line": 0, "character": 5}}
        [action, _] = await quick_fixes(session, {**THEIRS, "range": where, "message": "wrong"})
        if error is not None:
            scripted.denoise = failing  # type: ignore[method-assign]
        for _ in range(2):
            assert (await session.request("codeAction/resolve", action))["result"]["disabled"]
    assert session.shown == [f"Infill: Fix `1` with Infill: {reason}"] * 2


async def test_nothing_is_offered_where_nothing_is_wrong() -> None:
    async with connect(engine()) as session:
        session.open(BUGGY)
        assert await quick_fixes(session) == []


async def test_doubts_are_hints_that_bring_their_swap_along() -> None:
    async with connect(engine(), options={"diagnostics": True}) as session:
        session.open(BUGGY)
        [hint] = await pulled(session)
        [action] = await quick_fixes(session, hint)
    assert (hint["severity"], hint["source"], hint["code"]) == (4, "infill", "misspelt")
    assert hint["range"] == PLACE
    assert hint["message"].startswith("Replace `reslt` with `result`?")
    assert action["title"] == "Replace `reslt` with `result`"
    assert action["edit"]["changes"][URI] == [{"range": PLACE, "newText": "result"}]


async def test_a_hint_that_no_longer_fits_the_text_is_no_swap() -> None:
    async with connect(engine(), options={"diagnostics": True}) as session:
        session.open(BUGGY)
        [hint] = await pulled(session)
        session.change(2, {"text": BUGGY.replace("reslt", "other")})
        found = await quick_fixes(session, hint)
    assert all("edit" not in action for action in found)


async def test_who_types_does_not_wait_for_a_text_to_be_read() -> None:
    class Slow(ScriptedEngine):
        held, reading = threading.Event(), threading.Event()

        def read(self, request: ReadRequest, cancelled: threading.Event) -> tuple[Reading, ...]:
            self.reading.set()
            assert self.held.wait(30)
            return super().read(request, cancelled)

    slow = Slow(["value"])
    async with connect(slow, options={"diagnostics": True}) as session:
        session.open(BUGGY)
        pull = session.ask("textDocument/diagnostic", {"textDocument": {"uri": URI}})
        while not slow.reading.is_set():
            await asyncio.sleep(0.01)
        [item] = await session.inline(3, 11, trigger=1)
        assert item["insertText"].strip() == "value"
        slow.held.set()
        await session.answer_to(pull)


async def test_a_change_ends_the_reading_of_the_text_as_it_was() -> None:
    class Waits(ScriptedEngine):
        told: ClassVar[list[threading.Event]] = []

        def read(self, request: ReadRequest, cancelled: threading.Event) -> tuple[Reading, ...]:
            self.told.append(cancelled)
            cancelled.wait(30)
            return ()

    waits = Waits(["x"])
    async with connect(waits, options={"diagnostics": True}) as session:
        session.open(BUGGY)
        pull = session.ask("textDocument/diagnostic", {"textDocument": {"uri": URI}})
        while not waits.told:
            await asyncio.sleep(0.01)
        session.change(2, {"text": BUGGY + "\n"})
        assert (await session.answer_to(pull))["result"]["items"] == []
        assert waits.told[0].is_set()


async def test_hints_are_off_unless_they_are_asked_for() -> None:
    scripted = engine()
    async with connect(scripted) as session:
        session.open(BUGGY)
        assert await pulled(session) == []
    assert scripted.read_requests == []


REFRESHES = {"workspace": {"diagnostics": {"refreshSupport": True}}}


async def refreshed(session: Session, times: int) -> None:
    """Wait until the client was asked so often to pull again, and agree the last time."""

    def asked() -> list[Json]:
        return [m for m in session.received if m.get("method") == "workspace/diagnostic/refresh"]

    await session.until(lambda _: len(asked()) == times)
    session.send({"id": asked()[-1]["id"], "result": None})


async def test_hints_are_pulled_again_once_the_model_is_there_and_as_they_are_switched() -> None:
    gate = threading.Event()

    def load(model: str | None, on_progress: object) -> ScriptedEngine:
        gate.wait(10)
        return engine()

    connected = connect(load, capabilities=REFRESHES, options={"diagnostics": True}, initialize=False)
    async with connected as session:
        shaken = asyncio.ensure_future(session.initialize())
        await session.until(lambda m: "result" in m)
        session.open(BUGGY)
        assert await pulled(session) == []
        gate.set()
        await refreshed(session, 1)
        await shaken
        assert len(await pulled(session)) == 1
        for times, on in ((2, False), (3, True)):
            settings = {"infill": {"diagnostics": on}}
            session.notify("workspace/didChangeConfiguration", {"settings": settings})
            await refreshed(session, times)
            assert len(await pulled(session)) == on


async def test_no_client_is_asked_to_pull_that_does_not_offer_it_or_has_no_hints() -> None:
    for capabilities, options in (({}, {"diagnostics": True}), (REFRESHES, {})):
        async with connect(engine(), capabilities=capabilities, options=options) as session:
            session.open(BUGGY)
            await pulled(session)
        assert not any(m.get("method") == "workspace/diagnostic/refresh" for m in session.received)


async def test_an_unchanged_text_is_read_once_and_a_changed_one_again() -> None:
    scripted = engine()
    async with connect(scripted, options={"diagnostics": True}) as session:
        session.open(BUGGY)
        first = await pulled(session)
        reads = len(scripted.read_requests)
        assert await pulled(session) == first
        assert len(scripted.read_requests) == reads
        session.change(2, {"text": BUGGY.replace("reslt", "result")})
        await asyncio.sleep(0)
        assert await pulled(session) == []
        assert len(scripted.read_requests) > reads


async def test_another_model_reads_an_unchanged_text_again() -> None:
    scripted = engine()
    async with connect(scripted, options={"diagnostics": True}) as session:
        session.open(BUGGY)
        await pulled(session)
        reads = len(scripted.read_requests)
        scripted._info = replace(scripted.info(), model="another")
        await pulled(session)
        assert len(scripted.read_requests) == 2 * reads


async def test_capabilities_say_so() -> None:
    async with connect(engine()) as session:
        capabilities = session.received[0]["result"]["capabilities"]
    assert capabilities["diagnosticProvider"]["identifier"] == "infill"
    assert "quickfix" in capabilities["codeActionProvider"]["codeActionKinds"]


RUFF = f"{sys.executable} -m ruff check --isolated --output-format json --stdin-filename {{file}} -"
PICKY = """\
import sys
for number, line in enumerate(sys.stdin.read().split("\\n"), 1):
    if "return" in line and "items" not in line:
        print(f"{sys.argv[1]}:{number}:1: undefined name 'reslt'")
"""
"""It wants no name of the function but one there."""


async def checked(command: str, text: str = BUGGY) -> list[Json]:
    """The resolved actions for the bug where the user's checker is a command."""
    async with connect(engine(), capabilities=VERSIONED) as session:
        session.server.options = replace(session.server.options, checker=Checker.parse(command))
        session.open(text)
        actions = await quick_fixes(session, THEIRS)
        return [(await session.request("codeAction/resolve", action))["result"] for action in actions]


async def test_only_what_the_users_checker_agrees_with_is_offered(tmp_path: Path) -> None:
    [best, other] = await checked(RUFF)  # to which one name is as good as another
    assert best["title"] == "Replace `reslt` with `result`"
    assert "edit" in other
    (tmp_path / "picky.py").write_text(PICKY)
    [best, other] = await checked(f"{sys.executable} {tmp_path / 'picky.py'} {{file}}")
    assert best["title"] == "Replace `reslt` with `items`"
    assert "edit" not in other


async def test_a_checker_that_fails_is_said_in_the_action() -> None:
    [best, _] = await checked("no-such-checker")
    assert "cannot be run" in str(best.get("disabled", best["title"]))
    assert "edit" not in best


async def test_no_setting_names_a_checker() -> None:
    options = {"checker": "touch /nowhere"}
    async with connect(engine(), capabilities=VERSIONED, options=options) as session:
        assert session.server.options.checker is None
        assert "checker" not in {field.name for field in fields(session.server.settings)}
