"""The documents point to files that exist and have no gaps left to fill."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
NOT_OURS = {"node_modules", "build", "dist"}
"""Folders that are not looked into, besides those whose name begins with a dot."""

DOCUMENTS = sorted(
    path
    for path in ROOT.rglob("*.md")
    if not any(part.startswith(".") or part in NOT_OURS for part in path.relative_to(ROOT).parts)
)

_CODE = re.compile(r"^(```+).*?^\1|`[^`\n]*`", re.MULTILINE | re.DOTALL)
_LINK = re.compile(
    r"\]\(\s*<?([^)\s>]+)>?[^)]*\)|^\[[^\]]+\]:\s*(\S+)|(?:src|href)=\"([^\"]+)\"", re.MULTILINE
)
_ELSEWHERE = re.compile(r"[a-z][a-z0-9+.-]*:|//|#", re.IGNORECASE)


def relative_links(text: str) -> list[str]:
    """The files a Markdown text points to, without their anchors; links to elsewhere are left out."""
    targets = [next(filter(None, groups)) for groups in _LINK.findall(_CODE.sub("", text))]
    return [target.partition("#")[0] for target in targets if not _ELSEWHERE.match(target)]


def test_links_are_found_in_all_their_forms() -> None:
    text = (
        "[a](a.md) ![b](b/b.svg 'title') [c](c.md#part) [top](#top) [web](https://example.org/x.md)\n"
        '[d]: d.md\n<img src="e.png"> `[no](no.md)`\n```\n[no](no.md)\n```\n[mail](mailto:f@example.org)\n'
    )
    assert relative_links(text) == ["a.md", "b/b.svg", "c.md", "d.md", "e.png"]


GUIDES = (
    "README.md",
    "editors/README.md",
    "editors/neovim/README.md",
    "editors/neovim/doc/infill.txt",
    "editors/neovim/lua/infill/health.lua",
    "editors/vscode/README.md",
    "editors/vscode/media/server.md",
)
"""Where people read how to get the server."""


@pytest.mark.parametrize("guide", GUIDES)
def test_the_server_is_installed_from_where_there_is_one(guide: str) -> None:
    text = " ".join((ROOT / guide).read_text(encoding="utf-8").split())
    for way in ("uv tool install .", "pipx install .", "make demo", ".venv/bin/infill"):
        assert way in text
    assert not re.search(r"install infill-ls", text)  # it is in no index yet
    assert "PyTorch, which is a large download" in text or guide.endswith(".lua")


def test_the_readme_is_among_the_documents() -> None:
    assert ROOT / "README.md" in DOCUMENTS


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_a_document_points_to_files_that_exist_and_has_no_gaps(document: Path) -> None:
    text = document.read_text(encoding="utf-8")
    missing = [link for link in relative_links(text) if not (document.parent / link).exists()]
    assert missing == []
    assert "@@" not in text
