"""The notebooks the client has open: their cells in order, and the text a cell stands in.

To a model a notebook is one file: the code cells of one language below each other. The texts of the cells
are kept with the other documents; here is only which belong together.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from lsprotocol import types

from infill.code.document import Document
from lsp.documents import Documents

NOTEBOOK_SYNC = types.NotebookDocumentSyncOptions(
    notebook_selector=[
        types.NotebookDocumentFilterWithNotebook(
            notebook="*", cells=[types.NotebookCellLanguage(language="*")]
        )
    ],
    save=False,
)
"""Every cell of every notebook: which languages there are is for the notebook to say."""

_BETWEEN = "\n\n"  # cells
_MOST_CHARS = 40_000  # of the cells on each side; whole cells, the nearest first
_MAGIC = re.compile(r"^(?=[ \t]*[%!])", re.MULTILINE)
_FOREIGN = re.compile(r"\s*%%(?!time|timeit|capture|prun)")


@dataclass(kw_only=True)
class Notebook:
    """One notebook; `cells` are the URIs of its cells, prose included, in order."""

    uri: str
    cells: list[str] = field(default_factory=list)


class Notebooks:
    """All open notebooks by URI."""

    def __init__(self) -> None:
        self._open: dict[str, Notebook] = {}
        self._of_cell: dict[str, Notebook] = {}

    def open(self, uri: str, cells: list[str]) -> None:
        """Take a notebook; one that is open already is replaced."""
        self.close(uri)
        self._open[uri] = Notebook(uri=uri)
        self.splice(uri, 0, 0, cells)

    def splice(self, uri: str, start: int, deleted: int, cells: list[str]) -> None:
        """Put `cells` in the place of `deleted` ones from `start` on; one that is not open is no error."""
        notebook = self._open.get(uri)
        if notebook is None:
            return
        for cell in notebook.cells[start : start + deleted]:
            self._of_cell.pop(cell, None)
        notebook.cells[start : start + deleted] = cells
        self._of_cell.update(dict.fromkeys(cells, notebook))

    def close(self, uri: str) -> list[str]:
        """Forget a notebook, and say which cells it had."""
        notebook = self._open.pop(uri, None)
        for cell in notebook.cells if notebook is not None else ():
            self._of_cell.pop(cell, None)
        return notebook.cells if notebook is not None else []

    def of(self, cell: str) -> str | None:
        """The URI of the notebook a cell is in."""
        notebook = self._of_cell.get(cell)
        return notebook.uri if notebook is not None else None

    def around(self, cell: str, language: str, documents: Documents) -> tuple[str, str]:
        """The text before a cell and the one after it: the other cells of its language, in order."""
        notebook = self._of_cell.get(cell)
        if notebook is None:
            return "", ""
        at = notebook.cells.index(cell)
        above = _joined(_texts(reversed(notebook.cells[:at]), language, documents))
        below = _joined(_texts(iter(notebook.cells[at + 1 :]), language, documents))
        before = "".join(text + _BETWEEN for text in reversed(above))
        return before, "".join(_BETWEEN + text for text in below)


def in_notebook(document: Document, around: tuple[str, str]) -> Document:
    """A cell's document with the text of the other cells around it."""
    before, after = around
    if not before and not after:
        return document
    return Document(before + document.text + after, document.language)


def _texts(cells: Iterator[str], language: str, documents: Documents) -> Iterator[str]:
    """What each cell says in a language; IPython's own commands become comments."""
    for cell in cells:
        opened = documents.get(cell)
        if opened is None or opened.document.language != language or _FOREIGN.match(opened.document.text):
            continue
        text = opened.document.text.strip("\r\n")
        yield _MAGIC.sub("# ", text) if language == "python" else text


def _joined(texts: Iterator[str]) -> list[str]:
    """As many of the texts as there is room for."""
    kept, chars = [], 0
    for text in texts:
        chars += len(text) + len(_BETWEEN)
        if chars > _MOST_CHARS:
            break
        if text.strip():
            kept.append(text)
    return kept
