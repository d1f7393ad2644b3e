"""`infill.toml`: what is read, and what is said about the rest."""

from __future__ import annotations

import pytest

from infill.project_config import ProjectConfig, Switches, read_project_config

ALLOWED = ("seed", "max_steps")


def test_settings_and_switches_are_read() -> None:
    text = b'seed = 3\n[languages]\ngo = false\n[paths]\n"vendor/" = false\n'
    config, problems = read_project_config(text, ALLOWED)
    assert problems == []
    assert config == ProjectConfig(
        settings={"seed": 3}, switches=Switches(languages={"go": False}, paths={"vendor/": False})
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("sed = 3\n", "unknown key 'sed' in infill.toml; there are seed, max_steps, languages, paths"),
        ("model = 'x'\n", "unknown key 'model'"),
        ("seed = \n", "infill.toml cannot be read"),
        ("languages = 3\n", "'languages' in infill.toml should be a table of switches"),
        ("[languages]\ngo = 'no'\n", "'go' under 'languages' in infill.toml should be true or false"),
        ("[paths]\n'!a' = false\n", "'!a' under 'paths' in infill.toml is not a pattern"),
        ("[paths]\n'' = false\n", "'' under 'paths' in infill.toml is not a pattern"),
    ],
)
def test_what_is_wrong_is_named_and_the_rest_counts(text: str, said: str) -> None:
    config, problems = read_project_config(text.encode(), ALLOWED)
    assert len(problems) == 1
    assert said in problems[0]
    assert not config.settings
    assert config.switches == Switches()


def test_bytes_that_are_no_text() -> None:
    assert len(read_project_config(b"\xff\xfe", ALLOWED)[1]) == 1


@pytest.mark.parametrize(
    ("languages", "paths", "language", "path", "off"),
    [
        ({}, {}, "python", "a.py", None),
        ({"python": False}, {}, "python", "a.py", "python"),
        ({"*": False}, {}, "python", "a.py", "python"),
        ({"*": False, "python": True}, {}, "python", "a.py", None),
        ({}, {"vendor/": False}, "python", "vendor/x/a.py", "vendor/"),
        ({}, {"vendor/": False, "vendor/ours/": True}, "python", "vendor/ours/a.py", None),
        ({}, {"vendor/ours/": True, "vendor/": False}, "python", "vendor/ours/a.py", "vendor/"),
        ({}, {"*": False}, "python", "", None),  # no file of the project
        ({"python": False}, {"*": True}, "python", "a.py", "python"),
    ],
)
def test_switches(
    languages: dict[str, bool], paths: dict[str, bool], language: str, path: str, off: str | None
) -> None:
    why = Switches(languages=languages, paths=paths).why_off(language, path)
    assert why == (None if off is None else f"suggestions are switched off for {off}")


def test_later_switches_count_more() -> None:
    both = Switches(languages={"go": False}, paths={"a/": True, "b/": False}).then(
        Switches(languages={"go": True}, paths={"a/": False})
    )
    assert both.languages == {"go": True}
    assert list(both.paths.items()) == [("b/", False), ("a/", False)]
