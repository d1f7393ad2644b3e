"""Middles written in C: what `engine.causal.beams` and `engine.causal.verified` do, without the interpreter,
for as long as nothing has a say in it but the model, the text around and the line's end."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from ctypes import pointer
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from engine.causal.likeliest_in_c import Chooser
from engine.causal.line_end import LineEnd
from engine.causal.middles import LONGEST_DRAFT, Beam, Row
from engine.causal.ngram_cache import LONGEST, NgramCache
from engine.native.compiled import (
    MOST_BEAMS,
    MOST_CONTEXT,
    MOST_DRAFT,
    MOST_TOKENS,
    MOST_WRITTEN,
    Search,
    Text,
)
from engine.native.compiled import Beam as NativeBeam
from engine.text.special import Special


def has_room(width: int, length: int, *, apart: bool = False) -> bool:
    """Whether the library has room for so many beams of so many tokens."""
    drafts_and_contexts = LONGEST_DRAFT == MOST_DRAFT and LONGEST <= MOST_CONTEXT
    tokens = _most_tokens(width, apart=apart)
    return width <= MOST_BEAMS and tokens <= MOST_TOKENS and length <= MOST_WRITTEN and drafts_and_contexts


def _most_tokens(width: int, *, apart: bool) -> int:
    """Of one forward: all beams have drafts, or one that is alone."""
    return width * (1 + MOST_DRAFT) if apart else max(width, 1 + MOST_DRAFT)


def _of_all_ids(line: LineEnd, vocab: int) -> tuple[NDArray[np.int32], NDArray[np.bool_]]:
    """What `line` says by token, of the ids too that a model has beyond the tokenizer's: C looks no id up
    without it."""
    brackets, begins_line = line.by_token
    more = vocab - len(brackets)
    return (np.pad(brackets, (0, more)), np.pad(begins_line, (0, more))) if more else (brackets, begins_line)


@dataclass(frozen=True, kw_only=True)
class Given:
    """What middles of less than `length` tokens are written by: `before` are the tokens before them,
    `chooser` says what is likeliest, `drafts` is what to draft from, `line` says where a line ends them."""

    before: Sequence[int]
    chooser: Chooser
    drafts: NgramCache | None
    line: LineEnd | None
    length: int


class SearchInC:
    """A search that has come as far as the beams `opened` and `finished`, for a network to go on with.

    Where it has not begun the only open beam has no token, and `first` are logits (1, vocab) of one. `width`
    beams are followed and `looked_at` continuations looked at, to find `batch` middles; margins are as in
    `engine.causal.beams`. Those that go on `apart`, as in `engine.causal.verified`, have begun, and all are
    to be found.
    """

    def __init__(
        self,
        opened: Sequence[Beam],
        finished: Sequence[Beam],
        given: Given,
        *,
        width: int,
        batch: int,
        first: Tensor | None = None,
        looked_at: int = 1,
        margin: float = 0.0,
        finished_margin: float = 0.0,
        apart: bool = False,
    ) -> None:
        chooser, before, drafts, line = given.chooser, given.before, given.drafts, given.line
        self.most_tokens, self.length = _most_tokens(width, apart=apart), given.length
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
        texts = drafts.texts_in_c if drafts is not None else []
        room = np.empty((2, max((text.count for text in texts), default=0)), np.int32)
        results = np.empty((3, looked_at), np.int32)  # those of the first row are floats
        of = chooser.its
        brackets, begins_line = _of_all_ids(line, of.vocab) if line is not None else (None, None)
        of.best, of.row, of.token = (each.ctypes.data for each in results)
        self._held = first, chooser, drafts, context, room, results, brackets, begins_line
        self.its = Search(
            likeliest=pointer(of),
            first=first.data_ptr() if first is not None else None,
            draft=(Text * len(texts))(*texts) if drafts is not None else None,
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
            length=given.length,
            end_marker=Special.EOM.value,
            apart=apart,
            drafts=len(texts),
        )

    @property
    def width(self) -> int:
        """How many beams are followed at most."""
        return len(self._open)

    @property
    def done(self) -> bool:
        """Whether no beam is open."""
        return not self.its.open_count

    @property
    def rows(self) -> Iterator[Row]:
        """What is found so far, the likeliest first, and behind it the open beams; those that go on apart are
        in the order they were given in, opened ones first."""
        beams = [*self._finished[: self.its.finished_count], *self._open[: self.its.open_count]]
        if self.its.apart:
            beams.sort(key=lambda beam: beam.origin)
        for beam in beams:
            forced = self._forced[beam.origin]
            yield Row(
                ids=beam.ids[: beam.count],
                probabilities=beam.probabilities[: beam.count],
                forced=[*forced, *[False] * (beam.count - len(forced))],
                ended=bool(beam.ended),
                full=bool(beam.full),
            )
