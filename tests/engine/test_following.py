"""Of all that was written behind a prefix, the middle from which the line goes on."""

from __future__ import annotations

import threading
from dataclasses import replace

import pytest

from engine.causal.following import _READ, _STOPPED, _WEIGHT, by_what_follows, endings, rest_of_line, unseen
from engine.causal.scores import token_scores
from engine.inprocess import InProcessEngine, load_engine
from engine.request import Canvas, CanvasToken, Decoding, DenoiseRequest, Prompt, Segment, Step

NEVER = threading.Event()
BEFORE = """\
class Names:
    def __init__(self) -> None:
        self.names = []

    def add(self, name: str) -> None:
"""
ASKED = DenoiseRequest(
    prompt=Prompt(prefix=BEFORE + "        self.names.", suffix="(name)\n", typed=""),
    one_line=True,
    canvas_tokens=32,
)


@pytest.fixture(scope="module")
def embedded() -> InProcessEngine:
    return load_engine(None)


def canvas(*tokens: tuple[str, float], score: float = -1.0) -> Canvas:
    return Canvas(
        text="".join(text for text, _ in tokens),
        tokens=tuple(CanvasToken(text=text, confidence=confidence) for text, confidence in tokens),
        ended=True,
        score=score,
    )


def last(engine: InProcessEngine, request: DenoiseRequest) -> Step:
    *_, step = engine.denoise(request, NEVER)
    return step


@pytest.mark.parametrize(
    ("suffix", "rest"),
    [(")\ny", ")"), ("", ""), ("\ny = 1", ""), ("  \ny", ""), (" # a", " # a"), ("x" * 99, "x" * 80)],
)
def test_the_rest_of_the_line(suffix: str, rest: str) -> None:
    prompt = Prompt(prefix="a", suffix=suffix, typed="b", before="c", after="d", nearby=("e",))
    assert rest_of_line(prompt) == rest
    assert unseen(prompt) == Prompt(prefix="a", suffix=suffix[len(rest) :])


class TestEndings:
    def test_anywhere(self) -> None:
        one = canvas(("f", 0.5), ("(", 0.25), ("x", 1.0), score=-0.5)
        found = {each.text: each for each in endings([one], Prompt(prefix="", suffix=" + 1"), anywhere=True)}
        assert [*found] == ["f", "f(", "f(x"]
        assert found["f"].own == pytest.approx(-0.693 - _STOPPED, abs=1e-3)
        assert found["f(x"].own == -2.0
        assert [(each.last, each.tail, each.whole) for each in found.values()] == [
            (0, "f", False),
            (1, "(", False),
            (2, "x", True),
        ]

    def test_whole_ones_only(self) -> None:
        rows = [canvas(("f", 0.5), ("(", 0.25)), canvas(("g", 0.5))]
        found = endings(rows, Prompt(prefix="", suffix=" + 1"), anywhere=False)
        assert [(each.text, each.row) for each in found] == [("f(", 0), ("g", 1)]

    @pytest.mark.parametrize(
        ("tokens", "suffix", "texts"),
        [
            (["x", ", y", ")"], ", y)\n", ["x"]),  # which follows anyway
            (["xyz"], "yz = 1\n", ["x"]),  # within a token
            (["g", "()"], ")\n", ["g(", "g()"]),  # it may be its own
            (["x", ")"], "\n", ["x)"]),  # nothing follows
        ],
    )
    def test_what_follows_anyway_is_left_out(self, tokens: list[str], suffix: str, texts: list[str]) -> None:
        one = canvas(*((token, 0.5) for token in tokens))
        found = endings([one], Prompt(prefix="", suffix=suffix), anywhere=False)
        assert [each.text for each in found] == texts
        assert {each.own for each in found} == {one.total}  # not for having been stopped

    def test_the_likeliest_reading_of_a_text_counts(self) -> None:
        rows = [canvas(("x", 0.9), (" y", 0.1), score=-3.0), canvas(("x", 0.9), score=-0.2)]
        (of_x,) = (
            each for each in endings(rows, Prompt(prefix="", suffix=")"), anywhere=True) if each.text == "x"
        )
        assert (of_x.row, of_x.own) == (1, -0.4)

    def test_something_has_to_be_added(self) -> None:
        rows = [canvas(("sel", 1.0), ("f", 0.5), (" ", 0.5))]
        found = endings(rows, Prompt(prefix="", suffix=")", typed="self"), anywhere=True)
        assert found == []


class TestByWhatFollows:
    def test_it_is_as_likely_as_if_each_were_read_alone(self, embedded: InProcessEngine) -> None:
        tokenizer, network = embedded.prefill.tokenizer, embedded.network
        prompt = ASKED.prompt
        texts = ["append", "add(name", "names.extend", "remove(name)", "pop"]
        rows = [tokenizer.encode(text) for text in texts]
        canvases = [
            canvas(*((text, 0.5 + at / 10) for text in tokenizer.texts(ids)), score=-at / 2)
            for at, ids in enumerate(rows)
        ]
        with embedded.prefill.of(unseen(prompt), NEVER) as cache:
            assert cache is not None
            best = by_what_follows(network, cache, tokenizer, canvases, rows, prompt, anywhere=True)
            totals = {}
            for each in endings(canvases, prompt, anywhere=True):
                ids = [*rows[each.row][: each.last], *tokenizer.encode(each.tail + "(name)")]
                (scores,) = token_scores(network, cache, [ids])
                totals[each.text] = each.own + _WEIGHT * sum(scores[:-1])
        assert len(best) <= len(totals)
        read = best[:_READ]
        assert [one.total for one in read] == pytest.approx([totals[one.text] for one in read], abs=0.02)
        assert [one.total for one in best] == sorted((one.total for one in best), reverse=True)
        assert {"append", "add", "names.extend", "remove", "pop"} <= {one.text for one in best}

    def test_nothing_written(self, embedded: InProcessEngine) -> None:
        nothing = [canvas()]
        with embedded.prefill.of(unseen(ASKED.prompt), NEVER) as cache:
            assert cache is not None
            best = by_what_follows(
                embedded.network,
                cache,
                embedded.prefill.tokenizer,
                nothing,
                [[]],
                ASKED.prompt,
                anywhere=True,
            )
        assert best == nothing


class TestInAnEngine:
    def test_a_line_goes_on_from_the_best(self, embedded: InProcessEngine) -> None:
        best, *others = last(embedded, ASKED).canvases
        assert best.text == "append"
        assert all(one.total <= best.total for one in others)
        assert len({one.text for one in others}) == len(others)

    def test_no_more_than_were_asked_for(self, embedded: InProcessEngine) -> None:
        assert len(last(embedded, replace(ASKED, candidates=2)).canvases) == 2

    def test_not_without_time(self, embedded: InProcessEngine, monkeypatch: pytest.MonkeyPatch) -> None:
        asked: list[object] = []
        monkeypatch.setattr("engine.generation.by_what_follows", lambda *a, **_: asked.append(a) or a[3])
        last(embedded, ASKED)
        assert len(asked) == 1
        last(embedded, replace(ASKED, deadline_ms=1e-6))
        assert len(asked) == 1

    @pytest.mark.parametrize(("candidates", "times"), [(1, 0), (2, 1)])
    def test_not_where_there_is_nothing_to_choose_among(
        self, embedded: InProcessEngine, monkeypatch: pytest.MonkeyPatch, candidates: int, times: int
    ) -> None:
        asked: list[object] = []
        monkeypatch.setattr("engine.generation.by_what_follows", lambda *a, **_: asked.append(a) or a[3])
        last(embedded, replace(ASKED, decoding=Decoding.DENOISE, candidates=candidates, max_steps=1))
        assert len(asked) == times

    def test_layouts_stay_as_they_are(self, embedded: InProcessEngine) -> None:
        layouts = tuple((Segment(free_tokens=1), Segment(text=text)) for text in ("append", "(name)"))
        step = last(embedded, replace(ASKED, layouts=layouts))
        assert {one.segments[1] for one in step.canvases} == {"append", "(name)"}

    def test_called_off_in_between(self, embedded: InProcessEngine, monkeypatch: pytest.MonkeyPatch) -> None:
        cancelled, asked = threading.Event(), list[object]()
        monkeypatch.setattr("engine.generation.by_what_follows", lambda *a, **_: asked.append(a) or a[3])
        as_written = last(embedded, ASKED).canvases
        monkeypatch.setattr("engine.generation.unseen", lambda prompt: (cancelled.set(), prompt)[1])
        *_, step = embedded.denoise(ASKED, cancelled)
        assert len(asked) == 1  # the first time
        assert [one.text for one in step.canvases] == [one.text for one in as_written]
