"""Snippets from the workspace: when there are any, and that they follow the files and the open texts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.engine import ScriptedEngine
from tests.infill.test_ignore import write
from tests.lsp.session import Session, connect

WATCHING = {"workspace": {"didChangeWatchedFiles": {"dynamicRegistration": True}}}
APP = "from lib import f\nf()\n"


@asynccontextmanager
async def working(
    root: Path, engine: ScriptedEngine | None = None, **others: Any
) -> AsyncIterator[tuple[Session, ScriptedEngine]]:
    """A session in a folder that has been indexed."""
    engine = engine or ScriptedEngine(["1"], snippet_chars=2000)
    async with connect(engine, folders=[root], **others) as session:
        await session.until(lambda m: "indexed" in str(m.get("params")))
        yield session, engine


async def shown(session: Session, engine: ScriptedEngine, path: Path) -> list[str]:
    """Ask on the second line of an open file, and say which snippets the model got."""
    await session.inline(1, 2, uri=path.as_uri(), trigger=1)  # not from memory
    return [f"{s.path}: {s.text}" for s in engine.requests[-1].prompt.snippets]


async def changed(session: Session, *paths: Path) -> None:
    """Tell the server of changed files, and wait until the index has taken notice."""
    changes = [{"uri": path.as_uri(), "type": 2} for path in paths]
    session.notify("workspace/didChangeWatchedFiles", {"changes": changes})
    await session.inline(0, 0, uri="file:///unknown.py")  # answered behind it
    await drained(session)


async def drained(session: Session) -> None:
    """Wait until the index has done what it was told so far."""
    while session.server.indexing.pending:
        await session.server.indexing.pending[-1]
        await asyncio.sleep(0)  # a future that is done is forgotten at the loop's next turn


async def test_an_imported_signature_reaches_the_model(tmp_path: Path) -> None:
    write(tmp_path, {"lib.py": "def f(a: int): pass\n", "app.py": ""})
    async with working(tmp_path) as (session, engine):
        session.open(APP, uri=(tmp_path / "app.py").as_uri())
        assert await shown(session, engine, tmp_path / "app.py") == ["lib.py: def f(a: int):\n    ..."]
        assert "characters and 1 snippets," in session.log[-1]


async def test_the_texts_of_other_files_reach_a_model_that_looks_things_up(tmp_path: Path) -> None:
    write(tmp_path, {"lib.py": "def f(a: int): pass\n", "beside.py": "b = 1\n", "app.py": ""})
    engine = ScriptedEngine(["1"], nearby_chars=1000)
    async with working(tmp_path, engine) as (session, _):
        app, beside = tmp_path / "app.py", tmp_path / "beside.py"
        session.open(APP, uri=app.as_uri())
        assert await shown(session, engine, app) == []
        assert engine.requests[-1].prompt.nearby == ("def f(a: int): pass\n", "b = 1\n")
        session.open("unsaved = 1\n", uri=beside.as_uri())
        session.change(2, {"text": APP + "\n"}, uri=app.as_uri())
        await shown(session, engine, app)
        assert engine.requests[-1].prompt.nearby == ("unsaved = 1\n", "def f(a: int): pass\n")
        write(tmp_path, {".infillignore": "lib.py\n"})
        await changed(session, tmp_path / ".infillignore")
        await shown(session, engine, app)
        assert engine.requests[-1].prompt.nearby == ("unsaved = 1\n",)


@pytest.mark.parametrize("why", ["a model without snippets", "restricted", "no folder"])
async def test_nothing_is_read_where_it_is_not_wanted(why: str, tmp_path: Path) -> None:
    write(tmp_path, {"lib.py": "def f(): pass\n"})
    engine = ScriptedEngine(["1"], snippet_chars=0 if why == "a model without snippets" else 2000)
    options = {"restricted": why == "restricted"}
    folders = [] if why == "no folder" else [tmp_path]
    async with connect(engine, folders=folders, options=options) as session:
        session.open(APP, uri=(tmp_path / "app.py").as_uri())
        assert await shown(session, engine, tmp_path / "app.py") == []
        await drained(session)
        assert len(session.server.indexing.index) == 0


async def test_a_new_file_is_found_when_the_client_tells_of_it(tmp_path: Path) -> None:
    write(tmp_path, {"app.py": ""})
    async with working(tmp_path, capabilities=WATCHING) as (session, engine):
        session.open(APP, uri=(tmp_path / "app.py").as_uri())
        assert await shown(session, engine, tmp_path / "app.py") == []
        write(tmp_path, {"lib.py": "def f(): pass\n"})
        await changed(session, tmp_path / "lib.py")
        assert await shown(session, engine, tmp_path / "app.py") == ["lib.py: def f():\n    ..."]
        (tmp_path / "lib.py").unlink()
        await changed(session, tmp_path / "lib.py")
        assert await shown(session, engine, tmp_path / "app.py") == []


async def test_a_file_that_becomes_ignored_is_forgotten(tmp_path: Path) -> None:
    write(tmp_path, {"app.py": "", "lib.py": "def f(): pass\n"})
    async with working(tmp_path) as (session, engine):
        session.open(APP, uri=(tmp_path / "app.py").as_uri())
        assert len(await shown(session, engine, tmp_path / "app.py")) == 1
        write(tmp_path, {".infillignore": "lib.py\n"})
        await changed(session, tmp_path / ".infillignore")
        assert await shown(session, engine, tmp_path / "app.py") == []


async def test_a_changed_infill_toml_counts_at_once(tmp_path: Path) -> None:
    async with connect(folders=[tmp_path]) as session:
        session.open("x = \n", uri=(tmp_path / "a.py").as_uri())
        assert len(await session.inline(0, 4, uri=(tmp_path / "a.py").as_uri())) == 1
        write(tmp_path, {"infill.toml": "[languages]\npython = false\n[nonsense]\n"})
        await changed(session, tmp_path / "infill.toml")
        assert await session.inline(0, 4, uri=(tmp_path / "a.py").as_uri()) == []
    assert "unknown key 'nonsense'" in session.shown[0]


async def test_unsaved_texts_count_and_so_do_those_looked_at(tmp_path: Path) -> None:
    write(tmp_path, {"app.py": "", "lib.py": "def f(saved): pass\n", "like.py": ""})
    loop = "for order in orders:\n    total = total + order.price\n"
    async with working(tmp_path) as (session, engine):
        lib, app, like = (tmp_path / name for name in ("lib.py", "app.py", "like.py"))
        session.open("def f(unsaved): pass\n", uri=lib.as_uri())
        session.open("import os\n" * 20 + loop, uri=like.as_uri())
        session.open(APP + loop.replace("order", "item"), uri=app.as_uri())
        found = await shown(session, engine, app)
        assert found[0] == "lib.py: def f(unsaved):\n    ..."
        assert "order.price" in found[1]
        session.change(2, {"text": "def f(changed): pass\n"}, uri=lib.as_uri())
        assert (await shown(session, engine, app))[0] == "lib.py: def f(changed):\n    ..."
        for path in (lib, like):
            session.notify("textDocument/didClose", {"textDocument": {"uri": path.as_uri()}})
        await session.inline(0, 0, uri="file:///unknown.py")
        await drained(session)
        assert await shown(session, engine, app) == ["lib.py: def f(saved):\n    ..."]


async def test_no_open_text_that_is_to_be_left_alone_is_shown_elsewhere(tmp_path: Path) -> None:
    write(tmp_path, {".gitignore": "made.py\n", "app.py": "", "inside/x.py": ""})
    text = "for order in orders:\n    total = total + order.price\n"
    async with working(tmp_path) as (session, engine):
        for path in ("made.py", "secrets.py", "../elsewhere.py"):
            session.open("token = 1\n" + text, uri=(tmp_path / path).resolve().as_uri())
        session.open("x\n" + text.replace("order", "item"), uri=(tmp_path / "app.py").as_uri())
        assert await shown(session, engine, tmp_path / "app.py") == []


async def test_folders_come_and_go(tmp_path: Path) -> None:
    write(tmp_path, {"one/app.py": "", "two/lib.py": "def f(): pass\n"})
    async with working(tmp_path / "one") as (session, _):
        two = {"uri": (tmp_path / "two").as_uri(), "name": "two"}
        for added, removed, files in (([two], [], 1), ([], [two], 0)):
            event = {"event": {"added": added, "removed": removed}}
            session.notify("workspace/didChangeWorkspaceFolders", event)
            await session.inline(0, 0, uri="file:///unknown.py")  # answered behind it
            await drained(session)
            assert len(session.server.indexing.index) == files


@pytest.mark.parametrize(("capabilities", "asked"), [(WATCHING, 1), ({}, 0)])
async def test_the_client_is_asked_to_watch_where_it_offers_to(
    capabilities: dict[str, Any], asked: int, tmp_path: Path
) -> None:
    async with connect(folders=[tmp_path], capabilities=capabilities) as session:
        session.open("x = \n")
        await session.inline(0, 4)
        sent = [m for m in session.received if m.get("method") == "client/registerCapability"]
        assert len(sent) == asked
        assert session.server.indexing.watched is bool(asked)
        if asked:
            [registration] = sent[0]["params"]["registrations"]
            globs = [w["globPattern"] for w in registration["registerOptions"]["watchers"]]
            assert registration["method"] == "workspace/didChangeWatchedFiles"
            assert globs[0].startswith("**/*.{")
            assert globs[1] == "**/{.infillignore,.gitignore,infill.toml}"


async def test_where_nobody_watches_the_folders_are_looked_through_now_and_then(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, {"app.py": ""})
    async with working(tmp_path) as (session, engine):
        session.open(APP, uri=(tmp_path / "app.py").as_uri())
        write(tmp_path, {"lib.py": "def f(): pass\n"})
        assert await shown(session, engine, tmp_path / "app.py") == []
        monkeypatch.setattr("lsp.indexing._RESCAN_S", -1.0)
        await shown(session, engine, tmp_path / "app.py")
        await drained(session)
        assert await shown(session, engine, tmp_path / "app.py") == ["lib.py: def f():\n    ..."]


async def test_a_suggestion_does_without_code_that_cannot_be_gathered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("a bug of ours")

    monkeypatch.setattr("lsp.indexing.gather", fail)
    async with working(tmp_path) as (session, _):
        session.open("x = \n", uri=(tmp_path / "app.py").as_uri())
        assert len(await session.inline(0, 4, uri=(tmp_path / "app.py").as_uri())) == 1
    assert "no code could be gathered" in caplog.text


async def test_many_changes_at_once_are_one_scan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lsp.indexing._MOST_CHANGES", 2)
    async with working(tmp_path) as (session, _):
        write(tmp_path, {f"m{n}.py": "x = 1\n" for n in range(5)})
        await changed(session, *(tmp_path / f"m{n}.py" for n in range(3)))
        assert len(session.server.indexing.index) == 5  # those nobody told of too


async def test_a_client_that_offers_to_watch_and_refuses_is_no_error(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with connect(folders=[tmp_path], capabilities=WATCHING, initialize=False) as session:
        session.refuses = True
        await session.initialize()
        session.open("x = \n")
        assert len(await session.inline(0, 4)) == 1
        assert not session.server.indexing.watched
    assert not [record for record in caplog.records if record.name.startswith("lsp") and record.exc_info]


async def test_a_request_is_answered_while_a_scan_is_under_way(tmp_path: Path) -> None:
    write(tmp_path, {f"m{n}.py": "def f(): pass\n" for n in range(20)})
    async with working(tmp_path) as (session, engine):
        session.open(APP, uri=(tmp_path / "app.py").as_uri())
        write(tmp_path, {f"n{n}.py": "def f(): pass\n" for n in range(20)})
        session.server.indexing.rescan()
        await shown(session, engine, tmp_path / "app.py")
        await drained(session)
        assert len(session.server.indexing.index) == 40
