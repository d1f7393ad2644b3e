"""Edit sessions replayed key by key: where something is shown, and where the server keeps quiet."""

from __future__ import annotations

from typing import Any

import pytest

from benchmarks.sessions import replay, sessions
from tests.e2e.test_stdio_process import SEAM

SESSIONS = list(sessions())


@pytest.mark.parametrize("session", SESSIONS, ids=[s["uri"].rsplit("/", 1)[1] for s in SESSIONS])
def test_a_session_is_shown_what_it_wants_and_left_in_peace(session: dict[str, Any]) -> None:
    """With an engine that always has something to say, all the quiet is the server's own."""
    tally = replay(SEAM, [session])
    assert tally.wanted >= 5
    assert tally.unwanted >= 4
    assert tally.surprises == []
    assert tally.accepted == 1
    assert {step["why"] for step in session["steps"] if step.get("expect") == "quiet"} <= set(tally.reasons)
