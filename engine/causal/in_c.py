"""Middles that go on in C: when that is possible, and when it begins.

What `engine.causal.beams` and `engine.causal.verified` have in common once nothing but the model, the text
around and the line's end has a say in what is written (`engine/native/search.h`). What is written is the same
there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import Tensor

from engine.caches.continuation import Continuation
from engine.causal.line_end import LineEnd
from engine.causal.middles import FromText, Propose, Row, Rules, no_draft
from engine.causal.next_token import Around
from engine.causal.search_in_c import Given, SearchInC, has_room
from engine.denoising.denoiser import Plan


def given_to_c(
    around: Around, logits: Tensor, plan: Plan, rules: Rules, propose: Propose, width: int, *, apart: bool
) -> Given | None:
    """What C is given to write `width` middles by, all of whose logits are like these; None where others have
    a say, or it has no room. Whether tokens are bound is asked later, and barred ones are the caller's."""
    chooser = around.chooser(logits)
    line = rules.end if isinstance(rules.end, LineEnd) else None
    drafts = propose.ngrams if isinstance(propose, FromText) else None
    others = line is None and rules.end is not Rules.end
    others |= drafts is None and propose is not no_draft
    if others or chooser is None or not has_room(width, plan.length, apart=apart):
        return None
    return Given(before=around.before, chooser=chooser, drafts=drafts, line=line, length=plan.length)


class InC:
    """Middles in the rows of `written`, as C goes on with them; not at all where nothing is `given`."""

    def __init__(self, written: Continuation, given: Given | None, rules: Rules) -> None:
        self._written, self._given, self._rules = written, given, rules
        self.searching: SearchInC | None = None
        """How far they have come; None for as long as they have not begun there."""

    def go_on(self, seconds: float, rows: Sequence[Row], begin: Callable[[Given], SearchInC]) -> int | None:
        """By how many forwards they have gone on, for as long as `seconds`; None where they have not. They
        `begin` when none of the open `rows` is bound any more."""
        given = self._given
        if self.searching is None and given is not None:
            if any(self._rules.allowed(row.ids) is not None for row in rows):
                return None
            self.searching = begin(given)
        if self.searching is None:
            return None
        sizes = self._written.search(self.searching, seconds)
        if sizes is None:
            self.searching = self._given = None
            return None
        return len(sizes)
