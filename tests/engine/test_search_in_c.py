"""What is written in C is what would be in Python: the same middles after as many forwards."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest

from engine.causal import middles
from engine.inprocess import InProcessEngine, load_engine
from engine.native import library, why_not
from engine.networks.native import NativeGemma
from engine.request import Decoding, DenoiseRequest, Prompt, Step, Stop

TEXT = '''
import json
import os
from pathlib import Path


class Store:
    """Values by name, in a folder of JSON files."""

    def __init__(self, folder: Path, *, create: bool = False) -> None:
        self.folder = folder
        self.names: list[str] = []
        if create:
            os.makedirs(folder, exist_ok=True)

    def read(self, name: str) -> dict[str, object]:
        path = self.folder / f"{name}.json"
        with path.open(encoding="utf-8") as file:
            return json.load(file)

    def write(self, name: str, value: dict[str, object]) -> None:
        path = self.folder / f"{name}.json"
        with path.open("w", encoding="utf-8") as file:
            json.dump(value, file)
        self.names.append(name)

    def rename(self, name: str, other: str) -> None:
        value = self.read(name)
        self.write(other, value)
        self.names.remove(name)

    def __len__(self) -> int:
        return len(self.names)
'''
VERIFIED = {"decoding": Decoding.VERIFY}
NEVER = threading.Event()


@pytest.fixture(scope="module")
def embedded() -> InProcessEngine:
    if library() is None:
        pytest.skip(f"not built: {why_not()}")
    loaded = load_engine(None)
    assert isinstance(loaded.network, NativeGemma)
    return loaded


@pytest.fixture
def passes(monkeypatch: pytest.MonkeyPatch) -> list[Sequence[tuple[int, int]]]:
    """What each call of C took through the layers: rows, and tokens of all of them."""
    seen: list[Sequence[tuple[int, int]]] = []
    search: Callable[..., Sequence[tuple[int, int]]] = NativeGemma.search_behind

    def watched(*arguments: Any) -> Sequence[tuple[int, int]]:
        seen.append(search(*arguments))
        return seen[-1]

    monkeypatch.setattr(NativeGemma, "search_behind", watched)
    return seen


def ask(line: str, **settings: Any) -> DenoiseRequest:
    """A request for what follows, in `TEXT`, the last line that begins with `line`; what is between its bars
    is typed already."""
    before, typed, after = line.split("|")
    at = TEXT.rindex(before + typed + after) + len(before)
    end = TEXT.index("\n", at + len(typed))
    prompt = Prompt(prefix=TEXT[:at], suffix=TEXT[end:], typed=typed, before=TEXT[:300])
    given = {"one_line": True, "frame_ms": 1e9, "candidates": 8, "canvas_tokens": 32} | settings
    given.setdefault("decoding", Decoding.SEARCH)
    return DenoiseRequest(prompt=prompt, **given)


def last(steps: Iterator[Step]) -> Step:
    *_, step = steps
    return step


@pytest.mark.parametrize(
    ("line", "settings"),
    [
        ("        path = ||", {}),
        ("        self.names.|re|", {}),
        ("        with path.|o|", {"candidates": 3}),
        ("    def __len__(self) -> int:|\n        |", {}),
        ("            return json.load||(file)", {}),
        ("        self.names.|re|", {"wide": True}),
        ("        json.dump(||", {"candidates": 1}),
        ("        return len||", {"one_line": False, "canvas_tokens": 64}),
        ("        path = self|.fol|", {"one_line": False, "wide": True}),
        ("            os.makedirs||", {"one_line": False, "canvas_tokens": 256}),
        ("        path = ||", VERIFIED),
        ("        with path.|o|", VERIFIED | {"candidates": 3}),
        ("    def __len__(self) -> int:|\n        |", VERIFIED | {"candidates": 1}),
        ("        value = ||", VERIFIED | {"one_line": False, "canvas_tokens": 128}),
        ("        return len||", VERIFIED | {"one_line": False, "candidates": 3, "canvas_tokens": 256}),
        ("        json.dump(||", {"decoding": Decoding.CAUSAL, "candidates": 1}),
        ("        value = ||", {"decoding": Decoding.CAUSAL, "one_line": False, "canvas_tokens": 64}),
    ],
    ids=lambda value: value.strip() if isinstance(value, str) else None,
)
def test_it_finds_the_same(
    embedded: InProcessEngine,
    passes: list[Sequence[tuple[int, int]]],
    monkeypatch: pytest.MonkeyPatch,
    line: str,
    settings: dict[str, Any],
) -> None:
    request = ask(line, **settings)
    in_c = last(embedded.denoise(request, NEVER))
    assert sum(map(len, passes)) > 0
    monkeypatch.setattr(NativeGemma, "search_behind", lambda *_: None)
    in_python = last(embedded.denoise(request, NEVER))
    assert in_c.number == in_python.number
    assert in_c.stop is in_python.stop
    assert [canvas.text for canvas in in_c.canvases] == [canvas.text for canvas in in_python.canvases]
    for ours, theirs in zip(in_c.canvases, in_python.canvases, strict=True):
        assert ours.ended == theirs.ended
        assert ours.score == pytest.approx(theirs.score, abs=1e-4)
        probabilities = [token.confidence for token in theirs.tokens]
        assert [token.confidence for token in ours.tokens] == pytest.approx(probabilities, abs=1e-4)


def test_drafts_are_verified(embedded: InProcessEngine, passes: list[Sequence[tuple[int, int]]]) -> None:
    last(embedded.denoise(ask("        path = self.||"), NEVER))
    assert any(rows == 1 and tokens > 1 for call in passes for rows, tokens in call)


def test_each_row_has_a_draft_of_its_own(
    embedded: InProcessEngine, passes: list[Sequence[tuple[int, int]]]
) -> None:
    settings = VERIFIED | {"one_line": False, "candidates": 3, "canvas_tokens": 64}
    drafted = last(embedded.denoise(ask("        value = ||", **settings), NEVER))
    # Neither as many tokens in each nor one.
    assert any(rows > 1 and tokens % rows for call in passes for rows, tokens in call)
    passes.clear()
    alone = last(
        embedded.denoise(ask("        value = ||", **settings | {"decoding": Decoding.CAUSAL}), NEVER)
    )
    assert {tokens // rows for call in passes for rows, tokens in call} == {1}
    assert [canvas.text for canvas in drafted.canvases] == [canvas.text for canvas in alone.canvases]
    assert drafted.number < alone.number


def test_more_rows_than_there_is_room_for_are_written_in_python(
    embedded: InProcessEngine, passes: list[Sequence[tuple[int, int]]]
) -> None:
    many = last(embedded.denoise(ask("        value = ||", **VERIFIED | {"candidates": 12}), NEVER))
    assert len(many.canvases) == 12
    assert not passes


def test_what_others_have_a_say_in_stays_in_python(
    embedded: InProcessEngine, passes: list[Sequence[tuple[int, int]]]
) -> None:
    last(embedded.denoise(ask("        value = ||", avoid=("name",)), NEVER))
    assert not passes


def test_it_comes_back_to_be_shown_and_to_be_stopped(
    embedded: InProcessEngine,
    passes: list[Sequence[tuple[int, int]]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shown = list(embedded.denoise(ask("        value = ||", frame_ms=0.0), NEVER))
    assert [step.number for step in shown] == list(range(1, len(shown) + 1))
    assert {len(call) for call in passes[1:]} == {1}
    cancelled = threading.Event()
    steps = embedded.denoise(ask("        value = ||", frame_ms=0.0), cancelled)
    next(steps), next(steps)
    cancelled.set()
    assert [step.stop for step in steps] == [Stop.CANCELLED]
    passes.clear()
    monkeypatch.setattr(middles, "_LONGEST_UNSEEN_MS", 0.0)
    assert last(embedded.denoise(ask("        value = ||"), NEVER)).stop is Stop.CONFIDENT
    assert {len(call) for call in passes[1:]} == {1}
    late = last(embedded.denoise(ask("        value = ||", deadline_ms=0.1), NEVER))
    assert late.stop is Stop.DEADLINE
