"""`infill.toml`, what a project says of itself, and the switches that turn suggestions off.

    min_confidence = 0.4      # a setting, for everybody who works here

    [languages]
    markdown = false          # an LSP language id; "*" is every one that is not named

    [paths]
    "vendor/" = false         # as in .gitignore; the last pattern that fits decides
    "vendor/ours/" = true

It knows no setting: which there are, and what values they take, is said by whoever reads the file.
"""

from __future__ import annotations

import tomllib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from functools import cache

from pathspec import GitIgnoreSpec
from pathspec.patterns.gitignore import GitIgnorePatternError

FILE_NAME = "infill.toml"
LARGEST_BYTES = 64 * 1024
"""A larger file is not read."""

SWITCHES = ("languages", "paths")
"""The tables of switches."""

_OTHERS = ("check",)  # read by `infill.fixes.project`


@dataclass(frozen=True, kw_only=True)
class Switches:
    """Where suggestions are wanted: by language id (`*` for the rest) and by pattern, the last counting."""

    languages: Mapping[str, bool] = field(default_factory=dict)
    paths: Mapping[str, bool] = field(default_factory=dict)

    def then(self, other: Switches) -> Switches:
        """Both, `other` counting more."""
        kept = {pattern: on for pattern, on in self.paths.items() if pattern not in other.paths}
        return Switches(languages={**self.languages, **other.languages}, paths={**kept, **other.paths})

    def why_off(self, language: str, path: str) -> str | None:
        """Why there are no suggestions in a file, as a sentence; None where there are.

        `path` is relative to the project, with forward slashes; "" for a text that is no file of it.
        """
        if not self.languages.get(language, self.languages.get("*", True)):
            return f"suggestions are switched off for {language}"
        last_first = reversed(list(self.paths)) if path else ()
        decided = next((p for p in last_first if _pattern(p).match_file(path)), None)
        if decided is None or self.paths[decided]:
            return None
        return f"suggestions are switched off for {decided}"


@dataclass(frozen=True, kw_only=True)
class ProjectConfig:
    """What an `infill.toml` says; `settings` are by name, their values unchecked."""

    settings: Mapping[str, object] = field(default_factory=dict)
    switches: Switches = field(default_factory=Switches)


def read_project_config(data: bytes, allowed: Collection[str]) -> tuple[ProjectConfig, list[str]]:
    """Read an `infill.toml`, and one sentence for each thing that is wrong with it.

    Only the settings named in `allowed` are taken: a project must not decide everything for its reader.
    """
    try:
        table = tomllib.loads(data.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        return ProjectConfig(), [f"{FILE_NAME} cannot be read: {error}"]
    settings, problems = {}, []
    for name, value in table.items():
        if name in allowed:
            settings[name] = value
        elif name not in (*SWITCHES, *_OTHERS):
            known = ", ".join((*allowed, *SWITCHES, *_OTHERS))
            problems.append(f"unknown key {name[:40]!r} in {FILE_NAME}; there are {known}")
    switches, wrong = read_switches(table, FILE_NAME)
    return ProjectConfig(settings=settings, switches=switches), problems + wrong


def read_switches(table: Mapping[str, object], where: str) -> tuple[Switches, list[str]]:
    """The switches in a table, and one sentence for each that is none; `where` names it in those."""
    read: dict[str, dict[str, bool]] = {}
    problems = []
    for name in SWITCHES:
        given = table.get(name)
        if not isinstance(given, Mapping):
            if given is not None:
                problems.append(f"{name!r} in {where} should be a table of switches")
            continue
        read[name] = {str(key): on for key, on in given.items() if isinstance(on, bool)}
        problems += [
            f"{str(key)[:40]!r} under {name!r} in {where} should be true or false"
            for key, on in given.items()
            if not isinstance(on, bool)
        ]
    for pattern in [p for p in read.get("paths", {}) if not _is_pattern(p)]:
        problems.append(f"{pattern[:40]!r} under 'paths' in {where} is not a pattern")
        del read["paths"][pattern]
    return Switches(**read), problems


def _is_pattern(text: str) -> bool:
    try:
        return not text.startswith("!") and any(p.include for p in _pattern(text).patterns)
    except GitIgnorePatternError:
        return False


@cache
def _pattern(text: str) -> GitIgnoreSpec:
    return GitIgnoreSpec.from_lines([text])
