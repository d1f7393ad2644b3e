"""How many fills parse before and after repair, on the holes of `infill.evaluate.holes`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from engine.request import Engine
from infill.evaluate.holes import Hole, cut_holes, parses
from infill.evaluate.metrics import percentile, share
from infill.evaluate.records import Records
from infill.pipeline import fill_text
from infill.repair.damage import python_error
from infill.request import FillRequest, Reason, Rejected, Suggestion


@dataclass(frozen=True, kw_only=True)
class FillRates:
    """What is shown without repair (`before`) and with it (`after`), as shares from 0 to 1.

    `shown_…` are shares of all holes, the others of the fills that are shown: those with which the text
    parses, for the grammar and, stricter, for Python itself, to which a block without a body is an error.
    `refused` counts those that were turned down since the text would not parse with them, `how` what was
    done; `ms_p50` and `ms_p95` are what repair took where it had something to do.
    """

    holes: int
    shown_before: float
    shown_after: float
    before: float
    after: float
    python_before: float
    python_after: float
    refused: int
    ms_p50: float
    ms_p95: float
    how: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class _Shown:
    """What became of one fill; `parses` and `python` are False where nothing is shown."""

    shown: bool
    parses: bool
    python: bool
    what: str  # how it was repaired, or the reason there is none
    ms: float


def fill_rates(
    engine: Engine,
    directory: Path,
    limit: int,
    seed: int,
    advance: Callable[[], None],
    records: Records | None = None,
) -> FillRates:
    """Fill every hole twice, without repair and with it.

    Raises:
        BadRecords: the records cannot be written.
        EngineError: the engine cannot serve a request.
        NoHoles: there is nothing to cut holes from.
    """
    records = records or Records()
    holes = cut_holes(directory, limit, seed)
    before: list[_Shown] = []
    after: list[_Shown] = []
    for hole in holes:
        for repair, row in ((False, before), (True, after)):
            key = f"fill {repair} {hole.path} {hole.start} {hole.end}"
            row.append(records.value(key, _Shown, partial(_shown, engine, hole, seed, repair)))
        advance()
    took = [b.ms - a.ms for a, b in zip(before, after, strict=True) if a.shown and not a.parses]
    seen_before, seen = [s for s in before if s.shown], [s for s in after if s.shown]
    return FillRates(
        holes=len(holes),
        shown_before=share([s.shown for s in before]),
        shown_after=share([s.shown for s in after]),
        before=share([s.parses for s in seen_before]),
        after=share([s.parses for s in seen]),
        python_before=share([s.python for s in seen_before]),
        python_after=share([s.python for s in seen]),
        refused=sum(s.what == Reason.BROKEN.name for s in after),
        ms_p50=round(percentile(took, 0.5), 1),
        ms_p95=round(percentile(took, 0.95), 1),
        how=dict(Counter(s.what for s in after)),
    )


def _shown(engine: Engine, hole: Hole, seed: int, repair: bool) -> _Shown:
    answer = _fill(engine, hole, seed, repair)
    if isinstance(answer, Rejected):
        return _Shown(shown=False, parses=False, python=False, what=answer.reason.name, ms=answer.elapsed_ms)
    text = hole.before + hole.after
    filled = text[: answer.start] + answer.text + text[answer.end :]
    return _Shown(
        shown=True,
        parses=parses(filled),
        python=python_error(filled) is None,
        what=answer.repaired,
        ms=answer.elapsed_ms,
    )


def _fill(engine: Engine, hole: Hole, seed: int, repair: bool) -> Suggestion | Rejected:
    request = FillRequest(
        text=hole.before + hole.after,
        language="python",
        offset=len(hole.before),
        path=hole.path,
        seed=seed,
        repair=repair,
    )
    return fill_text(engine, request)
