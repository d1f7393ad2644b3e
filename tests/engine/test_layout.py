"""Pinned segments, warm starts and reading, through the engine in this process."""

from __future__ import annotations

import threading
from dataclasses import replace

import pytest

from engine.errors import InvalidRequest
from engine.inprocess import InProcessEngine, load_engine
from engine.request import Decoding, DenoiseRequest, Prompt, ReadRequest, ScoreRequest, Segment, Step
from engine.text.prompts import lay_out

PROMPT = Prompt(prefix="def add(a, b):\n    ", suffix="\n\nprint(add(1, 2))\n")


@pytest.fixture(scope="module")
def engine() -> InProcessEngine:
    return load_engine(None)


def last(engine: InProcessEngine, request: DenoiseRequest) -> Step:
    *_, step = engine.denoise(request, threading.Event())
    return step


def test_pinned_text_stays_and_free_segments_hold_text(engine: InProcessEngine) -> None:
    layout = (
        Segment(text="total = a "),
        Segment(free_tokens=2),
        Segment(text="\n    return total"),
    )
    canvas = last(engine, DenoiseRequest(prompt=PROMPT, canvas_tokens=32, layouts=(layout,))).canvases[0]
    assert canvas.segments[0] == "total = a "
    assert canvas.segments[2] == "\n    return total"
    assert canvas.segments[1]
    assert canvas.text == "".join(canvas.segments)
    assert canvas.ended


def test_each_layout_is_one_candidate(engine: InProcessEngine) -> None:
    layouts = tuple(
        (Segment(text="return "), Segment(free_tokens=n), Segment(text="  # sum")) for n in (1, 3)
    )
    step = last(engine, DenoiseRequest(prompt=PROMPT, canvas_tokens=32, layouts=layouts))
    assert sorted(canvas.candidate for canvas in step.canvases) == [0, 1]
    for canvas in step.canvases:
        assert canvas.text.startswith("return ")
        assert canvas.text.endswith("  # sum")


def test_a_warm_start_without_noise_is_what_the_first_step_sees(engine: InProcessEngine) -> None:
    text = "return a + b"
    kept = DenoiseRequest(
        prompt=PROMPT,
        canvas_tokens=32,
        max_steps=1,
        layouts=((Segment(text=text, free_tokens=len(engine.prefill.tokenizer.encode(text)), noise=0.0),),),
    )
    noisy = replace(kept, layouts=((Segment(free_tokens=kept.layouts[0][0].free_tokens),),))
    assert last(engine, kept).canvases[0].score > last(engine, noisy).canvases[0].score


def test_a_layout_without_anything_free_stays_as_it_is(engine: InProcessEngine) -> None:
    layout = (Segment(text="return a"), Segment(text=" + b"))
    canvas = last(engine, DenoiseRequest(prompt=PROMPT, canvas_tokens=32, layouts=(layout,))).canvases[0]
    assert (canvas.text, canvas.segments) == ("return a + b", ("return a", " + b"))


def test_a_layout_longer_than_the_canvas_is_refused(engine: InProcessEngine) -> None:
    layout = (Segment(text="a + " * 40), Segment(free_tokens=2))
    with pytest.raises(InvalidRequest, match="does not fit"):
        last(engine, DenoiseRequest(prompt=PROMPT, canvas_tokens=32, layouts=(layout,)))


def test_a_number_of_free_tokens_costs_nothing(engine: InProcessEngine) -> None:
    layout = (Segment(free_tokens=10**15), Segment(text="x"))  # petabytes, if anybody made room for them
    with pytest.raises(InvalidRequest, match="does not fit"):
        last(engine, DenoiseRequest(prompt=PROMPT, canvas_tokens=32, layouts=(layout,)))


@pytest.mark.parametrize(
    "make",
    [
        lambda: Segment(),
        lambda: Segment(free_tokens=-1),
        lambda: Segment(free_tokens=1, noise=float("nan")),
        lambda: ReadRequest(prompt=PROMPT, text="x", views=0),
        lambda: ReadRequest(prompt=PROMPT, text="x", views=65),
        lambda: ScoreRequest(prompt=PROMPT, middles=("x",) * 65),
        lambda: DenoiseRequest(prompt=replace(PROMPT, typed="x" * 257)),
        lambda: DenoiseRequest(prompt=replace(PROMPT, typed="re"), layouts=((Segment(text="x"),),)),
    ],
)
def test_bad_requests_say_what_is_wrong(make: object) -> None:
    with pytest.raises(InvalidRequest):
        make()  # type: ignore[operator]


def test_code_scores_above_nonsense(engine: InProcessEngine) -> None:
    scored = engine.score(
        ScoreRequest(prompt=PROMPT, middles=("return a + b", "a return b +")), threading.Event()
    )
    assert scored[0].mean > scored[1].mean
    assert "".join(token.text for token in scored[0].tokens) == "return a + b"


def test_a_middle_longer_than_the_model_reads_is_refused(engine: InProcessEngine) -> None:
    never = threading.Event()
    positions = engine.network.config.max_position_embeddings
    prompt = len(lay_out(PROMPT, engine.prefill.tokenizer, engine.prefill.prompts))
    fits = "1" * (positions - prompt)  # digits are tokens of their own
    [scored] = engine.score(ScoreRequest(prompt=PROMPT, middles=(fits,)), never)
    assert len(scored.tokens) == len(fits)
    with pytest.raises(InvalidRequest, match=f"a middle of {len(fits) + 1} exceed"):
        engine.score(ScoreRequest(prompt=PROMPT, middles=("x", fits + "1")), never)


def test_middles_that_are_many_tokens_are_scored_in_parts(
    engine: InProcessEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = ScoreRequest(prompt=PROMPT, middles=tuple(f"return {'a' * n}" for n in range(9)))
    together = engine.score(request, threading.Event())
    monkeypatch.setattr("engine.inprocess.SCORED_AT_ONCE", 16)
    apart = engine.score(request, threading.Event())
    assert [one.mean for one in apart] == pytest.approx([one.mean for one in together], rel=0.01)
    assert [one.tokens[0].text for one in apart] == ["return"] * 9


@pytest.mark.parametrize("views", [1, 4])
@pytest.mark.parametrize("lead", range(4))
@pytest.mark.parametrize("line", ["\n    x = a + b", "漢é😀"])
def test_every_token_of_a_text_is_read_once(
    engine: InProcessEngine, line: str, lead: int, views: int
) -> None:
    """Longer than one canvas, and characters of several tokens each, wherever the first canvas ends."""
    text = "return a + b" + "x" * lead + line * 80
    readings = engine.read(ReadRequest(prompt=PROMPT, text=text, views=views), threading.Event())
    assert "".join(reading.text for reading in readings) == text
    for reading in readings:
        assert text[reading.start :].startswith(reading.text)
        assert 0 <= reading.probability <= 1
        assert reading.other != reading.text or not reading.text  # a part of a character has none


def test_a_token_that_is_seen_is_believed_more_than_one_that_is_not(engine: InProcessEngine) -> None:
    text = "total = a + b\n    return total"

    def mean(views: int) -> float:
        readings = engine.read(ReadRequest(prompt=PROMPT, text=text, views=views), threading.Event())
        return sum(reading.probability for reading in readings) / len(readings)

    assert mean(1) > mean(4)


def test_nothing_is_scored_or_read_once_cancelled(engine: InProcessEngine) -> None:
    gone = threading.Event()
    gone.set()
    assert engine.score(ScoreRequest(prompt=PROMPT, middles=("x",)), gone) == ()
    assert engine.read(ReadRequest(prompt=PROMPT, text="x = 1"), gone) == ()


def test_decodings_write_left_to_right_or_denoise(engine: InProcessEngine) -> None:
    request = DenoiseRequest(prompt=PROMPT, canvas_tokens=32, candidates=1, one_line=True)
    texts = {}
    for decoding in (Decoding.VERIFY, Decoding.CAUSAL):
        steps = list(engine.denoise(replace(request, decoding=decoding), threading.Event()))
        texts[decoding] = steps[-1].canvases[0].text
        assert [step.number for step in steps] == list(range(1, len(steps) + 1))
        assert "\n" not in texts[decoding]
    assert texts[Decoding.VERIFY] == texts[Decoding.CAUSAL] != ""


def test_verified_alternatives_come_best_first_and_begin_as_typed(engine: InProcessEngine) -> None:
    request = DenoiseRequest(
        prompt=replace(PROMPT, typed="retu"), canvas_tokens=32, candidates=3, decoding=Decoding.VERIFY
    )
    canvases = last(engine, request).canvases
    assert len(canvases) > 1
    assert all(canvas.text.startswith("retu") for canvas in canvases)
    assert [canvas.score for canvas in canvases] == sorted((c.score for c in canvases), reverse=True)
