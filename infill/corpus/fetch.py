"""Fetches wheels from PyPI through pip, checks them, and reads the source files inside.

The platform asked for is fixed, so that every machine gets the same file. Nothing is installed or run.
"""

from __future__ import annotations

import email
import hashlib
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from email.message import Message
from pathlib import Path

from infill.corpus.licences import contradiction
from infill.corpus.manifest import Package, normalised

_PLATFORMS = [f"manylinux_2_{minor}_x86_64" for minor in (39, 34, 28, 27, 17, 12, 5)] + [
    "manylinux2014_x86_64"
]
_TARGET = ["--python-version", "3.13", "--implementation", "cp"]
_SUFFIXES = {"python": (".py",)}
_TIMEOUT_S = 600


class FetchError(Exception):
    """A package cannot be had, is not the file the manifest means, or contradicts its licence."""


def fetch(package: Package, cache: Path) -> Path:
    """The package's wheel in `cache`, downloaded unless it is there, with its checksum and licence checked.

    Raises:
        FetchError: no such wheel, another checksum, or another licence.
    """
    path = cache / package.wheel
    if not path.exists():
        download(package.name, package.version, cache)
    if not path.exists():
        raise FetchError(f"{package.name} {package.version}: the index offers no {package.wheel}")
    if (found := sha256(path)) != package.sha256:
        raise FetchError(f"{package.wheel}: sha256 is {found}, the manifest says {package.sha256}")
    if (problem := contradiction(package.licence, metadata(path))) is not None:
        raise FetchError(f"{package.name} {package.version}: {problem}")
    return path


def download(name: str, version: str, cache: Path) -> None:
    """Have pip put one wheel into `cache`.

    Raises:
        FetchError: with pip's last words.
    """
    cache.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:"]
    platforms = [word for platform in _PLATFORMS for word in ("--platform", platform)]
    command += [*_TARGET, *platforms, "--dest", str(cache), f"{name}=={version}"]
    try:
        result = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired:
        raise FetchError(f"{name} {version}: no answer from the index in {_TIMEOUT_S} s") from None
    if result.returncode:
        words = result.stderr.strip().splitlines() or [f"exit status {result.returncode}"]
        raise FetchError(f"{name} {version}: {words[-1]}")


def find(name: str, version: str, cache: Path) -> Path | None:
    """The wheel of that name and version in `cache`, if there is one."""
    for path in sorted(cache.glob("*.whl")):
        parts = path.name.split("-")
        if normalised(parts[0]) == normalised(name) and parts[1] == version:
            return path
    return None


def metadata(wheel: Path) -> Message:
    """The METADATA of a wheel.

    Raises:
        FetchError: it has none, or is no zip file.
    """
    try:
        with zipfile.ZipFile(wheel) as archive:
            names = [n for n in archive.namelist() if n.endswith(".dist-info/METADATA") and n.count("/") == 1]
            if len(names) != 1:
                raise FetchError(f"{wheel.name}: has no METADATA")
            return email.message_from_string(archive.read(names[0]).decode("utf-8", "replace"))
    except zipfile.BadZipFile as error:
        raise FetchError(f"{wheel.name}: {error}") from error


def sources(wheel: Path, language: str = "python") -> Iterator[tuple[str, bytes]]:
    """The source files of a wheel as (path, content), in the order of their paths."""
    with zipfile.ZipFile(wheel) as archive:
        for name in sorted(archive.namelist()):
            if name.endswith(_SUFFIXES[language]):
                yield name, archive.read(name)


def sha256(path: Path) -> str:
    """The checksum of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
