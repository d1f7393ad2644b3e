"""The client's settings: what is read, and what is said about the rest."""

from __future__ import annotations

import math
from dataclasses import asdict, fields

import pytest

from lsp.settings import Settings, read_settings
from tests.lsp.session import connect


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
