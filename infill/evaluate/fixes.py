"""Measures fix-ups on injected bugs, on clean functions and on fills, beside baselines of the same run.

Syntax: exact repair and parse rate, by kind, of our top fix, of tree-sitter's own insertion of what it finds
missing, and of the causal direction's choice among single insertions alone. One-token bugs: how often the
most doubtful place of the function is the bug's, against the most surprising token left to right and, for
names, against a spell-checker over the names in scope. Knows nothing of terminals.
"""

from __future__ import annotations

import math
import random
import threading
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from engine.request import Engine, ScoreRequest
from infill.damage import python_error
from infill.document import Document
from infill.evaluate.fixes_bugs import SYNTAX, TOKENS, Bug, Function, functions, inject, tokens
from infill.evaluate.fixes_fills import FillRates, fill_rates
from infill.evaluate.metrics import mean
from infill.fixes.edit import Edit, prompt_around
from infill.fixes.names import alike, names_in_scope
from infill.fixes.suspicious import THRESHOLD, Doubt, judged_range
from infill.fixes.syntax import fix_syntax

_NOT_CANCELLED = threading.Event()


@dataclass(frozen=True, kw_only=True)
class SyntaxRow:
    """One kind of syntax error: shares of `bugs`, 0 to 1."""

    kind: str
    bugs: int
    exact: float
    parses: float
    offered: float
    baseline_missing_exact: float
    baseline_missing_parses: float


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


@dataclass(frozen=True, kw_only=True)
class Report:
    """All of it. `precision` is that of doubts over the threshold: in buggy functions those at the bug, the
    clean ones counting as false alarms. `thresholds` is the trade-off: recall and false alarms per 1,000
    clean lines at each threshold."""

    model: str
    seed: int
    threshold: float
    syntax: tuple[SyntaxRow, ...]
    tokens: tuple[TokenRow, ...]
    clean_functions: int
    clean_lines: int
    false_alarms_per_1000_lines: float
    precision: float
    thresholds: tuple[dict[str, float], ...]
    fills: FillRates | None

    def as_json(self) -> dict[str, object]:
        """The report as plain JSON values."""
        return asdict(self)


def evaluate_fixes(
    engine: Engine,
    directory: Path,
    *,
    per_kind: int,
    clean: int,
    fills: int,
    seed: int,
    advance: Callable[[], None] = lambda: None,
) -> Report:
    """Put `per_kind` bugs of each kind into functions of a folder, and read `clean` others as they are.

    Raises:
        EngineError: the engine cannot serve a request.
        NoHoles: there is nothing to put bugs into.
    """
    everything = functions(directory, 10**9, seed)
    untouched, rest = everything[:clean], everything[clean:] or everything
    syntax = tuple(
        _syntax_row(kind, [_syntax(engine, b, advance) for b in _bugs(kind, rest, per_kind, seed)])
        for kind in SYNTAX
    )
    judged = {
        kind: [_judge(engine, b, advance) for b in _bugs(kind, rest, per_kind, seed)] for kind in TOKENS
    }
    alarms = [_clean(engine, function, advance) for function in untouched]
    lines = sum(function.lines for function in untouched)
    flat = [result for row in judged.values() for result in row]
    everyone = [*judged.items(), ("all", flat)]
    at_default = _at(THRESHOLD, flat, alarms, lines)
    return Report(
        model=engine.info().model,
        seed=seed,
        threshold=THRESHOLD,
        syntax=(*syntax,),
        tokens=tuple(_token_row(kind, row) for kind, row in everyone if row),
        clean_functions=len(untouched),
        clean_lines=lines,
        false_alarms_per_1000_lines=at_default["false_alarms_per_1000_lines"],
        precision=at_default["precision"],
        thresholds=tuple(_at(float(value), flat, alarms, lines) for value in range(4, 25, 2)),
        fills=fill_rates(engine, directory, fills, seed, advance) if fills else None,
    )


def _bugs(kind: str, pool: Sequence[Function], count: int, seed: int) -> list[Bug]:
    draw = random.Random(f"{seed}-{kind}")
    found: list[Bug] = []
    for function in pool:
        if len(found) == count:
            break
        if (bug := inject(kind, function, draw)) is not None:
            found.append(bug)
    return found


@dataclass(frozen=True, kw_only=True)
class _Mended:
    """What became of one syntax bug."""

    exact: bool
    parses: bool
    offered: bool
    missing_exact: bool
    missing_parses: bool


def _syntax(engine: Engine, bug: Bug, advance: Callable[[], None]) -> _Mended:
    document = Document(bug.text, "python")
    broken = fix_syntax(engine, document, 0, len(bug.text), cancelled=_NOT_CANCELLED)
    texts = [ranked.edit.applied(bug.text) for one in broken[:1] for ranked in one.fixes]
    missing = _insert_missing(document)
    advance()
    return _Mended(
        exact=bool(texts) and texts[0] == bug.function.text,
        parses=bool(texts) and python_error(texts[0]) is None,
        offered=bug.function.text in texts,
        missing_exact=missing == bug.function.text,
        missing_parses=python_error(missing) is None,
    )


def _insert_missing(document: Document) -> str:
    """The text with what tree-sitter found missing put in where it found it so."""
    text = document.text
    for fault in reversed(document.faults()):
        if fault.missing and not fault.kind.isidentifier():
            text = text[: fault.start] + fault.kind + text[fault.start :]
    return text


def _syntax_row(kind: str, results: Sequence[_Mended]) -> SyntaxRow:
    return SyntaxRow(
        kind=kind,
        bugs=len(results),
        exact=_share([r.exact for r in results]),
        parses=_share([r.parses for r in results]),
        offered=_share([r.offered for r in results]),
        baseline_missing_exact=_share([r.missing_exact for r in results]),
        baseline_missing_parses=_share([r.missing_parses for r in results]),
    )


@dataclass(frozen=True, kw_only=True)
class _Read:
    """What was made of one function with a bug: the doubts' scores with whether they are the bug's."""

    scores: tuple[tuple[float, bool, bool], ...]  # score, at the bug, exactly its repair
    causal: bool
    spelling: bool


def _judge(engine: Engine, bug: Bug, advance: Callable[[], None]) -> _Read:
    document = Document(bug.text, "python")
    start = bug.function.start
    end = bug.function.end + len(bug.text) - len(bug.function.text)
    doubts = judged_range(engine, document, start, end, cancelled=_NOT_CANCELLED)
    scores = [(d.score, _at_bug(d, bug), d.edit.applied(bug.text) == bug.function.text) for d in doubts]
    advance()
    return _Read(
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


def _clean(engine: Engine, function: Function, advance: Callable[[], None]) -> tuple[float, ...]:
    document = Document(function.text, "python")
    doubts = judged_range(engine, document, function.start, function.end, cancelled=_NOT_CANCELLED)
    advance()
    return tuple(doubt.score for doubt in doubts)


def _token_row(kind: str, results: Sequence[_Read]) -> TokenRow:
    over = [[s for s in r.scores if s[0] >= THRESHOLD] for r in results]
    return TokenRow(
        kind=kind,
        bugs=len(results),
        located=_share([bool(r.scores) and r.scores[0][1] for r in results]),
        exact=_share([bool(r.scores) and r.scores[0][2] for r in results]),
        found=_share([any(at for _, at, _ in scores) for scores in over]),
        found_exact=_share([any(exact for _, _, exact in scores) for scores in over]),
        baseline_causal_located=_share([r.causal for r in results]),
        baseline_spelling_exact=_share([r.spelling for r in results]),
    )


def _at(
    threshold: float, buggy: Sequence[_Read], clean: Sequence[Sequence[float]], lines: int
) -> dict[str, float]:
    right = [any(at for score, at, _ in r.scores if score >= threshold) for r in buggy]
    false = sum(score >= threshold for scores in clean for score in scores)
    wrong = sum(not at for r in buggy for score, at, _ in r.scores if score >= threshold)
    said = sum(right) + wrong + false
    return {
        "threshold": threshold,
        "recall": _share(right),
        "precision": round(sum(right) / said, 4) if said else 0.0,
        "false_alarms_per_1000_lines": round(1000 * false / lines, 2) if lines else 0.0,
    }


def _share(values: Sequence[bool]) -> float:
    return round(mean(values), 4)
