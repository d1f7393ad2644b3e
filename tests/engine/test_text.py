"""Text and tokens: the tokenizer, prompt layout and token healing."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.checkpoints.hub import EMBEDDED
from engine.config import PromptConfig
from engine.denoising.typed import Typed
from engine.errors import BrokenCheckpoint, UnsupportedModel
from engine.request import Prompt, Snippet
from engine.text.prompts import lay_out
from engine.text.special import Special
from engine.text.tokenizer import Tokenizer


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer(EMBEDDED)


TOKENIZER = Tokenizer(EMBEDDED)


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=60))
@settings(deadline=None)
def test_text_survives(text: str) -> None:
    ids = TOKENIZER.encode(text)
    assert TOKENIZER.decode(ids) == text
    assert "".join(TOKENIZER.texts(ids)) == text
    assert b"".join(TOKENIZER.pieces[i] for i in ids).decode() == text


def test_parts_of_a_text_are_whole_characters(tokenizer: Tokenizer) -> None:
    ids = tokenizer.encode("a漢é😀" * 9 + "b" * 9)
    for most in range(4, 12):
        parts = [*tokenizer.parts(ids, most)]
        assert [token for part in parts for token in part] == ids
        assert max(map(len, parts)) <= most
        assert "".join(map(tokenizer.decode, parts)) == tokenizer.decode(ids)
    assert [*tokenizer.parts([], 4)] == []
    going_on = tokenizer.encode("漢")[1:] * 9  # what cannot be cut well is cut all the same
    assert [len(part) for part in tokenizer.parts(going_on, 8)] == [8, 8, 2]


def test_lone_surrogates_do_not_fail(tokenizer: Tokenizer) -> None:
    assert tokenizer.decode(tokenizer.encode("a\ud800b")) == "a?b"


def test_special_text_in_source_is_text(tokenizer: Tokenizer) -> None:
    ids = tokenizer.encode("x = '<eom><suffix>'")
    assert not set(ids) & set(Special)
    assert tokenizer.decode([Special.EOM, *ids, Special.PAD]) == "x = '<eom><suffix>'"


def test_half_a_character_is_left_out(tokenizer: Tokenizer) -> None:
    ids = tokenizer.encode("é😀")
    assert tokenizer.decode(ids[:-1]).startswith("é")
    assert "\ufffd" not in tokenizer.decode(ids[:-1])


def test_layout_puts_the_suffix_first(tokenizer: Tokenizer) -> None:
    config = PromptConfig(prefix_tokens=8, suffix_tokens=8)
    ids = lay_out(Prompt(prefix="a = 1\n", suffix="\nb = 2"), tokenizer, config)
    suffix, prefix = tokenizer.encode("\nb = 2"), tokenizer.encode("a = 1\n")
    assert ids == [Special.BOS, Special.SUFFIX, *suffix, Special.PREFIX, *prefix]


@pytest.mark.parametrize(
    ("budget", "shown"), [(0, ""), (7, "b = 2\n\n"), (40, "def a_long_name(): ...\n\nb = 2\n\n")]
)
def test_layout_puts_the_most_useful_snippet_nearest_to_the_prefix(
    tokenizer: Tokenizer, budget: int, shown: str
) -> None:
    config = PromptConfig(prefix_tokens=8, suffix_tokens=8, snippet_tokens=budget)
    snippets = (Snippet(path="b.py", text="b = 2"), Snippet(path="a.py", text="def a_long_name(): ..."))
    ids = lay_out(Prompt(prefix="x = ", snippets=snippets), tokenizer, config)
    assert ids[:3] == [Special.BOS, Special.SUFFIX, Special.PREFIX]
    assert tokenizer.decode(ids[3:]) == shown + "x = "
    assert len(ids) <= 3 + budget + 8


def test_layout_cuts_far_from_the_hole(tokenizer: Tokenizer) -> None:
    config = PromptConfig(prefix_tokens=4, suffix_tokens=3)
    prompt = Prompt(prefix="x\n" * 5000 + "near_prefix = 1", suffix="near_suffix = 1" + "\ny" * 5000)
    ids = lay_out(prompt, tokenizer, config)
    assert 3 + 3 + 3 < len(ids) <= 3 + 4 + 3
    assert tokenizer.decode(ids[6:])
    assert "near_prefix = 1".endswith(tokenizer.decode(ids[6:]))
    assert "near_suffix = 1".startswith(tokenizer.decode(ids[2:5]))


def test_typing_past_the_budget_keeps_most_of_the_prefix(tokenizer: Tokenizer) -> None:
    """Tokens are dropped in blocks: between two drops every prompt begins as the one before did."""
    config = PromptConfig(prefix_tokens=64, suffix_tokens=8)
    text = "".join(f"value_{n} = compute({n}, other)\n" for n in range(20))
    kept = 0
    previous: list[int] = []
    for length in range(len(text) - 200, len(text)):
        ids = lay_out(Prompt(prefix=text[:length]), tokenizer, config)
        assert len(ids) <= 3 + 64
        shared = next((i for i, (a, b) in enumerate(zip(ids, previous, strict=False)) if a != b), len(ids))
        kept += shared > len(previous) - 8
        previous = ids
    assert kept > 180


def test_a_broken_tokenizer_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BrokenCheckpoint, match="missing"):
        Tokenizer(tmp_path)
    (tmp_path / "tokenizer.json").write_text("{")
    with pytest.raises(BrokenCheckpoint, match="cannot be read"):
        Tokenizer(tmp_path)


def test_a_tokenizer_with_other_special_tokens_is_refused(tmp_path: Path) -> None:
    text = (EMBEDDED / "tokenizer.json").read_text(encoding="utf-8")
    (tmp_path / "tokenizer.json").write_text(text.replace("<eom>", "<end>"), encoding="utf-8")
    with pytest.raises(UnsupportedModel, match="<eom>"):
        Tokenizer(tmp_path)


def add_far(vocab: dict[str, int]) -> None:
    vocab["far"] = 5000


def add_foreign(vocab: dict[str, int]) -> None:
    vocab["▁x"] = len(vocab)


def swap_byte(vocab: dict[str, int]) -> None:
    vocab["zzqzzq"] = vocab.pop("~")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (add_far, "ids of its 4097 tokens are not 0 to 4096"),
        (add_foreign, "'▁x' is not byte-level"),
        (swap_byte, "no token is the byte 0x7e alone"),
    ],
)
def test_a_tokenizer_whose_tokens_are_not_bytes_by_id_is_refused(
    tmp_path: Path, change: Callable[[dict[str, int]], None], message: str
) -> None:
    raw = json.loads((EMBEDDED / "tokenizer.json").read_text(encoding="utf-8"))
    raw["model"]["merges"] = []
    change(raw["model"]["vocab"])
    (tmp_path / "tokenizer.json").write_text(json.dumps(raw), encoding="utf-8")
    with pytest.raises(BrokenCheckpoint, match=message):
        Tokenizer(tmp_path)


TYPED = ["retu", " ", " self.na", "x", "_private_na", "zqxj", "é", "def", " 日本", "a" * 40]


def narrow(typed: str, tokenizer: Tokenizer, logits: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """`logits` (batch, canvas, vocab) as `Typed` leaves them, and where there is no choice."""
    batch, length, _ = logits.shape
    index = torch.arange(batch * length)
    rows = logits.flatten(0, 1).clone()
    forced = Typed(typed, tokenizer)(rows, index // length, index % length)
    return rows.view_as(logits), forced.view(batch, length)


@pytest.mark.parametrize("typed", TYPED)
def test_every_canvas_begins_with_what_was_typed(tokenizer: Tokenizer, typed: str) -> None:
    for seed in range(5):
        logits = torch.randn(2, 48, tokenizer.size, generator=torch.Generator().manual_seed(seed)) * 8
        constrained, forced = narrow(typed, tokenizer, logits)
        for canvas, settled in zip(constrained, forced, strict=True):
            assert canvas.softmax(-1).max(-1).values[settled].eq(1).all()
            text = b"".join(tokenizer.pieces[i] for i in canvas.argmax(-1).tolist())
            assert text.startswith(typed.encode())
            # A draw from the constrained distribution obeys as well, not only its peak.
            draw = torch.multinomial(canvas.softmax(-1), 1)[:, 0].tolist()
            assert b"".join(tokenizer.pieces[i] for i in draw).startswith(typed.encode())


def test_healing_can_run_on_into_a_longer_token(tokenizer: Tokenizer) -> None:
    """`retu` need not be tokenized as such: where the model wants `return`, it gets it."""
    (wanted,) = tokenizer.encode("return")
    logits = torch.zeros(1, 4, tokenizer.size)
    logits[0, 0, wanted] = 9.0
    constrained, forced = narrow("retu", tokenizer, logits)
    assert constrained[0, 0].argmax() == wanted
    assert not forced.any()


def test_positions_behind_the_typed_text_are_free(tokenizer: Tokenizer) -> None:
    logits = torch.randn(1, 32, tokenizer.size)
    constrained, _ = narrow("return", tokenizer, logits)
    assert constrained[0, 6:].equal(logits[0, 6:])
