"""Repairs a fill with which the text does not parse, by changing nothing but the fill.

Two sorts of candidates compete: what is left of the fill when it is cut, closed or mended without any
model, and what the denoiser writes when only the tokens at the fault are noise again and the others are
pinned. The least damage wins, then the causal direction's score. It knows nothing of how the fill came about.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, replace

from engine.errors import InvalidRequest
from engine.request import Engine, Prompt, ScoreRequest
from infill.code.document import Document
from infill.code.lines import newline_of, with_line_feeds
from infill.hole import Hole
from infill.repair.blame import Blame, Hurt
from infill.repair.damage import UNREADABLE
from infill.repair.mechanical import Fill, How, mechanical
from infill.repair.renoise import renoised
from infill.request import Reason, Rejected, Suggestion

_SCORED = 6  # candidates that are worth the causal direction's time
_LEAST_MS = 50.0  # even at the deadline: a fill that is cut is better than none
_MOST_MS = 1000.0  # even without a deadline
_PARSED = 150  # candidates that are tried at all, a millisecond each in an ordinary file


@dataclass(frozen=True, kw_only=True)
class Repaired:
    """The text for the hole, how it came about, and what is still wrong (0: the text parses).

    `at_fault` is who is to blame for that, None where nothing is wrong.
    """

    text: str
    how: How
    damage: int
    at_fault: Blame | None = None


def repair(
    engine: Engine,
    document: Document,
    hole: Hole,
    prompt: Prompt,
    text: str,
    *,
    deadline_ms: float | None,
    cancelled: threading.Event,
    seed: int = 0,
    hurt: Hurt | None = None,
) -> Repaired:
    """The better of `text` and what it can be made into, to stand where `Suggestion.text` would.

    What is broken elsewhere, and would be with anything in the hole, is not for a repair to mend.

    `text` begins with the prompt's typed characters, save for an indentation, which no repair touches. It
    ends by `deadline_ms`, counted from the call, give or take one denoising step. `hurt` is what is known of
    the hole's fills to whoever has looked already, so that nothing is parsed again.

    Raises:
        EngineError: the engine cannot serve it.
    """
    left_ms = _MOST_MS if deadline_ms is None else min(_MOST_MS, max(_LEAST_MS, deadline_ms))
    ends = time.perf_counter() + left_ms / 1000
    if prompt.typed.startswith("\n"):  # an indentation is no part of the text (see `infill.postprocess.Kept`)
        prompt = replace(prompt, prefix=prompt.prefix + prompt.typed, typed="")
    typed = len(prompt.typed)
    fill = Fill(
        document=document,
        start=hole.start - typed,
        end=hole.end,
        text=with_line_feeds(text),
        typed=typed,
    )
    hurt = hurt or Hurt(document, fill.start, fill.end, text[:typed])
    before = hurt.damage(text)
    # Grammars know no bare carriage return as a line's end, and what takes too long to parse is not known.
    if before in (0, UNREADABLE) or newline_of(document.text, fill.start) == "\r":
        return Repaired(text=fill.native(fill.text), how=How.KEPT, damage=0)
    at_fault = hurt.blame(before)
    kept = Repaired(text=fill.native(fill.text), how=How.KEPT, damage=before, at_fault=at_fault)
    if at_fault is Blame.ELSEWHERE:
        return kept
    enough = hurt.least if at_fault is Blame.FILL else 0
    better = _better(engine, fill, prompt, before, enough, ends, cancelled, seed)
    if not better or cancelled.is_set():
        return kept
    fewest = min(left for left, _, _ in better)
    best = [(candidate, how) for left, candidate, how in better if left == fewest][:_SCORED]
    candidate, how = _likeliest(engine, prompt, best, cancelled)
    return Repaired(
        text=fill.native(candidate),
        how=how,
        damage=fewest,
        at_fault=hurt.blame(fewest) if fewest else None,
    )


def repair_suggestion(
    engine: Engine,
    document: Document,
    hole: Hole,
    prompt: Prompt,
    suggestion: Suggestion,
    *,
    deadline_ms: float | None,
    cancelled: threading.Event,
    seed: int = 0,
    hurt: Hurt | None = None,
    lenient: bool = False,
) -> Suggestion | Rejected:
    """The suggestion with its text repaired where it needs that; see `repair`.

    It is turned down where it is at fault that the text does not parse. Where its surroundings are as well,
    so that no simple text would do either, only a `lenient` caller wants it. What is broken elsewhere says
    nothing against it.

    Raises:
        EngineError: the engine cannot serve it.
    """
    began = time.perf_counter()
    found = repair(
        engine,
        document,
        hole,
        prompt,
        suggestion.text,
        deadline_ms=deadline_ms,
        cancelled=cancelled,
        seed=seed,
        hurt=hurt,
    )
    elapsed_ms = suggestion.elapsed_ms + 1000 * (time.perf_counter() - began)
    if (detail := _against(found, lenient)) is not None:
        return Rejected(
            reason=Reason.BROKEN,
            detail=detail,
            text=found.text,
            steps=suggestion.steps,
            canvas_tokens=suggestion.canvas_tokens,
            elapsed_ms=elapsed_ms,
            model=suggestion.model,
        )
    return replace(suggestion, text=found.text, repaired=found.how.value, elapsed_ms=elapsed_ms)


def _against(found: Repaired, lenient: bool) -> str | None:
    """What to add to the reason for not showing a text; None where it is to be shown."""
    if found.at_fault is Blame.FILL:
        return ""
    if found.at_fault is Blame.PLACE and not lenient:
        return "what stands around it does not parse either"
    return None


def _better(
    engine: Engine,
    fill: Fill,
    prompt: Prompt,
    before: int,
    enough: int,
    ends: float | None,
    cancelled: threading.Event,
    seed: int,
) -> list[tuple[int, str, How]]:
    """The candidates with less wrong than `before`, and with how much; the denoiser's come first.

    No better ones are looked for than some with no more wrong than `enough`.

    A text that parses because it opens or closes what is not its own to open or close is no better.
    """
    cuts: list[tuple[int, str, How]] = []
    for tried, (candidate, how) in enumerate(mechanical(fill)):
        if cancelled.is_set() or _is_over(ends) or tried >= _PARSED:
            break
        left = fill.damage(candidate)
        if left < before and fill.is_balanced(candidate):
            cuts.append((left, candidate, how))
            if sum(wrong <= enough for wrong, _, _ in cuts) >= _SCORED:
                break
    whole = [candidate for left, candidate, how in cuts if left <= enough and how is How.CUT]
    anew: list[tuple[int, str, How]] = []
    if not cancelled.is_set() and not _is_over(ends):
        sound = max(map(len, whole), default=0)
        for candidate in renoised(engine, fill, prompt, sound, ends, seed, cancelled):
            left = fill.damage(candidate)
            if left < before and fill.is_balanced(candidate):
                anew.append((left, candidate, How.RENOISED))
    return anew + cuts


def _likeliest(
    engine: Engine, prompt: Prompt, candidates: list[tuple[str, How]], cancelled: threading.Event
) -> tuple[str, How]:
    if len(candidates) == 1:
        return candidates[0]
    bare = Prompt(prefix=prompt.prefix, suffix=prompt.suffix, snippets=prompt.snippets)
    middles = tuple(text for text, _ in candidates)
    try:
        scored = engine.score(ScoreRequest(prompt=bare, middles=middles), cancelled)
    except InvalidRequest:  # not every engine gives scores
        return candidates[0]
    if len(scored) < len(candidates):  # cancelled
        return candidates[0]
    return max(zip(scored, candidates, strict=True), key=lambda pair: pair[0].mean)[1]


def _is_over(ends: float | None) -> bool:
    return ends is not None and time.perf_counter() >= ends
