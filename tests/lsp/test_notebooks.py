"""Notebooks: a cell is filled as part of the file its notebook would be."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.fakes.engine import ScriptedEngine
from tests.infill.test_ignore import write
from tests.lsp.session import Session, connect

NOTEBOOK = "file:///project/a.ipynb"
SYNC = {"notebookDocument": {"synchronization": {"dynamicRegistration": True}}}

Cells = list[tuple[str, str]]  # (language, text)


def cell(number: int, notebook: str = NOTEBOOK) -> str:
    return notebook.replace("file:", "vscode-notebook-cell:", 1) + f"#W{number}"


def document(number: int, language: str, text: str, notebook: str = NOTEBOOK) -> dict[str, Any]:
    return {"uri": cell(number, notebook), "languageId": language, "version": 1, "text": text}


def described(number: int, language: str, notebook: str = NOTEBOOK) -> dict[str, Any]:
    return {"kind": 1 if language == "markdown" else 2, "document": cell(number, notebook)}


def open_notebook(session: Session, cells: Cells, notebook: str = NOTEBOOK) -> None:
    structure = [described(n, language, notebook) for n, (language, _) in enumerate(cells)]
    session.notify(
        "notebookDocument/didOpen",
        {
            "notebookDocument": {
                "uri": notebook,
                "notebookType": "jupyter",
                "version": 1,
                "cells": structure,
            },
            "cellTextDocuments": [document(n, *given, notebook) for n, given in enumerate(cells)],
        },
    )


def change_notebook(session: Session, **cells: Any) -> None:
    identifier = {"uri": NOTEBOOK, "version": 2}
    session.notify("notebookDocument/didChange", {"notebookDocument": identifier, "change": {"cells": cells}})


async def prompt_at(session: Session, engine: ScriptedEngine, number: int, column: int) -> str:
    """The text before the hole and after it, at a column of a cell's first line."""
    await session.inline(0, column, uri=cell(number), trigger=1)  # not from memory
    prompt = engine.requests[-1].prompt
    return f"{prompt.prefix}{prompt.typed}█{prompt.suffix}"


async def test_the_capability_is_advertised_to_those_who_know_notebooks() -> None:
    async with connect(initialize=False, capabilities=SYNC) as session:
        answer = await session.initialize()
    [selector] = answer["result"]["capabilities"]["notebookDocumentSync"]["notebookSelector"]
    assert selector == {"notebook": "*", "cells": [{"language": "*"}]}


@pytest.mark.parametrize(
    ("cells", "number", "expected"),
    [
        ([("python", "a = 1"), ("python", "x = "), ("python", "b = 2")], 1, "a = 1\n\nx = █\n\nb = 2"),
        ([("markdown", "# Title"), ("python", "a = 1\n"), ("python", "x = ")], 2, "a = 1\n\nx = █"),
        ([("r", "a <- 1"), ("python", "x = ")], 1, "x = █"),
        ([("python", ""), ("python", " \n"), ("python", "x = ")], 2, "x = █"),
        ([("python", "%matplotlib inline\n!ls\na = 1"), ("python", "x = ")], 1, None),
        (
            [("python", "%%bash\nls"), ("python", "%%time\na = 1"), ("python", "x = ")],
            2,
            "# %%time\na = 1\n\nx = █",
        ),
        ([("python", "a = 1\n" * 8000), ("python", "b = 1"), ("python", "x = ")], 2, "b = 1\n\nx = █"),
    ],
)
async def test_a_cell_is_filled_with_the_others_around_it(
    cells: Cells, number: int, expected: str | None
) -> None:
    engine = ScriptedEngine(["1"])
    async with connect(engine, capabilities=SYNC) as session:
        open_notebook(session, cells)
        found = await prompt_at(session, engine, number, 4)
    assert found == (expected or "# %matplotlib inline\n# !ls\na = 1\n\nx = █")


async def test_the_position_is_the_cell_s_own() -> None:
    async with connect(ScriptedEngine([" value + 1"]), capabilities=SYNC) as session:
        open_notebook(session, [("python", "é = '👩'\nb = 2\n"), ("python", "# 👩\nx = val")])
        [item] = await session.inline(1, 7, uri=cell(1))
    start, end = item["range"]["start"], item["range"]["end"]
    assert (start["line"], end) == (1, {"line": 1, "character": 7})
    assert item["insertText"] == "x = val"[start["character"] :] + "ue + 1"


async def test_the_selected_entry_of_the_popup_is_the_cell_s_own() -> None:
    async with connect(ScriptedEngine(["print(1)"]), capabilities=SYNC) as session:
        open_notebook(session, [("python", "a = 1"), ("python", "pri")])
        whole = {"start": {"line": 0, "character": 0}, "end": {"line": 0, "character": 3}}
        items = await session.inline(
            0, 3, uri=cell(1), selectedCompletionInfo={"range": whole, "text": "print"}
        )
    assert [(item["insertText"], item["range"]) for item in items] == [("print(1)", whole)]


async def test_cells_are_edited_added_moved_and_removed() -> None:
    engine = ScriptedEngine(["1"])
    async with connect(engine, capabilities=SYNC) as session:
        open_notebook(session, [("python", "a = 1"), ("python", "x = ")])
        where = {"start": {"line": 0, "character": 4}, "end": {"line": 0, "character": 5}}
        edit = {"document": {"uri": cell(0), "version": 2}, "changes": [{"range": where, "text": "22"}]}
        change_notebook(session, textContent=[edit])
        assert await prompt_at(session, engine, 1, 4) == "a = 22\n\nx = █"
        added = {"start": 0, "deleteCount": 0, "cells": [described(2, "python")]}
        change_notebook(session, structure={"array": added, "didOpen": [document(2, "python", "n = 3")]})
        assert await prompt_at(session, engine, 1, 4) == "n = 3\n\na = 22\n\nx = █"
        swapped = {"start": 0, "deleteCount": 2, "cells": [described(0, "python"), described(2, "python")]}
        change_notebook(session, structure={"array": swapped})
        assert await prompt_at(session, engine, 1, 4) == "a = 22\n\nn = 3\n\nx = █"
        removed = {"start": 1, "deleteCount": 1}
        change_notebook(session, structure={"array": removed, "didClose": [{"uri": cell(2)}]})
        assert await prompt_at(session, engine, 1, 4) == "a = 22\n\nx = █"


async def test_a_closed_notebook_is_forgotten() -> None:
    async with connect(capabilities=SYNC) as session:
        open_notebook(session, [("python", "a = 1"), ("python", "x = ")])
        params = {
            "notebookDocument": {"uri": NOTEBOOK},
            "cellTextDocuments": [{"uri": cell(0)}, {"uri": cell(1)}],
        }
        session.notify("notebookDocument/didClose", params)
        assert await session.inline(0, 4, uri=cell(1)) == []
        assert session.server.notebooks.of(cell(1)) is None
    assert "not open" in session.log[-1]


async def test_the_notebook_s_path_decides_whether_its_cells_are_looked_at(tmp_path: Path) -> None:
    write(tmp_path, {".gitignore": "made.ipynb\n"})
    made, secret = (tmp_path / "made.ipynb").as_uri(), (tmp_path / "secrets.ipynb").as_uri()
    async with connect(folders=[tmp_path], capabilities=SYNC) as session:
        for notebook, why in ((made, "ignored by"), (secret, "may hold secrets")):
            open_notebook(session, [("python", "x = ")], notebook)
            assert await session.inline(0, 4, uri=cell(0, notebook)) == []
            assert why in session.log[-1]
        assert session.server.documents.get(cell(0, secret)) is None
