"""Loading the model in the background: progress, failure, and what is imported when."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from engine.errors import EngineError, ModelNotFound
from engine.request import Engine
from lsp.server import new_server
from lsp.session import ServerOptions
from tests.fakes.engine import ScriptedEngine
from tests.lsp.session import Session, connect

KNOWS_PROGRESS = {"window": {"workDoneProgress": True}}


def progress(session: Session) -> list[dict[str, Any]]:
    return [m["params"]["value"] for m in session.received if m.get("method") == "$/progress"]


def load_with_messages(model: str | None, on_progress: Callable[[str], None]) -> Engine:
    on_progress("reading 10%")
    on_progress("reading 90%")
    return ScriptedEngine(["1"])


async def test_progress_is_reported_from_begin_to_end() -> None:
    async with connect(load_with_messages, capabilities=KNOWS_PROGRESS) as session:
        await session.until(lambda m: m.get("params", {}).get("value", {}).get("kind") == "end")
        [created] = [m for m in session.received if m.get("method") == "window/workDoneProgress/create"]
        kinds = [value["kind"] for value in progress(session)]
    assert kinds[0] == "begin"
    assert kinds[-1] == "end"
    assert set(kinds[1:-1]) <= {"report"}
    tokens = {m["params"]["token"] for m in session.received if m.get("method") == "$/progress"}
    assert tokens == {created["params"]["token"]}


async def test_no_progress_for_a_client_that_does_not_know_it() -> None:
    async with connect(load_with_messages) as session:
        session.open("x = ")
        await session.inline(0, 4)
    assert progress(session) == []
    assert not [m for m in session.received if m.get("method") == "window/workDoneProgress/create"]


@pytest.mark.parametrize("answer", [None, {"error": {"code": -32601, "message": "no"}}])
async def test_a_client_that_does_not_grant_progress_still_gets_suggestions(answer: Any) -> None:
    """It never answers, or answers with an error."""

    class Refusing(Session):
        def send(self, message: dict[str, Any]) -> None:
            if "method" in message:
                super().send(message)
            elif answer is not None:
                super().send({"id": message["id"], **answer})

    server = new_server(ServerOptions(), load_with_messages)
    session = Refusing(server, KNOWS_PROGRESS, None)
    await session.initialize()
    session.open("x = ")
    assert len(await session.inline(0, 4)) == 1
    server.worker.close()
    assert progress(session) == []


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (ModelNotFound("no model at /nowhere"), "the model cannot be loaded: no model at /nowhere"),
        (RuntimeError("boom"), "the model cannot be loaded: RuntimeError: boom"),
    ],
)
async def test_a_model_that_cannot_be_loaded_is_shown_once_and_the_server_stays(
    error: Exception, expected: str
) -> None:
    def load(model: str | None, on_progress: object) -> Engine:
        raise error

    async with connect(load, capabilities=KNOWS_PROGRESS) as session:
        session.open("x = ")
        assert [await session.inline(0, 4, trigger=1) for _ in range(3)] == [[], [], []]
        await session.until(lambda m: m.get("params", {}).get("value", {}).get("kind") == "end")
        assert progress(session)[-1]["message"] == expected
        assert "result" in await session.request("shutdown")
    assert session.shown == [f"Infill: {expected}"]
    assert expected in session.log[-1]


async def test_the_client_s_model_goes_before_the_command_line_s() -> None:
    asked: list[str | None] = []

    def load(model: str | None, on_progress: object) -> Engine:
        asked.append(model)
        raise EngineError("enough")

    for options in (None, {"model": "theirs"}):
        session = Session(new_server(ServerOptions(model="ours"), load), {}, options)
        await session.initialize()
        session.server.worker.close()
    assert asked == ["ours", "theirs"]


def test_the_server_does_not_import_torch() -> None:
    code = "import sys, lsp.server; sys.exit('torch' in sys.modules or 'transformers' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
