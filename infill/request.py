"""What is asked of `infill` and what it answers. Offsets are code points from 0, ends exclusive."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from engine.errors import InvalidRequest
from engine.request import Decoding, Snippet


@dataclass(frozen=True, kw_only=True)
class FillRequest:
    """A hole in a text: at `offset`, or replacing `offset` to `end` where `end` is given.

    `language` is an LSP language id; one we have no grammar for is treated as plain text.
    `path` only names the file in messages and prompts. `snippets` is code from elsewhere, most useful first;
    an engine that was not trained on any is not shown it. `nearby` are texts of other files, with bare line
    feeds and most useful first, in which an engine may look up what is often written. `deadline_ms` counts
    from the call. `inside_word` is for a cursor within a word that is really meant: whoever types one does
    not mean it.
    `decoding` chooses how the middle comes about; None is what the model does best. `avoid` is what a
    suggestion had better not hold; whether it does is for the caller to look at.
    A suggestion the model is less sure of than `min_confidence`, 0 to 1, is turned down. With `repair` one
    with which the text does not parse is mended where that is possible (see `infill.repair.repair`), and
    turned down where it is not. `lenient` lets those pass whose surroundings do not parse either.

    Raises:
        InvalidRequest: `min_confidence` is out of its range.
    """

    text: str
    language: str
    offset: int
    end: int | None = None
    path: str = ""
    canvas_tokens: int | None = None
    candidates: int | None = None
    seed: int = 0
    max_steps: int | None = None
    deadline_ms: float | None = None
    min_confidence: float = 0.0
    inside_word: bool = False
    decoding: Decoding | None = None
    avoid: tuple[str, ...] = ()
    snippets: tuple[Snippet, ...] = ()
    nearby: tuple[str, ...] = ()
    repair: bool = True
    lenient: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.min_confidence <= 1:  # NaN is refused too
            raise InvalidRequest(f"a least confidence of {self.min_confidence}; it lies between 0 and 1")


class Reason(Enum):
    """Why there is no suggestion; the value is the sentence a user reads, `Rejected.detail` adds to it."""

    EMPTY = "the model suggests nothing here"
    WHITESPACE = "only whitespace was suggested"
    REPEATS_SUFFIX = "it repeats what already follows"
    REPEATS_PREFIX = "it repeats the line above"
    REPETITIVE = "it repeats itself"
    NOTICE = "it is a notice of somebody's copyright or licence"
    UNBALANCED = "it leaves a bracket or a quote unbalanced"
    BROKEN = "the text would not parse with it, and no repair was found"
    UNFINISHED = "the canvas was too short for what it began"
    INSIDE_WORD = "the cursor is inside a word"
    UNSURE = "the model is not sure enough"
    CANCELLED = "a newer request replaced this one"
    TOO_SLOW = "the deadline passed before the first step"
    CUT_SHORT = "the deadline passed before it was whole"


@dataclass(frozen=True, kw_only=True)
class Suggestion:
    """Text for the hole: replace `start` to `end` of the request's text with `text`.

    `start` lies before the request's offset where a word or punctuation at the cursor was healed; the
    text from `start` to the offset is then how `text` begins. `confidence` is the mean probability of the
    tokens behind that, 0 to 1. `repaired` says what was done to make the text parse: one of the values of
    `infill.repair.mechanical.How`.
    """

    text: str
    start: int
    end: int
    confidence: float
    steps: int
    canvas_tokens: int
    elapsed_ms: float
    model: str
    repaired: str = "kept"


@dataclass(frozen=True, kw_only=True)
class Rejected:
    """No suggestion, and why; `text` is what was turned down, for those who want to see it."""

    reason: Reason
    detail: str = ""
    text: str = ""
    steps: int = 0
    canvas_tokens: int = 0
    elapsed_ms: float = 0.0
    model: str = ""

    @property
    def message(self) -> str:
        """The whole sentence for the user."""
        return f"{self.reason.value} ({self.detail})" if self.detail else self.reason.value
