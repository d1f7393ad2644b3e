"""The README says of the settings and the exit codes what the code says."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

from lsp.commands import errors
from lsp.settings import Settings

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")


def test_the_settings_table_lists_every_setting_with_its_default() -> None:
    block = README.partition("<!-- settings")[2].partition("<!-- end -->")[0]
    rows = re.findall(r"^\| `(\w+)` \| (\S+) \|", block, re.MULTILINE)
    expected = [
        (field.name, "none" if field.default is None else f"{field.default:g}") for field in fields(Settings)
    ]
    assert rows == expected


def test_the_exit_codes_are_those_of_the_program() -> None:
    block = README.partition("## Exit codes")[2].partition("\n## ")[0]
    documented = {int(code) for code in re.findall(r"^\| (\d+) \|", block, re.MULTILINE)}
    assert documented == {int(code) for code in errors.Exit}
