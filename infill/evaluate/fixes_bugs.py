"""Bugs to be put into clean Python code, each of a documented kind, repeatably.

Syntax:
    bracket      one bracket is dropped
    colon        the colon that ends a block's header is dropped
    quote        one quote of a one-line string is dropped
    indent       one line of a block loses one level of indentation
    half-typed   a statement ends in its middle

One token:
    name         a variable becomes another one of the same function
    misspelt     a variable has two letters swapped, or one missing
    operator     an operator becomes another one of its sort
    literal      0 and 1, True and False change places
    arguments    two arguments of a call change places
    negation     a `not` is dropped
    self         a `self.` is dropped
    await        an `await` is dropped

A syntax bug is only used if Python cannot parse the text with it, one of the others only if it can.
"""

from __future__ import annotations

import keyword
import random
import re
import tokenize
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise

from infill.evaluate.fixes_functions import Function, Token, tokens
from infill.fixes.edit import Edit
from infill.repair.damage import python_error

SYNTAX = ("bracket", "colon", "quote", "indent", "half-typed")
TOKENS = ("name", "misspelt", "operator", "literal", "arguments", "negation", "self", "await")

_SWAPS = {
    "<": "<=",
    "<=": "<",
    ">": ">=",
    ">=": ">",
    "==": "!=",
    "!=": "==",
    "+": "-",
    "-": "+",
    "and": "or",
    "or": "and",
}
_LITERALS = {"0": "1", "1": "0", "True": "False", "False": "True"}


@dataclass(frozen=True, kw_only=True)
class Bug:
    """A bug: `edit` put it into `function.text`; `undo` takes it out of `text` again."""

    kind: str
    function: Function
    edit: Edit

    @property
    def text(self) -> str:
        """The text with the bug in it."""
        return self.edit.applied(self.function.text)

    @property
    def undo(self) -> Edit:
        """What repairs it."""
        old = self.function.text[self.edit.start : self.edit.end]
        return Edit(start=self.edit.start, end=self.edit.start + len(self.edit.text), text=old)


def inject(kind: str, function: Function, draw: random.Random) -> Bug | None:
    """A bug of one kind somewhere in a function; None where it has no place for one."""
    edits = list(_KINDS[kind](function, draw))
    draw.shuffle(edits)
    for edit in edits[:6]:
        bug = Bug(kind=kind, function=function, edit=edit)
        if (python_error(bug.text) is not None) == (kind in SYNTAX):
            return bug
    return None


def _body(function: Function) -> list[Token]:
    """The tokens behind the `def` line's name."""
    return tokens(function)[2:]


def _drop(token: Token) -> Edit:
    return Edit(start=token.start, end=token.end, text="")


def _swap(token: Token, text: str) -> Edit:
    return Edit(start=token.start, end=token.end, text=text)


def _bracket(function: Function, _draw: random.Random) -> Iterator[Edit]:
    yield from (_drop(t) for t in _body(function) if t.text in "()[]{}")


def _colon(function: Function, _draw: random.Random) -> Iterator[Edit]:
    header = re.compile(
        r"^\s*(?:async )?(?:def|class|if|elif|else|for|while|try|except|finally|with)\b.*(:)[ ]*$",
        re.MULTILINE,
    )
    for found in header.finditer(function.text, function.start, function.end):
        yield Edit(start=found.start(1), end=found.end(1), text="")


def _quote(function: Function, _draw: random.Random) -> Iterator[Edit]:
    for token in _body(function):
        if token.kind == tokenize.STRING and "\n" not in token.text and token.text[:3] not in ('"""', "'''"):
            first = token.start + len(token.text) - len(token.text.lstrip("rbfuRBFU"))
            if token.end - first > 2:
                yield Edit(start=first, end=first + 1, text="")
                yield Edit(start=token.end - 1, end=token.end, text="")


def _indent(function: Function, _draw: random.Random) -> Iterator[Edit]:
    at = function.text.find("\n", function.start) + 1
    while 0 < at < function.end:
        line = function.text[at : function.text.find("\n", at)]
        if line.startswith("    ") and line.strip() and line.strip()[0] not in ")]}#\"'":
            yield Edit(start=at, end=at + 4, text="")
        at = function.text.find("\n", at) + 1


def _half_typed(function: Function, _draw: random.Random) -> Iterator[Edit]:
    for token in _body(function):
        end = function.text.find("\n", token.end)
        if token.text in ("=", "==", ".", "(", ",", "return", "in", "not", "+") and end > token.end + 1:
            yield Edit(start=token.end, end=end, text="")


def _names(function: Function) -> list[Token]:
    """Variables that are read: names that are no keyword, no attribute, no keyword argument, no target."""
    body = _body(function)
    found = []
    for before, token, after in zip(body, body[1:], body[2:], strict=False):
        plain = token.kind == tokenize.NAME and not keyword.iskeyword(token.text) and token.text != "self"
        if (
            plain
            and before.text not in (".", "def", "class", "import", "as", "for")
            and after.text
            not in (
                "=",
                "(",
                ":",
            )
        ):
            found.append(token)
    return found


def _name(function: Function, draw: random.Random) -> Iterator[Edit]:
    found = _names(function)
    pool = sorted({token.text for token in found})
    for token in found:
        others = [name for name in pool if name != token.text]
        if others:
            yield _swap(token, draw.choice(others))


def _misspelt(function: Function, draw: random.Random) -> Iterator[Edit]:
    for token in _names(function):
        if len(token.text) >= 4:
            at = draw.randrange(1, len(token.text) - 1)
            a, b = token.text[at], token.text[at + 1]
            swapped = token.text[:at] + b + a + token.text[at + 2 :]
            dropped = token.text[:at] + token.text[at + 1 :]
            yield _swap(token, dropped if a == b or draw.random() < 0.5 else swapped)


def _operator(function: Function, _draw: random.Random) -> Iterator[Edit]:
    yield from (_swap(t, _SWAPS[t.text]) for t in _body(function) if t.text in _SWAPS)


def _literal(function: Function, _draw: random.Random) -> Iterator[Edit]:
    yield from (_swap(t, _LITERALS[t.text]) for t in _body(function) if t.text in _LITERALS)


def _arguments(function: Function, _draw: random.Random) -> Iterator[Edit]:
    body = _body(function)
    for group in zip(body, body[1:], body[2:], body[3:], body[4:], strict=False):
        name, opening, first, comma, second = group
        plain = all(t.kind == tokenize.NAME and not keyword.iskeyword(t.text) for t in (first, second))
        after = function.text[second.end : second.end + 1]
        shape = name.kind == tokenize.NAME and opening.text == "(" and comma.text == "," and after in ",)"
        if plain and shape and first.text != second.text and not keyword.iskeyword(name.text):
            yield Edit(start=first.start, end=second.end, text=f"{second.text}, {first.text}")


def _dropped_word(word: str) -> Callable[[Function, random.Random], Iterator[Edit]]:
    def find(function: Function, _draw: random.Random) -> Iterator[Edit]:
        for token in _body(function):
            if token.text == word and function.text[token.end : token.end + 1] == " ":
                yield Edit(start=token.start, end=token.end + 1, text="")

    return find


def _self(function: Function, _draw: random.Random) -> Iterator[Edit]:
    body = _body(function)
    for token, dot in pairwise(body):
        if token.text == "self" and dot.text == ".":
            yield Edit(start=token.start, end=dot.end, text="")


_KINDS: dict[str, Callable[[Function, random.Random], Iterator[Edit]]] = {
    "bracket": _bracket,
    "colon": _colon,
    "quote": _quote,
    "indent": _indent,
    "half-typed": _half_typed,
    "name": _name,
    "misspelt": _misspelt,
    "operator": _operator,
    "literal": _literal,
    "arguments": _arguments,
    "negation": _dropped_word("not"),
    "self": _self,
    "await": _dropped_word("await"),
}
