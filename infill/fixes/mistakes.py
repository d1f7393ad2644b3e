"""Small edits that may undo a slip of the keyboard: a bracket, a quote, a colon, a word, an indentation.

It knows where a parser stumbled and what lies around, and proposes; whether an edit makes the text parse and
which of those reads best is decided elsewhere.
"""

from __future__ import annotations

import difflib
import keyword
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from infill.code.indentation import indent_of, indent_unit
from infill.fixes.edit import Edit

_TOKEN = re.compile(r"\w+|\"\"\"|'''|==|!=|<=|>=|->|\*\*|//|[^\w\s]")
_PAIRS = {"(": ")", "[": "]", "{": "}"}
_OPENER = {closer: opener for opener, closer in _PAIRS.items()}
_SEPARATORS = (",", ":", "=", ".", " in ", " import ", " as ")
_HEADER = re.compile(
    r"\s*(?:async\s+)?(?:def|class|if|elif|else|for|while|try|except|finally|with|match|case)\b"
)
_REACH_LINES = 12
"""How far from a bracket without a partner the partner may be missing."""


class _Open(NamedTuple):
    """A bracket or a quote without a partner."""

    at: int
    text: str


def edits(text: str, language: str, lines: Sequence[int]) -> Iterator[Edit]:
    """Edits of `text` near the lines (from 0) a parser stumbled over, the likeliest sorts first."""
    spans = _spans(text)
    near = _near(lines, len(spans))
    openers, closers, quotes = _lonely(text, spans)
    # Behind a lost quote brackets lose their partners too, so quotes go first.
    yield from _quotes(text, spans, quotes)
    yield from _brackets(text, spans, openers, closers)
    yield from _quotes(text, spans, list(_all_quotes(text, spans, near)))
    if language == "python":
        yield from _colons(text, spans, near)
    yield from _indents(text, spans, near, language)
    yield from _words(text, spans, near, language)
    yield from _marks(text, spans, near)


def _near(lines: Sequence[int], count: int) -> list[int]:
    around = (line + by for line in lines[:3] for by in (0, -1, 1, -2, -3))
    return [line for line in dict.fromkeys(around) if 0 <= line < count]


def _spans(text: str) -> list[tuple[int, int]]:
    spans, at = [], 0
    for line in text.split("\n"):
        spans.append((at, at + len(line)))
        at += len(line) + 1
    return spans


def _lonely(text: str, spans: list[tuple[int, int]]) -> tuple[list[_Open], list[_Open], list[_Open]]:
    """The brackets and quotes without partners: openers, closers, quotes. A quote ends with its line."""
    pending: list[_Open] = []
    closers: list[_Open] = []
    quotes: list[_Open] = []
    triple = ""
    for start, end in spans:
        quote: _Open | None = None
        for found in _TOKEN.finditer(text, start, end):
            token, at = found[0], found.start()
            if triple:
                triple = "" if token == triple else triple
            elif quote is not None:
                escaped = text[at - 1] == "\\" and text[at - 2 : at - 1] != "\\"
                quote = None if token == quote.text and not escaped else quote
            elif token in ('"""', "'''"):
                triple = token
            elif token in "\"'":
                quote = _Open(at, token)
            elif token == "#":
                break
            elif token in _PAIRS:
                pending.append(_Open(at, token))
            elif token in _OPENER:
                if pending and pending[-1].text == _OPENER[token]:
                    pending.pop()
                else:
                    closers.append(_Open(at, token))
        if quote is not None:
            quotes.append(quote)
    return pending, closers, quotes


def _brackets(
    text: str, spans: list[tuple[int, int]], openers: Sequence[_Open], closers: Sequence[_Open]
) -> Iterator[Edit]:
    # The innermost of the openers is the last; of the closers the first one is where it went wrong.
    for opener in [*openers[-2:], *openers[:1]]:
        for at in _boundaries(text, opener.at + 1, _line_after(spans, opener.at, _REACH_LINES)):
            yield Edit(start=at, end=at, text=_PAIRS[opener.text], how="closing bracket")
        yield Edit(start=opener.at, end=opener.at + 1, text="", how="surplus bracket")
    for closer in [*closers[:2], *closers[-1:]]:
        first = _line_before(spans, closer.at, _REACH_LINES)
        for at in reversed(list(_boundaries(text, first, closer.at))):
            yield Edit(start=at, end=at, text=_OPENER[closer.text], how="opening bracket")
        # Without its bracket a call's name runs into the first argument.
        for at in range(spans[_line_of(spans, closer.at)][0] + 1, closer.at):
            if text[at - 1 : at + 1].isalnum():
                yield Edit(start=at, end=at, text=_OPENER[closer.text], how="opening bracket")
        yield Edit(start=closer.at, end=closer.at + 1, text="", how="surplus bracket")


def _all_quotes(text: str, spans: list[tuple[int, int]], near: Sequence[int]) -> Iterator[_Open]:
    """Every quote of the lines: an odd one may pair with any."""
    for line in near[:3]:
        for found in re.finditer(r"\"\"\"|'''|[\"']", text[spans[line][0] : spans[line][1]]):
            yield _Open(spans[line][0] + found.start(), found[0])


def _quotes(text: str, spans: list[tuple[int, int]], quotes: Iterable[_Open]) -> Iterator[Edit]:
    seen = set()
    for quote in quotes:
        start, end = spans[_line_of(spans, quote.at)]
        if (start, quote.text) in seen:
            continue
        seen.add((start, quote.text))
        for at in _boundaries(text, start, end):
            yield Edit(start=at, end=at, text=quote.text, how="quote")
        for found in re.finditer(re.escape(quote.text), text[start:end]):
            at = start + found.start()
            yield Edit(start=at, end=at + len(quote.text), text="", how="surplus quote")


def _colons(text: str, spans: list[tuple[int, int]], near: Sequence[int]) -> Iterator[Edit]:
    for line in near:
        start, end = spans[line]
        code = text[start:end]
        if not code.strip():
            continue
        bare = start + len(code.split("  #")[0].rstrip())
        if not text.endswith(":", start, bare):
            how = "colon" if _HEADER.match(code) else "other colon"
            yield Edit(start=bare, end=bare, text=":", how=how)


def _indents(text: str, spans: list[tuple[int, int]], near: Sequence[int], language: str) -> Iterator[Edit]:
    unit = indent_unit(text, spans[near[0]][0], language) if near else "    "
    for line in near:
        start, _ = spans[line]
        now = indent_of(text, start)
        above = [indent_of(text, a) for a, b in spans[max(0, line - 3) : line] if text[a:b].strip()][-1:]
        below = [indent_of(text, a) for a, b in spans[line + 1 : line + 4] if text[a:b].strip()][:1]
        options = [*below, *above, *(a + unit for a in above), now + unit, now.removesuffix(unit)]
        for option in dict.fromkeys(options):
            if option != now:
                yield Edit(start=start, end=start + len(now), text=option, how="indentation")


def _words(text: str, spans: list[tuple[int, int]], near: Sequence[int], language: str) -> Iterator[Edit]:
    if language != "python":
        return
    words = [*keyword.kwlist, "match", "case"]
    for line in near:
        for found in re.finditer(r"[A-Za-z]+", text[spans[line][0] : spans[line][1]]):
            word = found[0]
            if word in words or len(word) < 2:
                continue
            alike = [w for w in words if w.startswith(word) and len(w) <= len(word) + 3]
            alike += difflib.get_close_matches(word, words, n=2, cutoff=0.75)
            at = spans[line][0] + found.start()
            for other in dict.fromkeys(alike):
                yield Edit(start=at, end=at + len(word), text=other, how="keyword")


def _marks(text: str, spans: list[tuple[int, int]], near: Sequence[int]) -> Iterator[Edit]:
    """A separator too few, or any one token too many."""
    for line in near[:2]:
        start, end = spans[line]
        for at in reversed(list(_boundaries(text, start, end))):
            yield Edit(start=at, end=end, text="", how="cut")
    for line in near[:3]:
        start, end = spans[line]
        tokens = list(_TOKEN.finditer(text, start, end))
        for found in tokens:
            yield Edit(start=found.start(), end=found.end(), text="", how="surplus token")
        for separator in _SEPARATORS:
            for found in tokens[:-1]:
                yield Edit(start=found.end(), end=found.end(), text=separator, how="separator")


def _boundaries(text: str, start: int, end: int) -> Iterator[int]:
    """The offsets between tokens, each once."""
    last = -1
    for found in _TOKEN.finditer(text, start, end):
        for at in (found.start(), found.end()):
            if at != last:
                yield at
            last = at


def _line_of(spans: list[tuple[int, int]], offset: int) -> int:
    return next(index for index, (_, end) in enumerate(spans) if offset <= end)


def _line_after(spans: list[tuple[int, int]], offset: int, lines: int) -> int:
    return spans[min(len(spans) - 1, _line_of(spans, offset) + lines)][1]


def _line_before(spans: list[tuple[int, int]], offset: int, lines: int) -> int:
    return spans[max(0, _line_of(spans, offset) - lines)][0]
