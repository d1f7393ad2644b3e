"""What a client can set, through `initializationOptions` and the workspace's configuration.

Each setting is one line of `Settings`: its default, what is accepted and what it does; the documentation and
the JSON schema are made from that (`infill settings`). A bad value never keeps the server from starting: it
is reported and the default counts. Knows nothing of command-line options.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Rule:
    """What a setting accepts: a predicate, the words for it, and the same as JSON schema."""

    accepts: Callable[[object], bool]
    expected: str
    schema: dict[str, Any]


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_whole(value: object, minimum: int, limit: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and minimum <= value < limit


def _whole(minimum: int, limit: int = 2**63) -> Rule:
    most = "" if limit == 2**63 else f" and at most {limit - 1}"
    schema: dict[str, Any] = {"type": "integer", "minimum": minimum}
    return Rule(
        accepts=lambda value: _is_whole(value, minimum, limit),
        expected=f"a whole number of at least {minimum}{most}",
        schema=schema if not most else {**schema, "maximum": limit - 1},
    )


def _one_of(*choices: str) -> Rule:
    return Rule(
        accepts=lambda value: isinstance(value, str) and value in choices,
        expected=f"one of {', '.join(choices)}",
        schema={"type": "string", "enum": list(choices)},
    )


_MODEL = Rule(
    accepts=lambda value: isinstance(value, str) and value.strip() != "",
    expected="a directory or a hub id",
    schema={"type": "string", "minLength": 1},
)
_ABOVE_0_MS = Rule(
    accepts=lambda value: _is_number(value) and 0 < value < math.inf,  # type: ignore[operator]
    expected="a number of milliseconds above 0",
    schema={"type": "number", "exclusiveMinimum": 0},
)
_MS = Rule(
    accepts=lambda value: _is_number(value) and 0 <= value < math.inf,  # type: ignore[operator]
    expected="a number of milliseconds, 0 or more",
    schema={"type": "number", "minimum": 0},
)
_FRACTION = Rule(
    accepts=lambda value: _is_number(value) and 0 <= value <= 1,  # type: ignore[operator]
    expected="a number from 0 to 1",
    schema={"type": "number", "minimum": 0, "maximum": 1},
)
_SWITCH = Rule(
    accepts=lambda value: isinstance(value, bool), expected="true or false", schema={"type": "boolean"}
)
_NAMES = Rule(
    accepts=lambda value: isinstance(value, list | tuple) and all(isinstance(name, str) for name in value),
    expected="a list of language ids",
    schema={"type": "array", "items": {"type": "string"}},
)


def _setting(default: object, rule: Rule, meaning: str) -> Any:
    return field(default=default, metadata={"rule": rule, "meaning": meaning})


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The settings of one client.

    Raises:
        ValueError: a value is out of its range.
    """

    model: str | None = _setting(
        None, _MODEL, "a checkpoint's directory or hub id; none is the embedded model"
    )
    deadline_ms: float = _setting(
        1500.0,
        _ABOVE_0_MS,
        "how long an automatic suggestion may take, in milliseconds; one asked for with a key gets four "
        "times that",
    )
    max_steps: int | None = _setting(None, _whole(1), "lowers the model's number of denoising steps")
    seed: int = _setting(0, _whole(0), "makes suggestions repeatable")
    min_confidence: float = _setting(
        0.0, _FRACTION, "how sure, from 0 to 1, the model must be of an automatic suggestion"
    )
    automatic: bool = _setting(
        True, _SWITCH, "suggest while typing; if not, only when asked with a key or a command"
    )
    disabled_languages: tuple[str, ...] = _setting(
        (), _NAMES, "language ids for which nothing is suggested while typing"
    )
    debounce_ms: float | None = _setting(
        None,
        _MS,
        "how long to wait for further typing before the model is asked, in milliseconds; none follows the "
        "measured latency",
    )
    max_lines: int | None = _setting(
        None, _whole(1), "how many lines an automatic suggestion may have; it is cut to them"
    )
    alternatives: int = _setting(
        3, _whole(1, 9), "how many suggestions to choose from when asked with a key, 1 to 8"
    )
    prefetch: bool = _setting(True, _SWITCH, "work out the next suggestion as soon as one is accepted")
    popup: str = _setting(
        "auto",
        _one_of("auto", "always", "never"),
        "suggest in the completion popup: always, never, or (auto) where the editor has no ghost text",
    )
    popup_deadline_ms: float = _setting(
        400.0, _ABOVE_0_MS, "how long the popup waits for its suggestion, in milliseconds"
    )
    canvas: bool = _setting(
        False, _SWITCH, "send every denoising step to the editor as an `infill/canvas` notification"
    )

    diagnostics: bool = _setting(
        False, _SWITCH, "hints where a name, an operator, a literal or an argument reads as if it were wrong"
    )

    def __post_init__(self) -> None:
        for one in fields(self):
            value, rule = getattr(self, one.name), rule_of(one.name)
            if value != one.default and not rule.accepts(value):
                raise ValueError(f"{one.name} should be {rule.expected}")


def rule_of(name: str) -> Rule:
    """What the setting of this name accepts.

    Raises:
        KeyError: there is none.
    """
    rule: Rule = Settings.__dataclass_fields__[name].metadata["rule"]
    return rule


def names_set(options: Mapping[str, object]) -> frozenset[str]:
    """Which settings of those a client sends somebody has set; null is not set.

    Some clients send every setting, with the defaults of those that nobody has touched. Nothing else has a
    value for all that have one by default, so that there a value that is the default is not set either.
    """
    defaults = {one.name: one.default for one in fields(Settings)}
    sent = {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in options.items()
        if value is not None
    }
    whole = all(name in sent for name, default in defaults.items() if default is not None)
    return frozenset(
        name for name, value in sent.items() if not (whole and name in defaults and value == defaults[name])
    )


def read_settings(options: object, source: str = "initializationOptions") -> tuple[Settings, list[str]]:
    """The settings in an object from the client, and one sentence for each thing that is wrong with them.

    A value of null is the default. `source` is what the object is called in those sentences.
    """
    if options is None:
        return Settings(), []
    if not isinstance(options, dict):
        return Settings(), [f"{source} should be an object; the defaults are used"]
    known = Settings.__dataclass_fields__
    values: dict[str, Any] = {}
    problems = []
    for name, value in options.items():
        if value is None:
            continue  # not even where we do not know it: a client newer than we are has more to leave unset
        if name not in known:
            problems.append(f"unknown setting {str(name)[:40]!r}; there are {', '.join(known)}")
        elif (rule := rule_of(name)).accepts(value):
            values[name] = tuple(value) if isinstance(value, list) else value
        else:
            problems.append(f"setting {name!r} should be {rule.expected}; the default is used")
    return Settings(**values), problems
