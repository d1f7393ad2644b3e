"""Which model serves while another one is chosen, and when one that could not be loaded is tried again."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from engine.checkpoints import store
from engine.errors import ModelNotFound
from engine.request import Engine
from engine.service.models import _AGAIN_S, Models
from tests.fakes.service import ServiceEngine


class Bench:
    """Models of which those in `broken` cannot be loaded; `tries` is what was asked of the loader."""

    def __init__(self) -> None:
        self.tries: list[str | None] = []
        self.broken = {"own/new"}
        self.models = Models(self._load, lambda engine, _: [engine], lanes=1, chosen=store.Choice())

    def _load(self, model: str | None, on_progress: Callable[[str], None]) -> Engine:
        self.tries.append(model)
        if model in self.broken:
            raise ModelNotFound("not yet")
        return ServiceEngine()

    async def serving(self) -> str:
        """The name of what answers now; what is being loaded because of that is waited for."""
        name = (await self.models.get(None)).name
        while self.models._loads:
            await asyncio.sleep(0.01)
        return name


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    monkeypatch.setenv(store.CONFIG_VARIABLE, str(tmp_path))
    monkeypatch.setattr("engine.service.models._set_aside", lambda: None)  # what pytest holds stays as it is
    return Bench()


async def test_a_chosen_model_that_fails_is_tried_again_after_a_growing_pause(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 0.0
    monkeypatch.setattr("engine.service.lifecycle.time", SimpleNamespace(monotonic=lambda: now))
    assert await bench.serving() == "embedded"
    store.choose_model("own/new")
    assert [await bench.serving() for _ in range(3)] == ["embedded"] * 3
    assert bench.tries == [None, "own/new"]
    assert bench.models.failures == {"own/new": "not yet"}
    tried = []
    for pauses in range(8):
        now, before = pauses * _AGAIN_S, len(bench.tries)
        assert await bench.serving() == "embedded"
        if len(bench.tries) > before:
            tried.append(pauses)
    assert tried == [1, 3, 7]
    bench.broken.clear()
    now = 15 * _AGAIN_S
    assert [await bench.serving() for _ in range(2)] == ["embedded", "own/new"]
    assert bench.models.failures == {}


async def test_a_choice_that_is_written_anew_is_tried_at_once(bench: Bench) -> None:
    assert await bench.serving() == "embedded"
    for tries in (2, 3):
        store.choose_model("own/new")
        assert [await bench.serving() for _ in range(2)] == ["embedded"] * 2
        assert len(bench.tries) == tries
