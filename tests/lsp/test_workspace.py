"""The workspace's folders: what of them is left alone, and whose settings count."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from lsp.commands.settings import json_schema
from lsp.settings import Settings, read_settings
from lsp.workspace import Folders, path_of, read_options
from tests.fakes.engine import ScriptedEngine
from tests.infill.test_ignore import write
from tests.lsp.session import Json, Session, connect


async def ask(session: Session, path: Path, text: str = "x = \n", language: str = "python") -> list[Any]:
    """Open a file and ask for a suggestion at the end of its first line."""
    session.open(text, uri=path.as_uri(), language=language)
    return await session.inline(0, 4, uri=path.as_uri())


@pytest.mark.parametrize("uri", ["untitled:Untitled-1", "git:/a/b.py", "file://[", "file:///a%00b", "", "x"])
def test_a_text_that_is_no_file_has_no_path(uri: str) -> None:
    assert path_of(uri) is None
    assert not Folders().is_secret(uri)
    assert Folders().why_not(uri, "python") is None


def test_the_path_of_a_notebook_s_cell_is_the_notebook_s() -> None:
    assert path_of("vscode-notebook-cell:/a/b%20c.ipynb#W0s") == Path("/a/b c.ipynb")


@pytest.mark.parametrize("uri", ["file:///p/.env", "untitled:.env", "vscode-remote://host/p/tls.key"])
async def test_the_text_of_a_secret_is_not_kept_and_the_reason_said(uri: str) -> None:
    async with connect(ScriptedEngine(["1"])) as session:
        session.open("TOKEN=hunter2\n", uri=uri, language="plaintext")
        session.change(2, {"text": "TOKEN=hunter3\n"}, uri=uri)
        assert await session.inline(0, 6, uri=uri) == []
        assert session.server.documents.get(uri) is None
    assert "may hold secrets and are never read" in session.log[-1]
    assert "hunter" not in "".join(session.log)


async def test_an_ignored_file_gets_nothing_until_it_is_no_longer_ignored(tmp_path: Path) -> None:
    write(tmp_path, {".gitignore": "made.py\n"})
    engine = ScriptedEngine(["1"])
    async with connect(engine, folders=[tmp_path]) as session:
        assert await ask(session, tmp_path / "made.py") == []
        assert "nothing: ignored by" in session.log[-1]
        assert engine.requests == []
        assert len(await ask(session, tmp_path / "app.py")) == 1
        (tmp_path / ".gitignore").unlink()
        assert len(await ask(session, tmp_path / "made.py")) == 1


async def test_the_project_s_switches_and_the_client_s(tmp_path: Path) -> None:
    write(tmp_path, {"infill.toml": '[paths]\n"vendor/" = false\n[languages]\ngo = false\n'})
    async with connect(folders=[tmp_path]) as session:
        assert await ask(session, tmp_path / "vendor" / "a.py") == []
        assert "switched off for vendor/" in session.log[-1]
        assert await ask(session, tmp_path / "a.go", language="go") == []
        assert len(await ask(session, tmp_path / "a.py")) == 1
    options = {"languages": {"go": True, "python": False}}
    async with connect(folders=[tmp_path], options=options) as session:
        assert len(await ask(session, tmp_path / "a.go", language="go")) == 1
        assert await ask(session, tmp_path / "a.py") == []
    assert session.shown == []


async def test_a_project_s_settings_count_unless_the_client_gave_its_own(tmp_path: Path) -> None:
    write(tmp_path, {"infill.toml": "seed = 7\nmax_steps = 5\n"})
    engine = ScriptedEngine(["1"])
    async with connect(engine, folders=[tmp_path], options={"max_steps": 2}) as session:
        await ask(session, tmp_path / "a.py")
        await ask(session, tmp_path.parent / "elsewhere.py")
    assert [(r.seed, r.max_steps) for r in engine.requests] == [(7, 2), (0, 2)]


def shipped() -> Json:
    """Every setting with its default, as an editor's extension has them that fills in all of them."""
    schema = json.loads(json_schema())
    return {name: one["default"] for name, one in schema["properties"].items()}


@pytest.mark.parametrize(
    ("options", "counts"),
    [
        ({}, (7, 0.5)),
        ({"seed": 0}, (0, 0.5)),  # somebody wants the default
        ({"seed": None, "min_confidence": 0.25}, (7, 0.25)),
        (shipped(), (7, 0.5)),
        ({**shipped(), "seed": 3}, (3, 0.5)),
        ({**shipped(), "model": "dir"}, (7, 0.5)),
        (dict.fromkeys(shipped()) | {"seed": 0}, (0, 0.5)),  # one that tells what is set
    ],
)
def test_a_default_that_nobody_chose_leaves_the_say_to_the_project(
    tmp_path: Path, options: Json, counts: tuple[int, float]
) -> None:
    write(tmp_path, {"infill.toml": "seed = 7\nmin_confidence = 0.5\n"})
    of_folders, others, _ = read_options(options)
    folders = Folders([tmp_path.as_uri()], of_folders)
    settings = folders.settings((tmp_path / "a.py").as_uri(), read_settings(others)[0])
    assert (settings.seed, settings.min_confidence) == counts


async def test_a_project_s_settings_count_for_holes_quick_fixes_and_prefetching_too(tmp_path: Path) -> None:
    write(tmp_path, {"infill.toml": "seed = 7\nmax_steps = 5\ndeadline_ms = 60000\n"})
    engine, uri = ScriptedEngine(["1"]), (tmp_path / "a.py").as_uri()
    where = {"start": {"line": 1, "character": 4}, "end": {"line": 1, "character": 5}}
    below = {"line": 2, "character": 0}
    complaint = {"range": where, "message": "wrong", "source": "theirs"}
    async with connect(engine, folders=[tmp_path], options={"max_steps": 2}) as session:
        session.open("x = ___\ny = 2\n\n", uri=uri)
        await session.request("infill/fillHoles", {"textDocument": {"uri": uri}})
        await session.request("infill/fillHoles", {"textDocument": {"uri": uri}, "position": below})
        context = {"diagnostics": [complaint], "only": ["quickfix"]}
        params = {"textDocument": {"uri": uri}, "range": where, "context": context}
        [action, _] = (await session.request("textDocument/codeAction", params))["result"]
        await session.request("codeAction/resolve", action)
        [item] = await session.inline(2, 0, uri=uri)
        asked = len(engine.requests)
        accepted = {"command": "infill.accepted", "arguments": item["command"]["arguments"]}
        await session.request("workspace/executeCommand", accepted)
        async with asyncio.timeout(5):
            while len(engine.requests) == asked:
                await asyncio.sleep(0)
    assert {request.seed for request in engine.requests} == {7}
    assert all((request.deadline_ms or 0) > 10_000 for request in engine.requests)
    assert all(request.max_steps == 2 for request in (engine.requests[0], engine.requests[-1]))


async def test_what_is_wrong_in_a_project_s_file_is_shown(tmp_path: Path) -> None:
    write(tmp_path, {"infill.toml": "model = 'someone/else'\nseed = -1\n"})
    async with connect(folders=[tmp_path]) as session:
        await ask(session, tmp_path / "a.py")
        assert session.server.settings == Settings()
    assert len(session.shown) == 2
    assert "unknown key 'model' in infill.toml" in session.shown[0]
    assert "setting 'seed' should be" in session.shown[1]


async def test_a_restricted_workspace_s_file_is_not_read_but_its_ignore_rules_are(tmp_path: Path) -> None:
    write(tmp_path, {"infill.toml": "seed = 7\nnonsense = 1\n", ".gitignore": "*.log\n"})
    engine = ScriptedEngine(["1"])
    async with connect(engine, folders=[tmp_path], options={"restricted": True}) as session:
        assert len(await ask(session, tmp_path / "a.py")) == 1
        assert await ask(session, tmp_path / "a.log") == []
    assert engine.requests[0].seed == 0
    assert session.shown == []


@pytest.mark.parametrize(
    ("given", "restricted", "problems"), [(None, False, 0), (True, True, 0), ("no", True, 1)]
)
def test_trust_is_given_clearly_or_not_at_all(given: object, restricted: bool, problems: int) -> None:
    options, others, said = read_options({"restricted": given, "seed": 1})
    assert (options.restricted, others, len(said)) == (restricted, {"seed": 1}, problems)


def test_the_innermost_folder_counts(tmp_path: Path) -> None:
    write(tmp_path, {"infill.toml": "[languages]\ngo = false\n", "inner/infill.toml": ""})
    folders = Folders([tmp_path.as_uri(), (tmp_path / "inner").as_uri()])
    assert folders.why_not((tmp_path / "a.go").as_uri(), "go") is not None
    assert folders.why_not((tmp_path / "inner" / "a.go").as_uri(), "go") is None
    folders.remove(tmp_path.as_uri())
    assert folders.why_not((tmp_path / "a.go").as_uri(), "go") is None


def test_a_folder_that_is_opened_through_a_link_keeps_its_rules(tmp_path: Path) -> None:
    write(tmp_path, {"real/.gitignore": "made.py\n", "real/infill.toml": "[languages]\ngo = false\n"})
    (tmp_path / "link").symlink_to(tmp_path / "real")
    folders = Folders([(tmp_path / "link").as_uri()])
    assert folders.why_not((tmp_path / "link" / "made.py").as_uri(), "python") is not None
    assert folders.why_not((tmp_path / "real" / "made.py").as_uri(), "python") is not None
    assert folders.why_not((tmp_path / "link" / "a.go").as_uri(), "go") is not None


def test_a_config_that_is_a_link_is_not_read(tmp_path: Path) -> None:
    write(tmp_path, {"outside.toml": "seed = 7\n", "inside/a.py": ""})
    (tmp_path / "inside" / "infill.toml").symlink_to(tmp_path / "outside.toml")
    [folder] = Folders([(tmp_path / "inside").as_uri()])
    assert folder.config.settings == {}
