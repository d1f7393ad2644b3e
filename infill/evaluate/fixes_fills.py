"""How many fills parse before and after repair, on the holes of `infill.evaluate.holes`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from engine.request import Engine
from infill.evaluate.holes import Hole, cut_holes, parses
from infill.evaluate.metrics import percentile
from infill.pipeline import fill_text
from infill.request import FillRequest, Reason, Rejected, Suggestion


@dataclass(frozen=True, kw_only=True)
class FillRates:
    """`before` and `after` are shares of the fills that are shown without and with repair, 0 to 1.

    `refused` are those that repair turned down since the text would not parse with them; `how` counts what
    was done; `ms_p50` is what repair took where it had something to do.
    """

    holes: int
    shown_before: int
    shown_after: int
    before: float
    after: float
    refused: int
    ms_p50: float
    how: dict[str, int] = field(default_factory=dict)


def fill_rates(
    engine: Engine, directory: Path, limit: int, seed: int, advance: Callable[[], None]
) -> FillRates:
    """Fill every hole twice, without repair and with it.

    Raises:
        EngineError: the engine cannot serve a request.
        NoHoles: there is nothing to cut holes from.
    """
    before: list[bool] = []
    after: list[bool] = []
    took: list[float] = []
    how: Counter[str] = Counter()
    refused = 0
    holes = cut_holes(directory, limit, seed)
    for hole in holes:
        plain, mended = _fill(engine, hole, seed, False), _fill(engine, hole, seed, True)
        advance()
        if isinstance(plain, Suggestion):
            before.append(_parses(hole, plain))
        if isinstance(mended, Rejected):
            refused += mended.reason is Reason.BROKEN
            continue
        after.append(_parses(hole, mended))
        how[mended.repaired] += 1
        if not before[-1]:
            took.append(mended.elapsed_ms - plain.elapsed_ms)
    return FillRates(
        holes=len(holes),
        shown_before=len(before),
        shown_after=len(after),
        before=round(sum(before) / max(1, len(before)), 4),
        after=round(sum(after) / max(1, len(after)), 4),
        refused=refused,
        ms_p50=round(percentile(took, 0.5), 1),
        how=dict(how),
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


def _parses(hole: Hole, suggestion: Suggestion) -> bool:
    text = hole.before + hole.after
    return parses(text[: suggestion.start] + suggestion.text + text[suggestion.end :])
