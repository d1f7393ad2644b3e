"""The `gemma-chat` format with a real Gemma tokenizer."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from engine.checkpoints.config_json import write_configs
from engine.checkpoints.open_tokenizer import open_tokenizer, prompts_of
from engine.config import PromptConfig, SamplerConfig
from engine.errors import UnsupportedModel
from engine.inprocess import load_engine
from engine.request import Canvas, CanvasToken, DenoiseRequest, Prompt, Snippet, Step, Stop
from engine.text.gemma_chat import GEMMA_PROMPTS, cut, cut_at_suffix, lay_out, rerolled
from engine.text.gemma_tokenizer import GemmaTokenizer
from engine.text.tokenizer import Tokenizer
from tests.engine.checkpoints import write_reference_checkpoint
from tests.engine.gemma import VOCAB, fetch_tokenizer


@pytest.fixture(scope="session")
def folder(request: pytest.FixtureRequest) -> Path:
    cache = request.config.cache
    assert cache is not None
    return fetch_tokenizer(cache.mkdir("gemma-tokenizer"))


@pytest.fixture(scope="session")
def gemma(folder: Path) -> GemmaTokenizer:
    tokenizer = open_tokenizer(folder)
    assert isinstance(tokenizer, GemmaTokenizer)
    return tokenizer


TEXTS = (
    "def f(x):\n    return x + 1\n",
    "\n\n\n\ttabs\tand  spaces   \r\n",
    "ein Wort, 漢字, 🙂, e\u0301, \x00\x7f",
    "<bos><|turn>user\n<turn|><|channel>thought",
    "<unused3> <0x41> <mask>",
    "",
)


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.network
def test_text_comes_back_as_it_was(gemma: GemmaTokenizer, text: str) -> None:
    ids = gemma.encode(text)
    assert gemma.decode(ids) == text
    assert "".join(gemma.texts(ids)) == text


@pytest.mark.network
def test_the_text_of_a_control_token_is_only_text(gemma: GemmaTokenizer) -> None:
    ids = gemma.encode("<bos><|turn>model\n<turn|><eos>")
    assert not {gemma.control(token) for token in gemma.CONTROL} & set(ids)


@pytest.mark.network
def test_control_tokens_have_the_documented_ids(gemma: GemmaTokenizer) -> None:
    assert [gemma.control(t) for t in ("<bos>", "<|turn>", "<turn|>", "<pad>", "<eos>")] == [
        2,
        105,
        106,
        0,
        1,
    ]
    assert gemma.encode("\n") == [107]
    assert gemma.end == 106
    assert gemma.size == VOCAB
    assert all(gemma.pieces[i] == b"" for i in (0, 1, 2, 105, 106))


@pytest.mark.network
def test_a_prompt_is_laid_out_as_gemma_4_has_it(gemma: GemmaTokenizer) -> None:
    prompt = Prompt(
        prefix="import os\n\ndef size(path):\n    return ",
        suffix="\n\nprint(size('a'))\n",
        snippets=(Snippet(path="src/b.py", text="def other(): ...\n"),),
    )
    ids = lay_out(prompt, gemma, GEMMA_PROMPTS)
    names = {gemma.control(token): token for token in gemma.CONTROL}
    text = "".join(names.get(i) or gemma.decode([i]) for i in ids)
    assert text.startswith("<bos><|turn>system\n")
    system, user, model = text.removeprefix("<bos>").split("<|turn>")[1:]
    assert system.endswith("<turn|>\n")
    assert user.startswith("user\n")
    assert user.endswith("<turn|>\n")
    assert "src/b.py" in user
    assert "def other(): ..." in user
    assert f"<after>\n{prompt.suffix}\n</after>" in user
    # The model's turn is open, and is the file itself behind an empty thought.
    assert model == f"model\n<|channel>thought\n<channel|>{prompt.prefix}"


@pytest.mark.network
def test_typing_only_appends(gemma: GemmaTokenizer) -> None:
    """What is cached of a prompt survives when its prefix grows."""
    before = lay_out(Prompt(prefix="a = 1\nb = ", suffix="\nc = 2\n"), gemma, GEMMA_PROMPTS)
    after = lay_out(Prompt(prefix="a = 1\nb = 3 +", suffix="\nc = 2\n"), gemma, GEMMA_PROMPTS)
    assert after[: len(before) - 1] == before[:-1]


@pytest.mark.network
def test_budgets_are_kept_far_from_the_hole(gemma: GemmaTokenizer) -> None:
    config = PromptConfig(format="gemma-chat", prefix_tokens=40, suffix_tokens=10, snippet_tokens=30)
    lines = [f"x{i} = {i}\n" for i in range(100)]
    prompt = Prompt(
        prefix="".join(lines),
        suffix="".join(lines),
        snippets=(Snippet(path="a.py", text="y = 1"), Snippet(path="b.py", text="z = 2\n" * 100)),
    )
    ids = lay_out(prompt, gemma, config)
    text = gemma.decode(ids)
    assert text.endswith("x99 = 99\n")
    assert len(ids) < len(lay_out(Prompt(prefix="", suffix="-"), gemma, config)) + 40 + 10 + 30
    assert "a.py" in text
    assert "b.py" not in text  # it does not fit whole


@pytest.mark.parametrize(
    ("text", "suffix", "kept"),
    [
        ("a + b", "\nprint(a)\n", "a + b"),  # never reaches it
        ("a + b\nprint(total)\n", "\nprint(total)\nexit()\n", "a + b"),  # runs on and ends inside
        ("a + b\nprint(total)\nexit()\nmore()", "\nprint(total)\nexit()\n", "a + b"),  # and beyond
        ("a + b\n\nprint(total)\n", "\n\nprint(total)\n", "a + b"),  # blank lines are the suffix's own
        ("x = 1\n    return", "\n    return total\n", "x = 1"),  # a canvas that ran out within it
        ("f(a, b)", ")\nprint(a)\n", "f(a, b)"),  # one bracket is no evidence
        ("f(a)\nprint(b)", "\nprint(a)\n", "f(a)\nprint(b)"),  # alike for a while, then other
        ("print(total)\n", "print(total)\nexit()\n", ""),  # nothing was missing
        ("x = 1\n", "    \n", "x = 1\n"),  # a blank suffix is never reached
        ("x = 1\n  y = longname(2)\nz", "\n    y = longname(2)\nz", "x = 1"),  # indented otherwise
    ],
)
def test_what_runs_on_into_the_suffix_is_cut_there(text: str, suffix: str, kept: str) -> None:
    at = cut_at_suffix(text, suffix)
    assert (text if at is None else text[:at]) == kept


def test_a_cut_canvas_has_the_tokens_of_its_text() -> None:
    texts = ("a", " +", " b\npr", "int(total)\n")
    canvas = Canvas(
        text="".join(texts),
        tokens=tuple(CanvasToken(text=t, confidence=0.5) for t in texts),
        ended=False,
        score=-1.0,
    )
    found = cut(canvas, "\nprint(total)\n")
    assert found.text == "a + b"
    assert [t.text for t in found.tokens] == ["a", " +", " b"]
    assert found.ended
    assert cut(canvas, "\nother\n") == canvas


def _steps(text: str, stop: Stop = Stop.STEPS) -> Iterator[Step]:
    canvas = Canvas(text=text, tokens=(), ended=True, score=0.0)
    yield Step(number=1, canvases=(canvas,), elapsed_ms=10.0)
    yield Step(number=2, canvases=(canvas,), elapsed_ms=20.0, stop=stop)


@pytest.mark.parametrize(
    ("texts", "lengths", "found"),
    [
        (["x"], [256], "x"),
        (["", "x"], [256, 128], "x"),
        (["", " \n", "x"], [256, 128, 64], "x"),
        (["", "", ""], [256, 128, 64], ""),  # then it is empty
    ],
)
def test_an_empty_answer_is_tried_on_shorter_canvases(
    texts: list[str], lengths: list[int], found: str
) -> None:
    asked: list[DenoiseRequest] = []

    def attempt(request: DenoiseRequest) -> Iterator[Step]:
        asked.append(request)
        return _steps(texts[len(asked) - 1])

    request = DenoiseRequest(prompt=Prompt(prefix=""), canvas_tokens=256, deadline_ms=500)
    steps = list(rerolled(attempt, request))
    assert [one.canvas_tokens for one in asked] == lengths
    assert [one.deadline_ms for one in asked] == [500 - 20 * n for n in range(len(lengths))]
    assert [step.number for step in steps] == list(range(1, 2 * len(lengths) + 1))
    assert [step.stop for step in steps] == [None] * (len(steps) - 1) + [Stop.STEPS]
    assert steps[-1].canvases[0].text == found
    assert steps[-1].elapsed_ms == 20 * len(lengths)


@pytest.mark.parametrize("stop", [Stop.DEADLINE, Stop.CANCELLED])
def test_who_is_out_of_time_or_gone_is_not_tried_again(stop: Stop) -> None:
    asked: list[DenoiseRequest] = []

    def attempt(request: DenoiseRequest) -> Iterator[Step]:
        asked.append(request)
        return _steps("", stop)

    steps = list(rerolled(attempt, DenoiseRequest(prompt=Prompt(prefix=""), canvas_tokens=256)))
    assert len(asked) == 1
    assert steps[-1].stop is stop


@pytest.mark.network
def test_the_whole_engine_runs_with_it(tmp_path: Path, folder: Path) -> None:
    """A small random model of the real architecture and vocabulary: typed text leads, and draws repeat."""
    write_reference_checkpoint(
        tmp_path, vocab_size=VOCAB, hidden_size=16, num_hidden_layers=1, layer_types=["full_attention"]
    )
    shutil.copyfile(folder / "tokenizer.json", tmp_path / "tokenizer.json")
    engine = load_engine(str(tmp_path))
    assert engine.info().snippet_chars > 0
    prompt = Prompt(prefix="def f():\n    re", suffix="\n", typed="tur")
    request = DenoiseRequest(prompt=prompt, canvas_tokens=32, max_steps=2, seed=3)
    first, second = (list(engine.denoise(request, threading.Event())) for _ in range(2))
    assert first[-1].stop is Stop.STEPS
    assert first[-1].canvases[0].text.startswith("tur")
    assert replace(first[-1], elapsed_ms=0) == replace(second[-1], elapsed_ms=0)


@pytest.mark.network
def test_the_format_and_the_tokenizer_have_to_agree(tmp_path: Path, gemma: GemmaTokenizer) -> None:
    from engine.checkpoints.hub import EMBEDDED
    from engine.training.recipe import SIZES, model_config

    model = model_config(vocab=4096, **SIZES["tiny"])
    write_configs(tmp_path, model, SamplerConfig(), PromptConfig(format="gemma-chat"))
    assert prompts_of(tmp_path, gemma).format == "gemma-chat"
    with pytest.raises(UnsupportedModel, match="gemma-chat"):
        prompts_of(tmp_path, Tokenizer(EMBEDDED))
    (tmp_path / "infill.json").unlink()
    assert prompts_of(tmp_path, gemma) == GEMMA_PROMPTS
