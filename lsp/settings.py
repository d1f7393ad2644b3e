"""What a client can set, through `initializationOptions`.

A bad value never keeps the server from starting: it is reported and the default counts. Knows nothing of
command-line options.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, fields


def _is_model(value: object) -> bool:
    return isinstance(value, str) and value.strip() != ""


def _is_milliseconds(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < math.inf


def _is_fraction(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 1


def _is_whole(minimum: int) -> Callable[[object], bool]:
    def check(value: object) -> bool:
        return isinstance(value, int) and not isinstance(value, bool) and minimum <= value < 2**63

    return check


_RULES: dict[str, tuple[Callable[[object], bool], str]] = {
    "model": (_is_model, "a directory or a hub id"),
    "deadline_ms": (_is_milliseconds, "a number of milliseconds above 0"),
    "max_steps": (_is_whole(1), "a whole number of at least 1"),
    "seed": (_is_whole(0), "a whole number of at least 0"),
    "min_confidence": (_is_fraction, "a number from 0 to 1"),
}


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The settings of one client.

    `model` is a checkpoint's directory or hub id, `None` what the command line says or the embedded one.
    `deadline_ms` is how long a suggestion that nobody asked for may take; one asked for with a key gets
    four times that. `max_steps` lowers the model's number of denoising steps. `seed` makes suggestions
    repeatable. `min_confidence` is how sure, from 0 to 1, the model must be of a suggestion that nobody
    asked for.

    Raises:
        ValueError: a value is out of its range.
    """

    model: str | None = None
    deadline_ms: float = 1500.0
    max_steps: int | None = None
    seed: int = 0
    min_confidence: float = 0.0

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            accepts, expected = _RULES[field.name]
            if value != field.default and not accepts(value):
                raise ValueError(f"{field.name} should be {expected}")


def read_settings(options: object) -> tuple[Settings, list[str]]:
    """The settings in `initializationOptions`, and one sentence for each thing that is wrong with them.

    A value of null is the default.
    """
    if options is None:
        return Settings(), []
    if not isinstance(options, dict):
        return Settings(), ["initializationOptions should be an object; the defaults are used"]
    values, problems = {}, []
    for name, value in options.items():
        if name not in _RULES:
            problems.append(f"unknown setting {str(name)[:40]!r}; there are {', '.join(_RULES)}")
        elif value is not None:
            accepts, expected = _RULES[name]
            if accepts(value):
                values[name] = value
            else:
                problems.append(f"setting {name!r} should be {expected}; the default is used")
    return Settings(**values), problems
