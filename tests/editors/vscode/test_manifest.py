"""What the VS Code extension's manifest promises, against the server and the extension's sources.

None of this needs Node; the extension itself is tested in a real VS Code by `make test-editors-vscode`.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from infill.code.languages import LANGUAGES
from lsp.commands.settings import json_schema
from lsp.editor_commands import COMMANDS

ROOT = Path(__file__).parents[3]
EXTENSION = ROOT / "editors" / "vscode"


@pytest.fixture(scope="module")
def manifest() -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((EXTENSION / "package.json").read_text(encoding="utf-8"))
    return loaded


def source(name: str) -> str:
    return (EXTENSION / "src" / f"{name}.ts").read_text(encoding="utf-8")


def commands_of(manifest: dict[str, Any]) -> set[str]:
    return {command["command"] for command in manifest["contributes"]["commands"]}


def test_the_servers_settings_are_offered_as_the_server_has_them(manifest: dict[str, Any]) -> None:
    (section,) = [one for one in manifest["contributes"]["configuration"] if one["title"] == "Server"]
    expected = json.loads(json_schema())["properties"]
    assert list(section["properties"]) == [f"infill.{name}" for name in expected]
    for name, schema in expected.items():
        offered = section["properties"][f"infill.{name}"]
        if schema["type"] == ["string", "null"]:
            # VS Code's settings editor cannot edit those; the extension sends null for the empty text.
            assert (offered["type"], offered["default"]) == ("string", "")
            continue
        assert {key: offered[key] for key in schema if key != "description"} == {
            key: value for key, value in schema.items() if key != "description"
        }


def test_every_command_offered_is_registered(manifest: dict[str, Any]) -> None:
    registered = set(re.findall(r'^    "(infill\.[\w.]+)": ', source("commands"), re.MULTILINE))
    assert commands_of(manifest) == registered


def test_no_command_has_the_name_of_one_of_the_servers(manifest: dict[str, Any]) -> None:
    # The language client registers the server's under their own names, and a name can be taken once.
    assert commands_of(manifest).isdisjoint(COMMANDS)


def test_every_language_with_a_grammar_wakes_the_extension(manifest: dict[str, Any]) -> None:
    languages = {f"onLanguage:{language}" for language in LANGUAGES}
    assert set(manifest["activationEvents"]) == languages


def test_a_workspace_nobody_trusts_cannot_choose_what_runs(manifest: dict[str, Any]) -> None:
    trust = manifest["capabilities"]["untrustedWorkspaces"]
    assert trust["supported"] == "limited"
    assert {"infill.path", "infill.model", "infill.log_level"} <= set(trust["restrictedConfigurations"])


def test_every_key_is_bound_under_a_condition(manifest: dict[str, Any]) -> None:
    shown = ("inlineSuggestionVisible", "infill.previewing")
    for binding in manifest["contributes"]["keybindings"]:
        if binding["command"] == "editor.action.inlineSuggest.trigger":
            assert binding["key"] == "alt+\\"  # bound to nothing by VS Code itself
        else:
            assert any(word in binding["when"].split(" && ") for word in shown)
