"""The engine as its clients see it, on a small random model with the real tokenizer."""

from __future__ import annotations

import itertools
import shutil
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from engine.caches import prefill
from engine.errors import BrokenCheckpoint, InvalidRequest, ModelNotFound
from engine.inprocess import InProcessEngine, load_engine
from engine.native.compiled import Library, library
from engine.request import Decoding, DenoiseRequest, Prompt, ReadRequest, Segment, Step, Stop
from tests.engine.checkpoints import cut_tokenizer, write_own_checkpoint


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    write_own_checkpoint(folder)
    return folder


@pytest.fixture(scope="module")
def engine(folder: Path) -> InProcessEngine:
    return load_engine(str(folder))


def test_info(engine: InProcessEngine, folder: Path) -> None:
    info = engine.info()
    assert info.model == str(folder)
    assert info.parameters > 100_000
    assert info.prefix_chars == 224 * 3  # tokens of about three characters


def test_steps_are_numbered_and_end_once(engine: InProcessEngine) -> None:
    request = DenoiseRequest(prompt=Prompt(prefix="x = ", suffix="\n"), canvas_tokens=32, candidates=2)
    steps = list(engine.denoise(request, threading.Event()))
    assert [step.number for step in steps] == list(range(1, len(steps) + 1))
    assert [step.stop is None for step in steps] == [True] * (len(steps) - 1) + [False]
    for step in steps:
        for canvas in step.canvases:
            assert "".join(token.text for token in canvas.tokens) == canvas.text
            assert all(0 <= token.confidence <= 1 for token in canvas.tokens)
            assert canvas.ended or len(canvas.tokens) == 32
    scores = [canvas.score for canvas in steps[-1].canvases]
    assert scores == sorted(scores, reverse=True)


@pytest.mark.parametrize("decoding", [Decoding.SEARCH, Decoding.VERIFY, Decoding.CAUSAL])
def test_a_middle_that_time_cut_off_has_not_ended(decoding: Decoding) -> None:
    """The embedded model: whoever shows a line must know that it is not whole."""
    prompt = Prompt(prefix="import os\nimport sys\n\nprint(os.name)\nprint(os", suffix="\n")
    request = DenoiseRequest(prompt=prompt, canvas_tokens=32, one_line=True, decoding=decoding, candidates=1)
    embedded = load_engine(None)
    *_, whole = embedded.denoise(request, threading.Event())
    *_, cut_off = embedded.denoise(replace(request, deadline_ms=0), threading.Event())
    assert whole.canvases[0].ended
    assert cut_off.stop is Stop.DEADLINE
    assert not cut_off.canvases[0].ended


def test_canvases_begin_with_what_was_typed(engine: InProcessEngine) -> None:
    request = DenoiseRequest(
        prompt=Prompt(prefix="import os\n", typed="retu"), canvas_tokens=32, candidates=3
    )
    for step in engine.denoise(request, threading.Event()):
        assert all(canvas.text.startswith("retu") for canvas in step.canvases)


def test_a_result_does_not_depend_on_what_was_asked_before(engine: InProcessEngine) -> None:
    request = DenoiseRequest(prompt=Prompt(prefix="def f(x):\n    ", suffix="\n"), canvas_tokens=32, seed=5)
    # Of the same network: which number format another one computes in is measured as it is loaded.
    fresh = list(engine.sibling().denoise(request, threading.Event()))[-1].canvases
    list(
        engine.denoise(DenoiseRequest(prompt=Prompt(prefix="def f(y)"), canvas_tokens=32), threading.Event())
    )
    assert [canvas.text for canvas in list(engine.denoise(request, threading.Event()))[-1].canvases] == [
        canvas.text for canvas in fresh
    ]


def test_freed_memory_goes_back_now_and_then(
    engine: InProcessEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    returned: list[int] = []
    monkeypatch.setattr(prefill, "_GIVE_BACK_EVERY", 3)
    monkeypatch.setattr(prefill, "give_back_freed_memory", lambda: returned.append(1))
    lane = engine.sibling()
    for served in range(1, 8):
        request = DenoiseRequest(prompt=Prompt(prefix=f"x = {served}"), canvas_tokens=32, max_steps=1)
        list(lane.denoise(request, threading.Event()))
        assert len(returned) == served // 3


def test_an_empty_prompt_is_served(engine: InProcessEngine) -> None:
    request = DenoiseRequest(prompt=Prompt(prefix=""), canvas_tokens=32)
    assert list(engine.denoise(request, threading.Event()))[-1].stop is not None


def test_cancelled_first_yields_nothing(engine: InProcessEngine) -> None:
    cancelled = threading.Event()
    cancelled.set()
    request = DenoiseRequest(prompt=Prompt(prefix="x"), canvas_tokens=32)
    assert list(engine.denoise(request, cancelled)) == []


def test_a_request_cancelled_while_it_waits_for_another_leaves(engine: InProcessEngine) -> None:
    request = DenoiseRequest(prompt=Prompt(prefix="x"), canvas_tokens=32)
    first = engine.denoise(request, threading.Event())
    next(first)  # holds the engine
    cancelled = threading.Event()
    answers: list[list[Step]] = []
    waiting = threading.Thread(target=lambda: answers.append(list(engine.denoise(request, cancelled))))
    waiting.start()
    cancelled.set()
    waiting.join(timeout=10)
    assert answers == [[]]
    assert list(first)[-1].stop is not None


def test_a_listener_that_leaves_does_not_block_the_next(engine: InProcessEngine) -> None:
    request = DenoiseRequest(prompt=Prompt(prefix="x"), canvas_tokens=32)
    steps = engine.denoise(request, threading.Event())
    next(steps)
    steps.close()  # type: ignore[attr-defined]
    assert list(engine.denoise(request, threading.Event()))[-1].stop is not None


def test_a_deadline_is_an_answer(engine: InProcessEngine) -> None:
    request = DenoiseRequest(prompt=Prompt(prefix="x = "), canvas_tokens=32, deadline_ms=0.001)
    (only,) = engine.denoise(request, threading.Event())
    assert only.stop is Stop.DEADLINE
    assert only.canvases


@pytest.mark.parametrize(
    "wrong",
    [
        {"canvas_tokens": 33},
        {"candidates": 0},
        {"candidates": 65},
        {"layouts": ((Segment(text="x"),),) * 65},
        {"avoid": ("x",) * 1025},
        {"max_steps": 0},
        {"seed": -1},
        {"seed": 2**63},
        {"deadline_ms": -1},
        {"deadline_ms": float("nan")},
    ],
)
def test_impossible_requests_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequest):
        DenoiseRequest(prompt=Prompt(prefix="x"), **wrong)


def test_a_model_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ModelNotFound, match="no directory"):
        load_engine(str(tmp_path / "gone"))
    (tmp_path / "file").write_text("")
    with pytest.raises(ModelNotFound, match="is a file"):
        load_engine(str(tmp_path / "file"))


def test_an_empty_folder_is_a_broken_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(BrokenCheckpoint, match=r"config\.json"):
        load_engine(str(tmp_path))


def test_a_tokenizer_larger_than_the_model_is_refused(folder: Path, tmp_path: Path) -> None:
    from tests.engine.checkpoints import write_reference_checkpoint

    write_reference_checkpoint(tmp_path)
    (tmp_path / "tokenizer.json").write_bytes((folder / "tokenizer.json").read_bytes())
    with pytest.raises(BrokenCheckpoint, match="4096 ids"):
        load_engine(str(tmp_path))


@pytest.mark.parametrize("code", [library(), None], ids=["in C", "in torch"])
def test_ids_that_only_the_model_has_are_never_written(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: Library | None
) -> None:
    """A random model, to which a quarter of its ids would be as likely as the others."""
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    cut_tokenizer(tmp_path, 3000)
    monkeypatch.setattr("engine.networks.hardware.library", lambda: code)
    small = load_engine(str(tmp_path))
    assert small.network.config.vocab_size == 4096
    for seed, decoding in itertools.product(range(3), Decoding):
        prompt = Prompt(prefix=f"def f(x{seed}):\n    return ")
        for one_line in (False, True):
            request = DenoiseRequest(
                prompt=prompt, canvas_tokens=64, candidates=2, seed=seed, decoding=decoding, one_line=one_line
            )
            *_, step = small.denoise(request, threading.Event())
            assert step.canvases
    readings = small.read(ReadRequest(prompt=prompt, text="x = 1\n" * 40, views=2), threading.Event())
    assert "".join(reading.text for reading in readings) == "x = 1\n" * 40


def test_importing_does_not_import_torch() -> None:
    names = "engine.inprocess, engine.request, engine.errors, engine.service.run"
    code = f"import sys, {names}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
