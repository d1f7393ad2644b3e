"""Which other files are looked up, in what order, and how much of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from infill.code.document import Document
from infill.ignore import IgnoreRules
from infill.workspace.files import read
from infill.workspace.gather import Place
from infill.workspace.index import Index
from infill.workspace.nearby import nearby
from infill.workspace.similar import OtherText
from tests.infill.test_ignore import write

APP = "import far.away\nfrom . import beside\nfrom lib import f\nx = \n"
FILES = {
    "pkg/app.py": APP,
    "pkg/sibling.py": "sibling = 1\n",
    "pkg/beside.py": "beside = 1\n",
    "pkg/other.js": "let other = 1\n",
    "lib.py": "def f(): pass\n",
    "far/away.py": "away = 1\n",
    "far/unrelated.py": "unrelated = 1\n",
}


def found(
    root: Path, files: dict[str, str] = FILES, others: tuple[OtherText, ...] = (), budget: int = 1000
) -> list[str]:
    """What is looked up for the end of pkg/app.py."""
    write(root, files)
    index = Index()
    index.set_folders([IgnoreRules(root)])
    index.scan()
    for other in others:
        index.put(root / other.path, other.text)
    document = Document(files["pkg/app.py"], "python")
    place = Place(document=document, offset=len(document.text), root=root, path="pkg/app.py")
    return list(nearby(index, place, others, budget_chars=budget))


def test_imported_files_come_before_those_of_the_folder(tmp_path: Path) -> None:
    texts = [FILES[path] for path in ("far/away.py", "pkg/beside.py", "lib.py", "pkg/sibling.py")]
    assert found(tmp_path) == texts


def test_open_texts_come_first_and_count_as_they_are_open(tmp_path: Path) -> None:
    others = (
        OtherText("far/unrelated.py", "python", "unsaved = 1\r\n"),
        OtherText("pkg/other.js", "javascript", "let unsaved = 1\n"),
        OtherText("lib.py", "python", "def f(unsaved): pass\n"),
        OtherText("pkg/app.py", "python", "itself = 1\n"),
    )
    texts = ["unsaved = 1\n", "def f(unsaved): pass\n"]
    assert found(tmp_path, others=others) == [*texts, "away = 1\n", "beside = 1\n", "sibling = 1\n"]


def test_the_budget_is_kept_and_no_text_takes_more_than_half_of_it(tmp_path: Path) -> None:
    files = {**FILES, "far/away.py": "away = 1\n" * 100}
    texts = found(tmp_path, files, budget=60)
    assert [len(text) for text in texts[:2]] == [30, len(FILES["pkg/beside.py"])]
    assert sum(map(len, texts)) <= 60
    assert found(tmp_path, files, budget=0) == []


def test_no_file_is_read_that_there_is_no_room_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []

    def reading(path: Path) -> bytes | None:
        opened.append(path.name)
        return read(path)

    monkeypatch.setattr("infill.workspace.nearby.read", reading)
    assert len(found(tmp_path, budget=len(FILES["far/away.py"]) + 5)) == 2
    assert opened == ["away.py", "beside.py"]


def test_what_is_ignored_or_secret_is_not_read(tmp_path: Path) -> None:
    files = {
        **FILES,
        ".gitignore": "beside.py\n",
        ".infillignore": "lib.py\n",
        "pkg/credentials.py": "k = 1\n",
    }
    assert found(tmp_path, files) == ["away = 1\n", "sibling = 1\n"]


def test_a_file_that_was_removed_or_rewritten_is_seen_as_it_is(tmp_path: Path) -> None:
    write(tmp_path, FILES)
    index = Index()
    index.set_folders([IgnoreRules(tmp_path)])
    index.scan()
    (tmp_path / "pkg/beside.py").unlink()
    (tmp_path / "lib.py").write_text("def g(): pass  # longer than it was\n")
    place = Place(document=Document(APP, "python"), offset=0, root=tmp_path, path="pkg/app.py")
    texts = list(nearby(index, place, budget_chars=1000))
    assert texts == ["away = 1\n", "def g(): pass  # longer than it was\n", "sibling = 1\n"]
