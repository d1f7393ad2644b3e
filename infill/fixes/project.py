"""What a project wants checked: the table `check` of its `infill.toml`.

    [check]
    threshold = 12     # nats of evidence, see `infill.fixes.suspicious`
    operator = false   # a kind that is not wanted

It looks at nothing else in the file.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass

from infill.fixes.suspicious import KINDS, THRESHOLD


@dataclass(frozen=True, kw_only=True)
class CheckConfig:
    """What is looked for, and how much evidence it takes."""

    kinds: tuple[str, ...] = KINDS
    threshold: float = THRESHOLD


def read_check_config(data: bytes) -> tuple[CheckConfig, list[str]]:
    """The table in an `infill.toml`, and one sentence for each thing that is wrong with it."""
    try:
        table = tomllib.loads(data.decode("utf-8-sig")).get("check", {})
    except (ValueError, RecursionError) as error:
        return CheckConfig(), [f"infill.toml cannot be read: {error}"]
    if not isinstance(table, Mapping):
        return CheckConfig(), ["'check' in infill.toml should be a table"]
    problems = []
    threshold, off = THRESHOLD, set()
    for name, value in table.items():
        if name == "threshold" and isinstance(value, int | float) and not isinstance(value, bool):
            threshold = float(value)
        elif name in KINDS and isinstance(value, bool):
            off |= set() if value else {name}
        else:
            problems.append(
                f"{str(name)[:40]!r} under 'check' in infill.toml: there are threshold, a number, and "
                f"{', '.join(KINDS)}, each true or false"
            )
    kinds = tuple(kind for kind in KINDS if kind not in off)
    return CheckConfig(kinds=kinds, threshold=threshold), problems
