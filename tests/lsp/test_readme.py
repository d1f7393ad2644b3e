"""The README says of the settings and the exit codes what the code says."""

from __future__ import annotations

import json
import re
from pathlib import Path

from lsp.commands import errors, settings
from lsp.settings import Settings, read_settings

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_settings_in_the_readme_have_the_defaults_it_says() -> None:
    """It lists the most important ones; docs/settings.md has them all."""
    block = README.partition("<!-- settings")[2].partition("<!-- end -->")[0]
    rows = re.findall(r"^\| `(\w+)` \| (\S+) \|", block, re.MULTILINE)
    table = re.findall(r"^\| `(\w+)` \| (\S+) \|", settings.markdown(), re.MULTILINE)
    assert rows
    assert set(rows) <= set(table)


def test_the_page_of_settings_and_their_schema_are_up_to_date() -> None:
    """`infill settings --markdown` and `--json-schema` write them."""
    assert (DOCS / "settings.md").read_text(encoding="utf-8") == settings.markdown()
    assert (DOCS / "settings.schema.json").read_text(encoding="utf-8") == settings.json_schema()


def test_the_schema_s_defaults_are_accepted() -> None:
    schema = json.loads(settings.json_schema())
    options = {name: one["default"] for name, one in schema["properties"].items()}
    assert read_settings(options) == (Settings(), [])


def test_the_exit_codes_are_those_of_the_program() -> None:
    block = README.partition("## Exit codes")[2].partition("\n## ")[0].replace("`", "")
    documented = dict(re.findall(r"^\| (\d+) \| (.*) \|$", block, re.MULTILINE))
    said = re.findall(r"^  (\d+) +(.*(?:\n {7}.*)*)", errors.EXIT_CODES_HELP, re.MULTILINE)
    assert documented == {code: " ".join(meaning.split()) for code, meaning in said}
    assert {int(code) for code in documented} == {int(code) for code in errors.Exit}
