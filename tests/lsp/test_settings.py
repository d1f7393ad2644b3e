"""The client's settings: what is read, and what is said about the rest."""

from __future__ import annotations

import asyncio
import math
from dataclasses import asdict, fields

import pytest

from lsp.settings import Settings, read_settings
from tests.fakes.engine import ScriptedEngine
from tests.lsp.session import Session, connect


def test_every_setting_is_read() -> None:
    given = {
        "model": "dir",
        "deadline_ms": 250,
        "max_steps": 8,
        "seed": 3,
        "min_confidence": 0.5,
        "automatic": False,
        "disabled_languages": ["markdown"],
        "debounce_ms": 0,
        "max_lines": 2,
        "alternatives": 5,
        "prefetch": False,
        "popup": "always",
        "popup_deadline_ms": 100,
        "canvas": True,
        "diagnostics": True,
    }
    assert given.keys() == {field.name for field in fields(Settings)}
    settings, problems = read_settings(given)
    assert ({**asdict(settings), "disabled_languages": ["markdown"]}, problems) == (given, [])
    assert settings.disabled_languages == ("markdown",)


@pytest.mark.parametrize("options", [None, {}, {"model": None, "seed": None}])
def test_nothing_given_means_the_defaults(options: object) -> None:
    assert read_settings(options) == (Settings(), [])


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("model", ""),
        ("model", 7),
        ("deadline_ms", 0),
        ("deadline_ms", -1),
        ("deadline_ms", "1000"),
        ("deadline_ms", math.inf),
        ("deadline_ms", math.nan),
        ("deadline_ms", True),
        ("max_steps", 0),
        ("max_steps", 1.5),
        ("seed", -1),
        ("seed", True),
        ("seed", [1]),
        ("min_confidence", -0.1),
        ("min_confidence", 1.01),
        ("min_confidence", math.nan),
        ("min_confidence", True),
        ("min_confidence", "0.5"),
        ("automatic", 1),
        ("disabled_languages", "python"),
        ("disabled_languages", [1]),
        ("debounce_ms", -1),
        ("alternatives", 9),
        ("popup", "sometimes"),
    ],
)
def test_a_bad_value_falls_back_and_is_named(name: str, value: object) -> None:
    settings, problems = read_settings({name: value, "max_steps" if name != "max_steps" else "seed": 4})
    assert getattr(settings, name) == getattr(Settings(), name)
    assert 4 in (settings.max_steps, settings.seed)
    assert len(problems) == 1
    assert repr(name) in problems[0]


def test_settings_made_in_code_are_checked() -> None:
    with pytest.raises(ValueError, match="max_steps should be a whole number"):
        Settings(max_steps=0)


@pytest.mark.parametrize("options", [[], "text", 7])
def test_options_of_another_shape_fall_back(options: object) -> None:
    settings, problems = read_settings(options)
    assert settings == Settings()
    assert len(problems) == 1


async def test_the_user_is_told_and_the_server_works() -> None:
    async with connect(options={"max_step": 3, "deadline_ms": "soon"}) as session:
        session.open("x = ")
        assert len(await session.inline(0, 4)) == 1
    assert len(session.shown) == 2
    assert "'max_step'" in session.shown[0]
    assert "'deadline_ms'" in session.shown[1]


CONFIGURABLE = {"workspace": {"configuration": True, "didChangeConfiguration": {"dynamicRegistration": True}}}


async def answer_configuration(session: Session, section: object, after: int = 0) -> None:
    """Answer the server's next question for the configuration."""
    asked = await session.until(
        lambda m: m.get("method") == "workspace/configuration" and m in session.received[after:]
    )
    assert asked["params"]["items"] == [{"section": "infill"}]
    session.send({"id": asked["id"], "result": [section]})


async def test_the_configuration_is_asked_for_and_its_changes_are_taken() -> None:
    engine = ScriptedEngine(["1"])
    async with connect(
        engine, capabilities=CONFIGURABLE, options={"seed": 5, "max_steps": 7}, initialize=False
    ) as session:
        shaken = asyncio.ensure_future(session.initialize())
        await answer_configuration(session, {"seed": 6, "wrong": 1})
        await shaken
        registered = await session.until(lambda m: m.get("method") == "client/registerCapability")
        session.send({"id": registered["id"], "result": None})
        session.open("x = \n")
        await session.inline(0, 4)
        seen = len(session.received)
        session.notify("workspace/didChangeConfiguration", {"settings": None})
        await answer_configuration(session, {"automatic": False}, seen)
        await session.until(lambda m: m.get("params", {}).get("state") == "off")
        assert await session.inline(0, 4) == []
    assert (engine.requests[0].seed, engine.requests[0].max_steps) == (6, 7)
    assert registered["params"]["registrations"][0]["method"] == "workspace/didChangeConfiguration"
    assert len(session.shown) == 1
    assert "'wrong'" in session.shown[0]


async def test_what_is_null_in_the_configuration_is_taken_back() -> None:
    async with connect(options={"automatic": False, "seed": 5}) as session:
        settings = {"infill": {"automatic": None, "of_a_later_version": None}}
        session.notify("workspace/didChangeConfiguration", {"settings": settings})
        session.open("x = \n")
        assert len(await session.inline(0, 4)) == 1
        assert session.server.settings.seed == 5
    assert session.shown == []


async def test_a_client_that_cannot_be_asked_sends_the_section() -> None:
    async with connect() as session:
        session.notify("workspace/didChangeConfiguration", {"settings": {"infill": {"automatic": False}}})
        session.notify("workspace/didChangeConfiguration", {"settings": {"other": 1}})
        session.notify("workspace/didChangeConfiguration", {"settings": {"infill": 3}})
        session.open("x = \n")
        assert len(await session.inline(0, 4)) == 1  # what is no object leaves the defaults
    assert ["should be an object" in text for text in session.shown] == [True]


async def test_another_model_is_loaded_when_the_configuration_names_one() -> None:
    models: list[str | None] = []

    def load(model: str | None, on_progress: object) -> ScriptedEngine:
        models.append(model)
        return ScriptedEngine(["1"])

    async with connect(load) as session:
        session.notify("workspace/didChangeConfiguration", {"settings": {"infill": {"model": "dir"}}})
        session.open("x = \n")
        assert len(await session.inline(0, 4, trigger=1)) == 1
    assert models == [None, "dir"]


async def test_what_is_logged_is_traced_once_the_client_wants_it() -> None:
    async with connect() as session:
        session.open("x = \n")
        await session.inline(0, 4)
        assert session.texts("$/logTrace") == []
        session.notify("$/setTrace", {"value": "verbose"})
        await session.inline(0, 4)
        assert session.texts("$/logTrace") == [session.log[-1]]
