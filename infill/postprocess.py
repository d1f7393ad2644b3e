"""From a canvas to the text for a hole, or to the reason why there is none.

The order of the steps is here, the steps themselves in `infill.cuts` and `infill.checks`. It knows nothing
of how a canvas came about.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from engine.request import Canvas
from infill.checks import (
    Number,
    Verdict,
    check_balance,
    check_empty,
    check_notice,
    check_prefix,
    check_repetitive,
    check_suffix,
    check_word,
)
from infill.code.brackets import Balance, inserted_marks
from infill.code.document import Document
from infill.code.indentation import indent_unit, reindent
from infill.code.lines import line_end, line_number, line_start, newline_of, with_line_feeds
from infill.context import Context
from infill.cuts import (
    Imbalance,
    cut_block,
    cut_closer,
    cut_line,
    drop_last_line,
    trim_blanks,
    trim_overlap,
    trim_repeated_lines,
)
from infill.hole import Hole, HoleKind
from infill.request import Reason

_LINES_ABOVE = 10


@dataclass(frozen=True, kw_only=True)
class Kept:
    """The text that goes from the code point `start`, at or before the hole's, to the hole's end.

    `typed` is how many characters of the canvas were typed before the hole, and `chars` how many of them
    it is in all; where the indentation was changed, about as many.
    """

    text: str
    start: int
    typed: int
    chars: int


def postprocess(
    canvas: Canvas,
    document: Document,
    hole: Hole,
    context: Context,
    *,
    inside_word: bool = False,
    balance: Imbalance | None = None,
) -> Kept | Verdict:
    """The canvas cut to the hole's natural end, in the buffer's style; or the reason to show nothing.

    A cursor within a word is turned down unless the model's text ends the word, or `inside_word` is meant.
    `balance` is the hole's, for whoever has several canvases for it.
    """
    typed = context.prompt.typed
    middle = with_line_feeds(canvas.text)
    if not middle.startswith(typed):
        return Verdict(Reason.EMPTY, "it does not begin with what was typed")
    added = _indented(middle[len(typed) :], document, hole)
    balance = balance or Balance(document, hole.start, hole.end)
    ended = _cut(added, canvas.ended, document, hole, balance)
    if isinstance(ended, Verdict):
        return ended
    suffix = context.prompt.suffix
    if canvas.ran_on is not None and ended == added:  # what follows anyway is left out of it
        unlapped, overlap = ended, canvas.ran_on
    else:
        unlapped = trim_overlap(ended, suffix, balance)
        overlap = ended[len(unlapped) :]
    text = trim_repeated_lines(unlapped, suffix, balance)
    if not text.strip() and ended.strip():
        return Verdict(Reason.REPEATS_SUFFIX, f"repeats line {_next_line(document, hole)[1]()}")
    if not canvas.ended and text == added:
        return Verdict(Reason.UNFINISHED)
    if (
        hole.kind is not HoleKind.SPAN and not inside_word
    ):  # whoever chose a span may well have begun it inside a word
        before = document.text[max(0, hole.start - 1) : hole.start]
        verdict = check_word(before, overlap, suffix)
        if verdict is not None:
            return verdict
    text = _trim_end(text, document, hole, suffix)
    verdict = _check(text, document, hole, balance)
    if verdict is not None:
        return verdict
    newline = newline_of(document.text, hole.start)
    shown = text.replace("\n", newline)
    if typed.startswith("\n"):  # an indentation, and the line above is none of an editor's concern
        return Kept(text=shown, start=hole.start, typed=len(typed), chars=len(typed) + len(text))
    return Kept(text=typed + shown, start=context.typed_start, typed=len(typed), chars=len(typed) + len(text))


def _indented(text: str, document: Document, hole: Hole) -> str:
    """The text in the buffer's indentation."""
    if "\n" not in text and not text.startswith((" ", "\t")):
        return text
    unit = indent_unit(document.text, hole.start, document.language)
    at_margin = line_start(document.text, hole.start) == hole.start
    return reindent("\n" + text, unit)[1:] if at_margin else reindent(text, unit)


def _cut(added: str, canvas_ended: bool, document: Document, hole: Hole, balance: Imbalance) -> str | Verdict:
    """The text up to the hole's natural end."""
    if not added.strip():
        return check_empty(added) or added
    marks = inserted_marks(document, hole.start, hole.end, added)
    text = cut_closer(added, marks, balance)
    if hole.one_line:
        text = cut_line(text, marks)
        return text if text.strip() else Verdict(Reason.EMPTY, "nothing is missing before the line's end")
    if hole.kind is HoleKind.BLOCK:
        before = document.text[line_start(document.text, hole.start) : hole.start]
        margin = "#" if document.language in ("c", "cpp") else ""
        text = cut_block(text, marks, hole.ends_at, before, margin)
    if canvas_ended or text != added or (hole.kind is HoleKind.SPAN and "\n" not in text):
        return text if text.strip() else Verdict(Reason.EMPTY)
    text = drop_last_line(text)
    return text if text.strip() else Verdict(Reason.UNFINISHED, "not one line of it is whole")


def _trim_end(text: str, document: Document, hole: Hole, suffix: str) -> str:
    """A span keeps the blanks and line feeds it ended with, an empty one the model's; other holes, none."""
    if hole.kind is not HoleKind.SPAN:
        return trim_blanks(text, suffix)
    if hole.start == hole.end:
        return text
    replaced = with_line_feeds(document.text[hole.start : hole.end])
    return text.rstrip() + replaced[len(replaced.rstrip()) :]


def _check(text: str, document: Document, hole: Hole, balance: Imbalance) -> Verdict | None:
    """The first reason against a text, cheapest first."""
    whole = document.text
    before = whole[line_start(whole, hole.start) : hole.start]
    after = whole[hole.end : line_end(whole, hole.end)]
    if hole.kind is HoleKind.SPAN and text == with_line_feeds(whole[hole.start : hole.end]):
        return Verdict(Reason.EMPTY, "the span would stay as it is")
    filled = [line for line in (before + text + after).split("\n") if line.strip()]
    above, number_above = _lines_above(document, hole)
    return (
        check_empty(text)
        or check_suffix("\n".join(filled), *_next_line(document, hole))
        or check_prefix(filled, above, number_above)
        or check_repetitive(text)
        or check_notice(filled, [*above, before + after] if after.strip() else above, whole)
        or check_balance(balance(text))
    )


def _next_line(document: Document, hole: Hole) -> tuple[str, Number]:
    """The line of the first character after the hole that is no blank, and its number from 1."""
    text = document.text
    at = hole.end
    while at < len(text) and text[at].isspace():
        at += 1
    return text[line_start(text, at) : line_end(text, at)], partial(line_number, text, at)


def _lines_above(document: Document, hole: Hole) -> tuple[list[str], Number]:
    """The nearest lines above the hole's that are not blank, and the number of the last of them."""
    text = document.text
    start = line_start(text, hole.start)
    sample = text[max(0, start - 4000) : start].rstrip()
    lines = [line for line in with_line_feeds(sample).split("\n") if line.strip()]
    return lines[-_LINES_ABOVE:], partial(line_number, text, max(0, start - 4000) + len(sample))
