"""When to keep quiet, and when to wait a moment first.

Only what nobody asked for is held back; who asks with a key gets an answer. It looks at text and times and
knows no model.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from statistics import median

from engine.text.half_typed import in_word
from lsp.settings import Settings
from lsp.snapshot import Asked, Empty

_SAMPLES = 32
_SHARE = 0.3
"""Of a usual answer's time, how long it is worth to wait for further typing rather than to start in vain."""
_LEAST_MS = 20.0
_MOST_MS = 300.0


def hold_back(settings: Settings, asked: Asked) -> Empty | None:
    """Why an automatic request gets no suggestion whatever the model would say; None if it may."""
    if asked.invoked:
        return None
    language = asked.document.language
    if not settings.automatic:
        return Empty(reason="automatic suggestions are switched off (setting automatic)")
    if language in settings.disabled_languages:
        return Empty(reason=f"suggestions are switched off for {language} (setting disabled_languages)")
    if asked.deleted:
        return Empty(reason="text was just deleted")
    text, at = asked.document.text, asked.offset
    if 0 < at < len(text) and in_word(text[at - 1]) and in_word(text[at]):
        return Empty(reason="the cursor is inside a word")
    return None


class Pace:
    """How quickly the engine answers and how quickly requests come; for the event loop's thread.

    `clock` counts seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._latencies_ms: deque[float] = deque(maxlen=_SAMPLES)
        self._last: dict[str, float] = {}

    def answered(self, ms: float) -> None:
        """The engine took this long for an answer."""
        self._latencies_ms.append(ms)

    def percentile_ms(self, share: float) -> float | None:
        """The time within which `share` (0 to 1) of the last answers came; None before the first."""
        times = sorted(self._latencies_ms)
        return times[min(len(times) - 1, int(share * len(times)))] if times else None

    def wait_ms(self, uri: str, settings: Settings) -> float:
        """How long to wait before asking the engine for a document, noting that it was asked for.

        Nothing where its last request is long past: then a single key was pressed, and if more follow, one
        denoising step was done in vain.
        """
        now = self._clock()
        since_ms = (now - self._last.get(uri, -1e9)) * 1000
        self._last[uri] = now
        if settings.debounce_ms is not None:
            wait = settings.debounce_ms
        elif self._latencies_ms:
            wait = min(_SHARE * median(self._latencies_ms), _MOST_MS)
        else:
            return 0.0
        return wait if wait >= _LEAST_MS and since_ms < 4 * wait else 0.0

    def forget(self, uri: str) -> None:
        """A document was closed."""
        self._last.pop(uri, None)
