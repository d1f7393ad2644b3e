"""The functions of a folder that bugs are put into, and their tokens."""

from __future__ import annotations

import ast
import io
import random
import tokenize
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from infill.evaluate.holes import NoHoles, read_python

_LINES = (4, 60)  # of a function worth looking at


@dataclass(frozen=True, kw_only=True)
class Function:
    """A function of a file: `text[start:end]` in code points, whole lines."""

    path: str
    text: str
    start: int
    end: int

    @property
    def lines(self) -> int:
        """How many lines with code it has."""
        return sum(bool(line.strip()) for line in self.text[self.start : self.end].split("\n"))


def functions(directory: Path, limit: int, seed: int) -> list[Function]:
    """Up to `limit` functions of the Python files of a folder, none within another, repeatably.

    Raises:
        NoHoles: there is no such folder, or no function in it.
    """
    found = [f for name, text in read_python(directory) for f in _functions(name, text)]
    if not found:
        raise NoHoles(f"{directory} holds no Python function")
    random.Random(seed).shuffle(found)
    return found[:limit]


def _functions(name: str, text: str) -> Iterator[Function]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tree = ast.parse(text)
    starts = [0]
    for line in text.split("\n"):
        starts.append(starts[-1] + len(line) + 1)
    pending: list[ast.AST] = [tree]
    while pending:
        for node in ast.iter_child_nodes(pending.pop()):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                last = node.end_lineno or node.lineno
                if _LINES[0] <= last - node.lineno + 1 <= _LINES[1]:
                    end = min(len(text), starts[last])
                    yield Function(path=name, text=text, start=starts[node.lineno - 1], end=end)
            elif isinstance(node, ast.stmt):
                pending.append(node)


@dataclass(frozen=True, kw_only=True)
class Token:
    """A token of a function, in offsets of the file."""

    start: int
    end: int
    text: str
    kind: int


def tokens(function: Function) -> list[Token]:
    """The function's tokens; none of an f-string's insides where Python gives none."""
    source = function.text[function.start : function.end]
    starts = [function.start]
    for line in source.split("\n"):
        starts.append(starts[-1] + len(line) + 1)
    found = []
    try:
        for token in tokenize.generate_tokens(io.StringIO(source).readline):
            if token.string.strip() and token.type != tokenize.COMMENT:
                start = starts[token.start[0] - 1] + token.start[1]
                end = starts[token.end[0] - 1] + token.end[1]
                found.append(Token(start=start, end=end, text=token.string, kind=token.type))
    except (tokenize.TokenError, IndentationError):  # a method's lines are all indented
        pass
    return found
