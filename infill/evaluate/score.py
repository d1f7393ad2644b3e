"""Fills holes and scores the fills beside trivial baselines, kind by kind.

A hole is presented as a cursor in a text from which the answer was taken, so that neither its length
nor its end is known. What counts is what a user gets: after post-processing, nothing where the
suggestion was rejected.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property

from engine.request import Decoding, Engine
from infill.evaluate.holes import KINDS, Hole, parses
from infill.evaluate.metrics import edit_similarity, mean, percentile
from infill.pipeline import fill_text
from infill.request import FillRequest, Rejected, Suggestion


@dataclass(frozen=True, kw_only=True)
class Fill:
    """What a method put into a hole: `spliced` is the whole text, `middle` what fills the hole."""

    hole: Hole
    middle: str
    spliced: str
    steps: int = 0
    elapsed_ms: float = 0.0
    rejected: str | None = None

    @cached_property
    def parses(self) -> bool:
        """Whether the spliced file parses without an error."""
        return parses(self.spliced)


@dataclass(frozen=True, kw_only=True)
class Row:
    """One method on one kind of hole.

    Over all holes, a rejected one counting as left empty: `exact_match` (texts equal without outer
    whitespace) and `edit_similarity` (1 - Levenshtein distance / longer length, trimmed likewise).
    Over the holes with a suggestion: `parse_rate` of the spliced file and `length_error_chars`, the
    mean of |fill's length - answer's length|.
    """

    method: str
    kind: str
    holes: int
    exact_match: float
    edit_similarity: float
    parse_rate: float
    length_error_chars: float
    rejected_rate: float
    steps_mean: float = 0.0
    ms_p50: float = 0.0
    ms_p95: float = 0.0
    rejected: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Report:
    """Rows for the model and each baseline; `warm_up_ms` is the first fill, which is not counted."""

    model: str
    seed: int
    warm_up_ms: float
    rows: tuple[Row, ...]

    def as_json(self) -> dict[str, object]:
        """The report as plain JSON values."""
        return asdict(self)


Method = Callable[[Engine, Hole, int], Fill]
"""Fills a hole with an engine, from a seed."""


def evaluate_holes(
    engine: Engine,
    holes: Sequence[Hole],
    *,
    seed: int = 0,
    others: Mapping[str, Method] | None = None,
    on_fill: Callable[[Fill], None] | None = None,
) -> Report:
    """Fill every hole with the engine as a user has it, with each of `others`, and with each baseline.

    The methods take turns hole by hole, so that whatever else the machine does meets all of them alike.

    Raises:
        EngineError: the engine cannot serve a request.
    """
    warm_up = fill_hole(engine, holes[0], seed)
    asked: dict[str, Method] = {"model": fill_hole, **(others or {})}
    methods: dict[str, list[Fill]] = {name: [] for name in asked}
    for hole in holes:
        for name, method in asked.items():
            methods[name].append(method(engine, hole, seed))
            if on_fill is not None:
                on_fill(methods[name][-1])
    for name, baseline in BASELINES.items():
        methods[name] = [put(hole, baseline(hole)) for hole in holes]
    return Report(
        model=engine.info().model,
        seed=seed,
        warm_up_ms=round(warm_up.elapsed_ms, 1),
        rows=tuple(row for name, fills in methods.items() for row in _rows(name, fills)),
    )


def fill_hole(
    engine: Engine,
    hole: Hole,
    seed: int,
    candidates: int | None = None,
    decoding: Decoding | None = None,
    alone: bool = False,
) -> Fill:
    """Fill one hole as a user would get it who asked with a key, but for the repair of what does not parse.

    Of the answer, nothing is in the request; nor is anything of other files where the hole is to be `alone`.
    """
    request = FillRequest(
        text=hole.before + hole.after,
        language="python",
        offset=len(hole.before),
        path=hole.path,
        candidates=candidates,
        seed=seed,
        inside_word=True,
        decoding=decoding,
        nearby=() if alone else hole.nearby,
        repair=False,
    )
    outcome = fill_text(engine, request)
    rejected = outcome.reason.name.lower() if isinstance(outcome, Rejected) else None
    spliced, middle = request.text, ""
    if isinstance(outcome, Suggestion):
        spliced = request.text[: outcome.start] + outcome.text + request.text[outcome.end :]
        # A healed word starts before the hole; what was typed of it is not the model's.
        middle = outcome.text[max(0, request.offset - outcome.start) :]
    return Fill(
        hole=hole,
        middle=middle,
        spliced=spliced,
        steps=outcome.steps,
        elapsed_ms=outcome.elapsed_ms,
        rejected=rejected,
    )


def put(hole: Hole, middle: str) -> Fill:
    """The fill that puts just this text into the hole."""
    return Fill(hole=hole, middle=middle, spliced=hole.before + middle + hole.after)


def copied_line(hole: Hole) -> str:
    """The rest of the nearest line above that begins as the hole's line does; "" where none does."""
    *above, start = hole.before.split("\n")
    for line in reversed(above):
        rest = line[len(start) :]
        # On an empty line the indentation is all there is to share: a deeper line does not match it.
        deeper = not start.strip() and rest[:1] in (" ", "\t")
        if line.startswith(start) and rest.strip() and not deeper:
            return rest
    return ""


BASELINES: dict[str, Callable[[Hole], str]] = {"empty": lambda hole: "", "copied line": copied_line}
"""What costs nothing to do, by name."""


def _rows(method: str, fills: Sequence[Fill]) -> list[Row]:
    rows = [_row(method, kind, [fill for fill in fills if fill.hole.kind == kind]) for kind in KINDS]
    return [*(row for row in rows if row.holes), _row(method, "all", fills)]


def _row(method: str, kind: str, fills: Sequence[Fill]) -> Row:
    shown = [fill for fill in fills if fill.rejected is None]
    reasons = Counter(fill.rejected for fill in fills if fill.rejected is not None)
    times = [fill.elapsed_ms for fill in fills]
    return Row(
        method=method,
        kind=kind,
        holes=len(fills),
        exact_match=round(mean([fill.middle.strip() == fill.hole.gold.strip() for fill in fills]), 4),
        edit_similarity=round(mean([edit_similarity(fill.middle, fill.hole.gold) for fill in fills]), 4),
        parse_rate=round(mean([fill.parses for fill in shown]), 4),
        length_error_chars=round(mean([abs(len(f.middle) - len(f.hole.gold)) for f in shown]), 1),
        rejected_rate=round(mean([fill.rejected is not None for fill in fills]), 4),
        steps_mean=round(mean([fill.steps for fill in fills]), 2),
        ms_p50=round(percentile(times, 0.5), 1),
        ms_p95=round(percentile(times, 0.95), 1),
        rejected=dict(reasons),
    )
