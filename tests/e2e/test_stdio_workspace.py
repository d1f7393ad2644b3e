"""A workspace as editors open it: ignored files, trust, watched files and notebooks, over stdio."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import attrs
import pytest
from lsprotocol import types
from pytest_lsp import ClientServerConfig, LanguageClient

from tests.e2e.test_stdio import EDITORS, TIMEOUT_S, ask, engine_state, initialize_params, inline_params
from tests.infill.test_ignore import write

COMMAND = [sys.executable, "-m", "tests.fakes.server", "--snippets"]
APP = "from lib import f\nf()\n"


@asynccontextmanager
async def editor(
    name: str, folder: Path, options: dict[str, Any] | None = None
) -> AsyncIterator[LanguageClient]:
    """An editor that has opened a folder."""
    client = await ClientServerConfig(server_command=COMMAND).start()
    assert isinstance(client, LanguageClient)
    params = attrs.evolve(
        initialize_params(name),
        root_uri=folder.as_uri(),
        workspace_folders=[types.WorkspaceFolder(uri=folder.as_uri(), name=folder.name)],
        initialization_options=options,
    )
    loaded = client.wait_for_notification(types.WINDOW_LOG_MESSAGE)
    await asyncio.wait_for(client.initialize_session(params), TIMEOUT_S)
    await asyncio.wait_for(loaded, TIMEOUT_S)
    try:
        yield client
    finally:
        await asyncio.wait_for(client.shutdown_session(), TIMEOUT_S)
        await client.stop()


def open_file(client: LanguageClient, path: Path, text: str) -> str:
    """Open a file."""
    item = types.TextDocumentItem(uri=path.as_uri(), language_id="python", version=1, text=text)
    client.text_document_did_open(types.DidOpenTextDocumentParams(text_document=item))
    return path.as_uri()


async def prompt_of(client: LanguageClient, uri: str, line: int, column: int) -> dict[str, Any]:
    """Ask for a suggestion, and say what the model was shown."""
    params = inline_params(uri, line, column)
    # With a key: what is asked for again while typing is answered from memory.
    params.context.trigger_kind = types.InlineCompletionTriggerKind.Invoked
    answer = await asyncio.wait_for(client.text_document_inline_completion_async(params), TIMEOUT_S)
    assert isinstance(answer, types.InlineCompletionList)
    assert len(answer.items) == 1
    prompt: dict[str, Any] = (await engine_state(client))["prompts"][-1]._asdict()
    return prompt


async def snippets_until(client: LanguageClient, uri: str, wanted: Callable[[list[str]], bool]) -> None:
    """Ask until the snippets are as wanted; each turn is a round trip through the server."""
    async with asyncio.timeout(TIMEOUT_S):
        while not wanted([s.text for s in (await prompt_of(client, uri, 1, 2))["snippets"]]):
            pass


async def log_line(client: LanguageClient, part: str) -> str:
    """Wait for a line of the log."""
    async with asyncio.timeout(TIMEOUT_S):
        while True:
            if found := [m.message for m in client.log_messages if part in m.message]:
                return found[-1]
            await engine_state(client)


@pytest.mark.parametrize("name", EDITORS)
async def test_ignored_and_secret_files_get_a_reason(name: str, tmp_path: Path) -> None:
    write(tmp_path, {".gitignore": "made.py\n", "made.py": "", ".env": ""})
    async with editor(name, tmp_path) as client:
        for path, why in (("made.py", "ignored by"), (".env", "may hold secrets")):
            assert await ask(client, open_file(client, tmp_path / path, "KEY = hunter2"), 0, 6) == []
            assert why in await log_line(client, f": {path} version")
        assert len(await ask(client, open_file(client, tmp_path / "app.py", "x = "), 0, 4)) == 1
        assert not any("hunter2" in message.message for message in client.log_messages)
        assert "hunter2" not in str((await engine_state(client))["prompts"])


@pytest.mark.parametrize("name", EDITORS)
async def test_an_imported_signature_is_shown_to_the_model(name: str, tmp_path: Path) -> None:
    write(tmp_path, {"lib.py": "def f(a: int) -> str:\n    '''Does f.'''\n", "app.py": APP})
    async with editor(name, tmp_path) as client:
        await log_line(client, "indexed 2 files")
        uri = open_file(client, tmp_path / "app.py", APP)
        await snippets_until(client, uri, lambda s: s == ['def f(a: int) -> str:\n    """Does f."""'])


async def test_a_watched_file_that_is_made_is_indexed(tmp_path: Path) -> None:
    write(tmp_path, {"app.py": APP})
    async with editor("vscode-1.139", tmp_path) as client:
        await log_line(client, "indexed 1 files")
        uri = open_file(client, tmp_path / "app.py", APP)
        await snippets_until(client, uri, lambda s: s == [])
        write(tmp_path, {"lib.py": "def f(made): pass\n"})
        change = types.FileEvent(uri=(tmp_path / "lib.py").as_uri(), type=types.FileChangeType.Created)
        client.workspace_did_change_watched_files(types.DidChangeWatchedFilesParams(changes=[change]))
        await snippets_until(client, uri, lambda s: s == ["def f(made):\n    ..."])


@pytest.mark.parametrize("name", EDITORS)
async def test_a_restricted_workspace_is_neither_indexed_nor_asked(name: str, tmp_path: Path) -> None:
    write(tmp_path, {"lib.py": "def f(): pass\n", "infill.toml": "[languages]\npython = false\n"})
    async with editor(name, tmp_path, {"restricted": True}) as client:
        uri = open_file(client, tmp_path / "app.py", APP)
        assert (await prompt_of(client, uri, 1, 2))["snippets"] == []
        assert not any("indexed" in message.message for message in client.log_messages)
    async with editor(name, tmp_path) as client:
        assert await ask(client, open_file(client, tmp_path / "app.py", APP), 1, 2) == []
        assert "switched off for python" in await log_line(client, ": app.py version")


async def test_a_notebook_s_cell_sees_the_cells_above(tmp_path: Path) -> None:
    notebook = (tmp_path / "a.ipynb").as_uri()
    texts = ["def f(): pass", "x = "]
    uris = [notebook.replace("file:", "vscode-notebook-cell:") + f"#W{n}" for n in range(2)]
    async with editor("vscode-1.139", tmp_path) as client:
        client.notebook_document_did_open(
            types.DidOpenNotebookDocumentParams(
                notebook_document=types.NotebookDocument(
                    uri=notebook,
                    notebook_type="jupyter-notebook",
                    version=1,
                    cells=[types.NotebookCell(kind=types.NotebookCellKind.Code, document=u) for u in uris],
                ),
                cell_text_documents=[
                    types.TextDocumentItem(uri=uri, language_id="python", version=1, text=text)
                    for uri, text in zip(uris, texts, strict=True)
                ],
            )
        )
        prompt = await prompt_of(client, uris[1], 0, 4)
        assert prompt["prefix"] + prompt["typed"] == "def f(): pass\n\nx = "
        [item] = await ask(client, uris[1], 0, 4)
        assert item.range is not None
        assert item.range.end == types.Position(line=0, character=4)
