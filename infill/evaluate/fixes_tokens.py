"""Measures doubts: where the most doubtful place of a function is, beside simpler readers of the text."""

from __future__ import annotations

import math
import random
import threading
from collections.abc import Sequence
from dataclasses import dataclass

from engine.request import Engine, ScoreRequest
from infill.code.document import Document
from infill.evaluate.fixes_bugs import Bug
from infill.evaluate.fixes_functions import Function, tokens
from infill.evaluate.metrics import share
from infill.fixes.edit import Edit, prompt_around
from infill.fixes.names import alike, names_in_scope
from infill.fixes.suspicious import THRESHOLD, Doubt, judged_range

_NOT_CANCELLED = threading.Event()


@dataclass(frozen=True, kw_only=True)
class TokenRow:
    """One kind of one-token bug: shares of `bugs`, 0 to 1.

    `located` and `exact` are about the most doubtful place of the function, whatever its score; `found` and
    `found_exact` about the doubts over the threshold (recall). The baselines locate likewise.
    """

    kind: str
    bugs: int
    located: float
    exact: float
    found: float
    found_exact: float
    baseline_causal_located: float
    baseline_spelling_exact: float


def token_row(kind: str, results: Sequence[Read]) -> TokenRow:
    over = [[s for s in r.scores if s[0] >= THRESHOLD] for r in results]
    return TokenRow(
        kind=kind,
        bugs=len(results),
        located=share([bool(r.scores) and r.scores[0][1] for r in results]),
        exact=share([bool(r.scores) and r.scores[0][2] for r in results]),
        found=share([any(at for _, at, _ in scores) for scores in over]),
        found_exact=share([any(exact for _, _, exact in scores) for scores in over]),
        baseline_causal_located=share([r.causal for r in results]),
        baseline_spelling_exact=share([r.spelling for r in results]),
    )


@dataclass(frozen=True, kw_only=True)
class Read:
    """What was made of one function with a bug: the doubts' scores with whether they are the bug's."""

    scores: tuple[tuple[float, bool, bool], ...]  # score, at the bug, exactly its repair
    causal: bool
    spelling: bool


def judge_tokens(engine: Engine, bug: Bug) -> Read:
    """Read a function with a bug in it, ours and the baselines' way.

    Raises:
        EngineError: the engine cannot serve it.
    """
    document = Document(bug.text, "python")
    start = bug.function.start
    end = bug.function.end + len(bug.text) - len(bug.function.text)
    doubts = judged_range(engine, document, start, end, cancelled=_NOT_CANCELLED)
    scores = [(d.score, _at_bug(d, bug), d.edit.applied(bug.text) == bug.function.text) for d in doubts]
    return Read(
        scores=tuple(sorted(scores, reverse=True)),
        causal=_touches(_most_surprising(engine, document, start, end, bug), bug),
        spelling=_spelling(document, bug, start, end),
    )


def _at_bug(doubt: Doubt, bug: Bug) -> bool:
    return _touches((doubt.edit.start, doubt.edit.end), bug)


def _touches(span: tuple[int, int], bug: Bug) -> bool:
    """Whether a span is at the bug; something that was dropped is at either neighbour."""
    undo = bug.undo
    slack = 1 if undo.end == undo.start else 0
    return span[0] <= undo.end + slack - (slack == 0) and span[1] >= undo.start + (slack == 0) - slack


def _most_surprising(engine: Engine, document: Document, start: int, end: int, bug: Bug) -> tuple[int, int]:
    """The token of the function that the causal direction expected least, left to right."""
    worst, found = math.inf, (start, start)
    at = start
    while at < end:
        last = document.text.rfind("\n", at, at + 500) + 1
        last = min(end, last if last > at else at + 500)
        prompt = prompt_around(document, at, last, engine.info())
        middle = document.text[at:last]
        (scored,) = engine.score(ScoreRequest(prompt=prompt, middles=(middle,)), _NOT_CANCELLED)
        begin = at
        for token in scored.tokens:
            after = begin + len(token.text)
            if token.text.strip() and token.log_probability < worst:
                worst, found = token.log_probability, (begin, after)
            begin = after
        at = last
    return _word_at(document.text, *found)


def _word_at(text: str, start: int, end: int) -> tuple[int, int]:
    """The whole word a token is part of, so that it is judged by the same measure as we are."""
    while start < end and text[start].isspace():
        start += 1
    while start > 0 and _in_word(text[start - 1]) and _in_word(text[start : start + 1]):
        start -= 1
    while end < len(text) and _in_word(text[end]) and _in_word(text[end - 1]):
        end += 1
    return start, end


def _in_word(char: str) -> bool:
    return char.isalnum() or char == "_"


def _spelling(document: Document, bug: Bug, start: int, end: int) -> bool:
    """Whether a spell-checker finds and repairs it: a name said only once, put right to the likest other."""
    if bug.kind not in ("name", "misspelt", "self"):
        return False
    names = names_in_scope(document, bug.undo.start)
    for token in tokens(Function(path="", text=document.text, start=start, end=end)):
        if token.text.isidentifier() and document.text.count(token.text) == 1:
            like = alike(token.text, names, 1)
            if like:
                edit = Edit(start=token.start, end=token.end, text=like[0])
                return edit.applied(document.text) == bug.function.text
    return False


@dataclass(frozen=True, kw_only=True)
class Clean:
    """The scores of the doubts about a function there is nothing wrong with."""

    scores: tuple[float, ...]


def read_clean(engine: Engine, function: Function) -> Clean:
    """Read a function as it is.

    Raises:
        EngineError: the engine cannot serve it.
    """
    document = Document(function.text, "python")
    doubts = judged_range(engine, document, function.start, function.end, cancelled=_NOT_CANCELLED)
    return Clean(scores=tuple(doubt.score for doubt in doubts))


@dataclass(frozen=True, kw_only=True)
class Sample:
    """What thresholds are weighed on: buggy functions by their files' names, and clean ones."""

    buggy: tuple[tuple[str, Read], ...]
    clean: tuple[tuple[Function, Clean], ...]

    def at(self, threshold: float) -> dict[str, float]:
        """Recall and precision, 0 to 1, and false alarms per 1,000 clean lines."""
        reads = [read for _, read in self.buggy]
        right = [any(at for score, at, _ in r.scores if score >= threshold) for r in reads]
        false = sum(score >= threshold for _, clean in self.clean for score in clean.scores)
        wrong = sum(not at for r in reads for score, at, _ in r.scores if score >= threshold)
        lines = sum(function.lines for function, _ in self.clean)
        said = sum(right) + wrong + false
        return {
            "threshold": threshold,
            "recall": share(right),
            "precision": round(sum(right) / said, 4) if said else 0.0,
            "false_alarms": false,
            "false_alarms_per_1000_lines": round(1000 * false / lines, 2) if lines else 0.0,
            "clean_lines": lines,
            "bugs": len(reads),
        }

    def part(self, number: int, seed: int) -> Sample:
        """One half of it, 0 or 1, by packages (outermost folders), or by files where there is only one."""
        names = [path for path, _ in self.buggy] + [function.path for function, _ in self.clean]
        packages = {name.split("/")[0] for name in names}
        units = sorted(packages if len(packages) > 1 else set(names))
        random.Random(seed).shuffle(units)
        ours = set(units[number::2])

        def mine(path: str) -> bool:
            return path in ours or (len(packages) > 1 and path.split("/")[0] in ours)

        return Sample(
            buggy=tuple(pair for pair in self.buggy if mine(pair[0])),
            clean=tuple(pair for pair in self.clean if mine(pair[0].path)),
        )
