"""What was suggested a moment ago, while the user types along it or against it.

Typing along a suggestion needs no model: the rest of it is still the answer. Typing against one keeps what
was typed and begins the next canvas with what is left of the old one instead of with noise. It compares
texts; what a model makes of them, and when a request comes, is not its business.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, replace

from engine.request import DenoiseRequest, Layout, Segment
from engine.text.half_typed import in_word
from infill.code.document import Document
from infill.code.indentation import indent_of, indent_unit
from infill.code.languages import LANGUAGES
from infill.code.lines import line_end, line_start, newline_of, with_line_feeds
from infill.pipeline import Shape
from infill.request import Suggestion

_KEPT = 8
_CLOSERS = ")]}\"'`"
_LONGEST_CLOSERS = 4  # how many of them an editor may have put in behind the cursor while the user typed
_LONGEST_AGAINST = 24  # code points typed against a suggestion; what goes on for longer is something else
_GAP_TOKENS = 2  # for the rest of a word that was begun
_LEAST_FREE_TOKENS = 8
_NOISE = (0.5, 0.8, 1.0)
"""How much of the old canvas is noise in the first, second and further candidates; the last starts anew."""


@dataclass(frozen=True, kw_only=True)
class _Given:
    """Suggestions for `text`, in which they all replace `start` to `end`."""

    text: str
    start: int
    end: int
    suggestions: tuple[Suggestion, ...]


class Memory:
    """The last few suggestions for one document, newest first.

    They are about the text they were made for: after an edit anywhere but within them they no longer match,
    and after it is undone they do again.
    """

    def __init__(self) -> None:
        self._given: deque[_Given] = deque(maxlen=_KEPT)
        self._rejected: deque[str] = deque(maxlen=_KEPT)

    def remember(self, text: str, suggestions: tuple[Suggestion, ...]) -> None:
        """Keep suggestions that were made for `text`."""
        for start, end in dict.fromkeys((s.start, s.end) for s in suggestions):
            same = tuple(s for s in suggestions if (s.start, s.end) == (start, end))
            self._given.appendleft(_Given(text=text, start=start, end=end, suggestions=same))

    def reject(self, suggestion: str) -> None:
        """Drop a suggestion by its text: the user does not want it."""
        kept = [
            replace(g, suggestions=tuple(s for s in g.suggestions if s.text != suggestion))
            for g in self._given
        ]
        self._given = deque((g for g in kept if g.suggestions), maxlen=_KEPT)
        self._rejected.append(suggestion)

    def is_rejected(self, suggestion: str) -> bool:
        """Whether the user turned down this text a moment ago."""
        return suggestion in self._rejected

    def recall(self, text: str, offset: int) -> tuple[Suggestion, ...]:
        """What is left of the suggestions that `text` with the cursor at `offset` is typed along with.

        They begin on the cursor's line and took no time.
        """
        for given in self._given:
            closers = _closers_added(given, text, offset)
            if closers is None:
                continue
            typed = text[given.start : offset]
            along = (_rest(s, typed, text, offset, closers) for s in given.suggestions)
            if found := tuple(s for s in along if s is not None):
                return found
        return ()

    def rest_against(self, text: str, offset: int) -> str | None:
        """What the newest suggestion still has to say behind what was typed against it; None without one."""
        for given in self._given:
            if _closers_added(given, text, offset) is not None:
                return _rest_against(given.suggestions[0].text, text[given.start : offset])
        return None


def renoise(rest: str, starts: int = 1) -> Shape:
    """Lays canvases out as what was typed, pinned, and `rest` under noise; not where that is too long.

    There are `starts` of them, under more and more noise, where nobody asks for a number of candidates.

    Source: the warm start of a uniform-state diffusion, whose noise is a random token anywhere.
    """

    def shape(ask: DenoiseRequest) -> DenoiseRequest:
        typed = ask.prompt.typed
        gap = _GAP_TOKENS if typed and in_word(typed[-1]) else 0
        # A tokenizer over bytes never needs more tokens than bytes.
        free = ask.canvas_tokens - len(typed.encode("utf-8", "surrogatepass")) - gap
        if free < _LEAST_FREE_TOKENS:
            return ask
        head: Layout = (Segment(text=typed),) if typed else ()
        if gap:
            head += (Segment(free_tokens=gap),)
        noises = [_NOISE[min(at, len(_NOISE) - 1)] for at in range(ask.candidates or starts)]
        layouts = tuple((*head, Segment(text=rest, free_tokens=free, noise=noise)) for noise in noises)
        return replace(ask, prompt=replace(ask.prompt, typed=""), layouts=layouts)

    return shape


def _closers_added(given: _Given, text: str, offset: int) -> str | None:
    """What stands in `text` between the cursor and what followed the suggestions; None if anything differs.

    Save for what was typed where they begin, and closing brackets and quotes an editor puts in by itself.
    """
    extra = (len(text) - offset) - (len(given.text) - given.end)
    if not 0 <= extra <= _LONGEST_CLOSERS or offset < given.start:
        return None
    if text[offset + extra :] != given.text[given.end :] or text[: given.start] != given.text[: given.start]:
        return None
    added = text[offset : offset + extra]
    return added if all(char in _CLOSERS for char in added) else None


def _rest(suggestion: Suggestion, typed: str, text: str, offset: int, closers: str) -> Suggestion | None:
    """The suggestion in `text`, if what was typed of it is how it begins and something is left."""
    left = suggestion.text[len(typed) :]
    if not suggestion.text.startswith(typed) or not left.strip() or not _has_in_order(left, closers):
        return None
    start = max(suggestion.start, line_start(text, offset))
    return replace(
        suggestion,
        text=suggestion.text[start - suggestion.start :],
        start=start,
        end=offset + len(closers),
        steps=0,
        elapsed_ms=0.0,
    )


def _has_in_order(text: str, chars: str) -> bool:
    at = 0
    for char in chars:
        at = text.find(char, at) + 1
        if at == 0:
            return False
    return True


def _rest_against(suggested: str, typed: str) -> str | None:
    """What of `suggested` comes after what `typed` replaces of it: the word in which the two part.

    With bare line feeds; None if nothing is left or they have too little to do with each other.
    """
    common = next(
        (at for at, (a, b) in enumerate(zip(suggested, typed, strict=False)) if a != b),
        min(len(suggested), len(typed)),
    )
    against = typed[common:]
    if not against or len(against) > _LONGEST_AGAINST or "\n" in against:
        return None
    at = common
    while at < len(suggested) and in_word(suggested[at]):
        at += 1
    rest = suggested[at:]
    overlap = next((n for n in range(len(against), 0, -1) if rest.startswith(against[-n:])), 0)
    rest = with_line_feeds(rest[overlap:])
    return rest if rest.strip() else None


def after_enter(document: Document, offset: int) -> tuple[Document, int] | None:
    """The document and the cursor once Enter is pressed at a line's end, as editors usually indent it."""
    text = document.text
    start, end = line_start(text, offset), line_end(text, offset)
    if text[offset:end].strip() or not text[start:offset].strip():
        return None
    language = LANGUAGES.get(document.language)
    opens = language is not None and text[start:offset].rstrip().endswith(language.opener)
    unit = indent_unit(text, offset, document.language) if opens else ""
    new = newline_of(text, offset) + indent_of(text, start) + unit
    return document.filled(offset, offset, new), offset + len(new)
