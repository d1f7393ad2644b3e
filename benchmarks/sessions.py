"""Replays edit sessions against a server over stdio: `python -m benchmarks.sessions [COMMAND…]`.

It tells the show rate (of the moments where somebody would want a suggestion, how many had one), the quiet
rate (of those where nobody would, how many had none) and how often each reason was given. The sessions are
those of `tests/e2e/sessions`, whose README has their format; the server is `infill lsp` unless a command is
given. A request waits for its answer before the next key, so this measures what is decided, not how quickly.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from engine.text.half_typed import in_word
from tests.e2e.test_stdio_process import Peer, start

SESSIONS = Path(__file__).parents[1] / "tests" / "e2e" / "sessions"

Json = dict[str, Any]


@dataclass(kw_only=True)
class Tally:
    """What became of the requests; `reasons` are those for showing nothing."""

    requests: int = 0
    wanted: int = 0
    shown: int = 0
    unwanted: int = 0
    quiet: int = 0
    accepted: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    surprises: list[str] = field(default_factory=list)

    def as_json(self) -> Json:
        """The rates and what they are made of."""
        return {
            "show_rate": self.shown / max(1, self.wanted),
            "quiet_rate": self.quiet / max(1, self.unwanted),
            **vars(self),
            "reasons": dict(self.reasons),
        }


class Replay:
    """One session: the text and the cursor as the editor has them."""

    def __init__(self, peer: Peer, session: Json, tally: Tally, first_id: int) -> None:
        self._peer, self._tally = peer, tally
        self._uri: str = session["uri"]
        self._text: str = session["text"]
        self._at = len(self._text)
        self._version = 1
        self._id = first_id
        self._item: Json | None = None
        document = {"uri": self._uri, "languageId": session["language"], "version": 1, "text": self._text}
        peer.send("textDocument/didOpen", {"textDocument": document})

    def step(self, step: Json) -> None:
        """Do one step and count what came of it."""
        expect = step.get("expect")
        if "move" in step:
            line, column = step["move"]
            self._at = sum(len(row) + 1 for row in self._text.split("\n")[:line]) + column
            self._ask(expect)
        elif "delete" in step:
            for _ in range(step["delete"]):
                self._replace(self._at - 1, self._at, "")
                self._ask("quiet")
        elif "accept" in step:
            self._accept()
        else:
            typed = step.get("type") or step["dismiss"]
            for index, key in enumerate(typed, 1):
                self._replace(self._at, self._at, key)
                last = index == len(typed)
                if last or "type" in step:
                    self._ask(self._typing(expect if last else None))

    def _typing(self, expect: str | None) -> str | None:
        around = self._text[self._at - 1 : self._at + 1]
        inside = len(around) == 2 and all(map(in_word, around))
        return expect or ("quiet" if inside else None)

    def _ask(self, expect: str | None) -> None:
        self._id += 1
        before = self._uri, self._position(self._at)
        context = {"triggerKind": 2}
        params = {"textDocument": {"uri": before[0]}, "position": before[1], "context": context}
        self._peer.send("textDocument/inlineCompletion", params, self._id)
        items = self._peer.answer(self._id)["result"]["items"]
        self._item = items[0] if items else None
        reason = None if items else self._reason()
        tally = self._tally
        tally.requests += 1
        if reason is not None:
            tally.reasons[reason] += 1
        if expect == "show":
            tally.wanted += 1
            tally.shown += bool(items)
        elif expect == "quiet":
            tally.unwanted += 1
            tally.quiet += not items
        if (expect == "show" and not items) or (expect == "quiet" and items):
            shown = self._item["insertText"] if self._item is not None else reason
            tally.surprises.append(f"{self._uri} {before[1]}: {expect} wanted, {shown!r}")

    def _reason(self) -> str:
        self._id += 1
        params = {"command": "infill.explainNoSuggestion", "arguments": [{"uri": self._uri}]}
        self._peer.send("workspace/executeCommand", params, self._id)
        return str(self._peer.answer(self._id)["result"]["reason"])

    def _accept(self) -> None:
        if self._item is None:
            return
        item = self._item
        start, end = (self._offset(item["range"][side]) for side in ("start", "end"))
        self._replace(start, end, item["insertText"])
        if command := item.get("command"):
            self._id += 1
            named = {"command": command["command"], "arguments": command.get("arguments", [])}
            self._peer.send("workspace/executeCommand", named, self._id)
            self._peer.answer(self._id)
        self._tally.accepted += 1

    def _replace(self, start: int, end: int, new: str) -> None:
        span = {"start": self._position(start), "end": self._position(end)}
        self._version += 1
        document = {"uri": self._uri, "version": self._version}
        changes = {"textDocument": document, "contentChanges": [{"range": span, "text": new}]}
        self._text = self._text[:start] + new + self._text[end:]
        self._at = start + len(new)
        self._peer.send("textDocument/didChange", changes)

    def _position(self, offset: int) -> Json:
        # The sessions are ASCII, so that columns are the same in every encoding.
        line_start = self._text.rfind("\n", 0, offset) + 1
        return {"line": self._text.count("\n", 0, offset), "character": offset - line_start}

    def _offset(self, position: Json) -> int:
        rows = self._text.split("\n")[: position["line"]]
        return sum(len(row) + 1 for row in rows) + int(position["character"])


def sessions() -> Iterator[Json]:
    """The sessions there are."""
    for path in sorted(SESSIONS.glob("*.json")):
        yield json.loads(path.read_text(encoding="ascii"))


def replay(command: Sequence[str], chosen: Sequence[Json]) -> Tally:
    """Play sessions against a server that the command starts."""
    tally = Tally()
    with start(list(command)) as peer:
        peer.initialize(options={"debounce_ms": 0, "deadline_ms": 5000})
        _wait_for_model(peer)
        for number, session in enumerate(chosen, 1):
            playing = Replay(peer, session, tally, 10_000 * number)
            for step in session["steps"]:
                playing.step(step)
        peer.leave()
    return tally


def _wait_for_model(peer: Peer) -> None:
    """Somebody who asks with a key waits for the model, ten seconds at a time."""
    uri = "file:///project/warm.py"
    document = {"uri": uri, "languageId": "python", "version": 1, "text": "x = "}
    peer.send("textDocument/didOpen", {"textDocument": document})
    at = {"textDocument": {"uri": uri}, "position": {"line": 0, "character": 4}}
    for attempt in range(10, 22, 2):
        peer.send("textDocument/inlineCompletion", {**at, "context": {"triggerKind": 1}}, attempt)
        peer.answer(attempt)
        why = {"command": "infill.explainNoSuggestion", "arguments": [{"uri": uri}]}
        peer.send("workspace/executeCommand", why, attempt + 1)
        if "loading" not in peer.answer(attempt + 1)["result"]["reason"]:
            return


def main() -> None:
    command = sys.argv[1:] or [sys.executable, "-m", "lsp", "lsp"]
    found = replay(command, list(sessions()))
    for surprise in found.surprises:
        print(surprise)
    for reason, count in found.reasons.most_common():
        print(f"{count:>5}  {reason}")
    print(json.dumps({"benchmark": "sessions", **found.as_json()}))


if __name__ == "__main__":
    main()
