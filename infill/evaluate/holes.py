"""Cuts holes with known answers from the Python files of a folder, of four kinds, repeatably.

    line         the rest of a line from a token boundary, or a whole line after its indentation
    expression   one expression
    block        2 to 8 whole lines, from after the first one's indentation
    random       1 to 120 characters from anywhere

Knows nothing of engines. Only files are used that parse without an error and whose lines end in \\n,
and only holes whose answer is not whitespace.
"""

from __future__ import annotations

import ast
import random
import tokenize
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from io import StringIO
from pathlib import Path

from infill.code.document import Document
from infill.errors import InfillError
from infill.ignore import IgnoreRules
from infill.workspace.gather import Place
from infill.workspace.index import Index
from infill.workspace.nearby import nearby

KINDS = ("line", "expression", "block", "random")

_MAX_FILE_BYTES = 200_000
_HOLES_PER_FILE_AND_KIND = 2
_TRIES = 20
_SKIPPED_FOLDERS = frozenset({"node_modules", "site-packages", "__pycache__", "build", "dist"})


class NoHoles(InfillError):
    """The folder holds no file that holes can be cut from."""


@dataclass(frozen=True, kw_only=True)
class Hole:
    """`text[start:end]` is the answer; offsets are code points in the whole file's `text`.

    `path` is the file's, from the folder, with forward slashes; `nearby` are the texts of other files.
    """

    kind: str
    path: str
    text: str
    start: int
    end: int
    nearby: tuple[str, ...] = ()

    @property
    def gold(self) -> str:
        """The answer."""
        return self.text[self.start : self.end]

    @property
    def before(self) -> str:
        """The text before the hole."""
        return self.text[: self.start]

    @property
    def after(self) -> str:
        """The text after the hole."""
        return self.text[self.end :]


def cut_holes(directory: Path, limit: int, seed: int = 0) -> list[Hole]:
    """Cut up to `limit` holes, as many of each kind, at most two of a kind from a file.

    The same folder, limit and seed give the same holes under the same version of Python.

    Raises:
        NoHoles: there is no such folder, or nothing to cut holes from.
    """
    if not directory.is_dir():
        raise NoHoles(f"{directory} is not a directory")
    paths = sorted(_python_files(directory))
    draw = random.Random(seed)
    draw.shuffle(paths)
    quotas = {kind: (limit + index) // len(KINDS) for index, kind in enumerate(reversed(KINDS))}
    holes: dict[str, list[Hole]] = {kind: [] for kind in KINDS}
    for path in paths:
        open_kinds = [kind for kind in KINDS if len(holes[kind]) < quotas[kind]]
        if not open_kinds:
            break
        if (text := _read(path)) is None:
            continue
        name = path.relative_to(directory).as_posix()
        for kind in open_kinds:
            few = min(_HOLES_PER_FILE_AND_KIND, quotas[kind] - len(holes[kind]))
            holes[kind] += _cut(kind, name, text, few, draw)
    if not any(holes.values()):
        raise NoHoles(f"{directory} holds no Python file that holes can be cut from")
    return [hole for kind in KINDS for hole in holes[kind]]


def with_nearby(holes: Sequence[Hole], directory: Path, budget_chars: int) -> list[Hole]:
    """The holes with what is worth looking up in the folder's other files, as an editor that has it open."""
    root = directory.resolve()
    index = Index()
    index.set_folders([IgnoreRules(root)])
    index.scan()
    found: list[Hole] = []
    for hole in holes:
        place = Place(
            document=Document(hole.before + hole.after, "python"),
            offset=hole.start,
            root=root,
            path=hole.path,
        )
        found.append(replace(hole, nearby=nearby(index, place, budget_chars=budget_chars)))
    return found


def read_python(directory: Path) -> Iterator[tuple[str, str]]:
    """The name and the text of every Python file of a folder that holes can be cut from, in order.

    Raises:
        NoHoles: there is no such folder.
    """
    if not directory.is_dir():
        raise NoHoles(f"{directory} is not a directory")
    for path in sorted(_python_files(directory)):
        if (text := _read(path)) is not None:
            yield path.relative_to(directory).as_posix(), text


def parses(text: str) -> bool:
    """Whether tree-sitter parses a Python text without an error."""
    tree = Document(text, "python").tree
    return tree is not None and not tree.root_node.has_error


def _python_files(directory: Path) -> Iterator[Path]:
    for path in directory.rglob("*.py"):
        folders = path.relative_to(directory).parts[:-1]
        if not any(part.startswith(".") or part in _SKIPPED_FOLDERS for part in folders) and path.is_file():
            yield path


def _read(path: Path) -> str | None:
    """A file worth cutting from, or None."""
    try:
        data = path.read_bytes()
        text = data.decode("utf-8")
    except (OSError, UnicodeDecodeError):
        return None
    if not 200 <= len(data) <= _MAX_FILE_BYTES or "\r" in text or not parses(text):
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the code we read, not of ours
            ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None  # Python of another version; the expressions could not be found
    return text


def _cut(kind: str, path: str, text: str, count: int, draw: random.Random) -> list[Hole]:
    spans = _CUTTERS[kind](text, draw)
    holes: list[Hole] = []
    for _, (start, end) in zip(range(_TRIES), spans, strict=False):
        if len(holes) == count:
            break
        apart = all(end <= hole.start or start >= hole.end for hole in holes)
        if apart and text[start:end].strip():
            holes.append(Hole(kind=kind, path=path, text=text, start=start, end=end))
    return holes


def _lines(text: str) -> list[tuple[int, int]]:
    """Start and end of each line, its ending left out."""
    spans, start = [], 0
    for line in text.split("\n"):
        spans.append((start, start + len(line)))
        start += len(line) + 1
    return spans


def _indented(text: str, span: tuple[int, int]) -> int:
    line = text[span[0] : span[1]]
    return span[0] + len(line) - len(line.lstrip(" \t"))


def _cut_line(text: str, draw: random.Random) -> Iterator[tuple[int, int]]:
    lines = _lines(text)
    full = [span for span in lines if text[span[0] : span[1]].strip()]
    tokens = tokenize.generate_tokens(StringIO(text, newline="").readline)
    starts = [lines[row - 1][0] + column for _, string, (row, column), _, _ in tokens if string.strip()]
    while full:
        span = draw.choice(full)
        first = _indented(text, span)
        inside = [at for at in starts if first < at < span[1]]
        yield (draw.choice(inside) if inside and draw.random() < 0.5 else first), span[1]


def _cut_expression(text: str, draw: random.Random) -> Iterator[tuple[int, int]]:
    lines = _lines(text)

    def offset(row: int, column_bytes: int) -> int:
        start, end = lines[row - 1]
        return start + len(text[start:end].encode("utf-8")[:column_bytes].decode("utf-8"))

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        nodes = list(_expressions(ast.parse(text)))
    draw.shuffle(nodes)
    for node in nodes:
        if node.end_lineno is None or node.end_col_offset is None:
            continue
        start, end = offset(node.lineno, node.col_offset), offset(node.end_lineno, node.end_col_offset)
        if 3 <= end - start <= 120:
            yield start, end


def _expressions(node: ast.AST) -> Iterator[ast.expr]:
    """Every expression under a node, none inside an f-string: Python 3.11 has them in wrong places."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.expr):
            yield child
        if not isinstance(child, ast.JoinedStr):
            yield from _expressions(child)


def _cut_block(text: str, draw: random.Random) -> Iterator[tuple[int, int]]:
    lines = _lines(text)
    while len(lines) > 8:
        count = draw.randint(2, 8)
        first = draw.randrange(len(lines) - count + 1)
        chosen = lines[first : first + count]
        # Blank lines at either end would make the hole shorter than its kind says.
        if all(text[a:b].strip() for a, b in (chosen[0], chosen[-1])):
            yield _indented(text, chosen[0]), chosen[-1][1]


def _cut_random(text: str, draw: random.Random) -> Iterator[tuple[int, int]]:
    while True:
        length = round(2 ** draw.uniform(0, 6.9))
        start = draw.randrange(max(1, len(text) - length))
        yield start, min(len(text), start + length)


_CUTTERS: dict[str, Callable[[str, random.Random], Iterator[tuple[int, int]]]] = {
    "line": _cut_line,
    "expression": _cut_expression,
    "block": _cut_block,
    "random": _cut_random,
}
