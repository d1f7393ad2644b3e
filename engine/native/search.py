"""A beam search in C: what `engine.beams` does, without the interpreter, for as long as nothing has a say in
it but the model, the text around and the line's end."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from ctypes import pointer
from typing import TYPE_CHECKING

import numpy as np
from torch import Tensor

from engine.line_end import LineEnd
from engine.middles import LONGEST_DRAFT, Row
from engine.native.compiled import MOST_BEAMS, MOST_CONTEXT, MOST_DRAFT, MOST_WRITTEN, Search
from engine.native.compiled import Beam as NativeBeam
from engine.native.likeliest import Chooser
from engine.native.matches import Matches
from engine.ngram_cache import LONGEST
from engine.special import Special

if TYPE_CHECKING:
    from engine.beams import Beam


def has_room(width: int, length: int) -> bool:
    """Whether the library has room for so many beams of so many tokens."""
    drafts_and_contexts = LONGEST_DRAFT == MOST_DRAFT and LONGEST <= MOST_CONTEXT
    return width <= MOST_BEAMS and length <= MOST_WRITTEN and drafts_and_contexts


class Searching:
    """A search that has come as far as the beams `opened` and `finished`, for a network to go on with.

    Where it has not begun the only open beam has no token, and `first` are logits (1, vocab) of one. `before`
    are the tokens before the middle; `drafts` is what to draft from, and `line` says where a line ends it.
    `width` beams of less than `length` tokens are followed and `looked_at` continuations looked at, to find
    `batch` middles; margins are as in `engine.beams`.
    """

    def __init__(
        self,
        opened: Sequence[Beam],
        finished: Sequence[Beam],
        *,
        first: Tensor | None,
        chooser: Chooser,
        before: Sequence[int],
        drafts: Matches | None,
        line: LineEnd | None,
        width: int,
        length: int,
        looked_at: int,
        batch: int,
        margin: float,
        finished_margin: float,
    ) -> None:
        self.width, self.length = width, length
        self._forced = [beam.row.forced for beam in (*opened, *finished)]
        self._open, self._finished = (NativeBeam * width)(), (NativeBeam * (batch + width))()
        places = [*self._open[: len(opened)], *self._finished[: len(finished)]]
        for origin, (beam, place) in enumerate(zip((*opened, *finished), places, strict=True)):
            count = len(beam.row.ids)
            place.ids[:count], place.probabilities[:count] = beam.row.ids, beam.row.probabilities
            place.total, place.count, place.source = beam.total, count, beam.source
            place.brackets = line.brackets(beam.row.ids) if line is not None else 0
            place.ended, place.full, place.origin = beam.row.ended, beam.row.full, origin
        context = np.array(before[-LONGEST:], np.int32)
        room = np.empty((2, drafts.text.count if drafts is not None else 0), np.int32)
        results = np.empty((3, looked_at), np.int32)  # those of the first row are floats
        brackets, begins_line = line.by_token if line is not None else (None, None)
        of = chooser.its
        of.best, of.row, of.token = (each.ctypes.data for each in results)
        self._held = first, chooser, drafts, context, room, results, brackets, begins_line
        self.its = Search(
            likeliest=pointer(of),
            first=first.data_ptr() if first is not None else None,
            draft=pointer(drafts.text) if drafts is not None else None,
            places=room[0].ctypes.data,
            lengths=room[1].ctypes.data,
            context=context.ctypes.data,
            brackets=brackets.ctypes.data if brackets is not None else None,
            begins_line=begins_line.ctypes.data if begins_line is not None else None,
            open=self._open,
            grown=(NativeBeam * looked_at)(),
            finished=self._finished,
            margin=margin,
            finished_margin=finished_margin,
            open_count=len(opened),
            finished_count=len(finished),
            context_count=len(context),
            longest_context=LONGEST,
            width=width,
            looked_at=looked_at,
            batch=batch,
            length=length,
            end_marker=Special.EOM.value,
        )

    @property
    def done(self) -> bool:
        """Whether no beam is open."""
        return not self.its.open_count

    @property
    def rows(self) -> Iterator[Row]:
        """What is found so far, the likeliest first, and behind it the open beams."""
        for beam in [*self._finished[: self.its.finished_count], *self._open[: self.its.open_count]]:
            forced = self._forced[beam.origin]
            yield Row(
                ids=beam.ids[: beam.count],
                probabilities=beam.probabilities[: beam.count],
                forced=[*forced, *[False] * (beam.count - len(forced))],
                ended=bool(beam.ended),
                full=bool(beam.full),
            )
