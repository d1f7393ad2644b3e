"""The tokenizer: fixed ids, lossless, nothing across newlines, special tokens never read from text."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import PreTrainedTokenizerFast

from engine.text.special import Special
from engine.training import tokenizer as training
from engine.training.tokenizer import SPECIAL_TOKENS, Tokenizer

TEXTS = [
    "def total(self, values):\n    for value in values:\n        self.sum += value\n    return self.sum\n",
    "class Circle:\n\tdef area(self):\n\t\treturn 3.14159 * self.radius ** 2\n\n\n",
    "# ----------------------------------------------------------------\n" * 3,
] * 20
VOCAB = 400
SHIPPED = Path(training.__file__).parents[1] / "models" / "embedded" / "tokenizer.json"


@pytest.fixture(scope="module", params=["trained", "shipped"])
def tokenizer(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    if request.param == "shipped":
        return training.load(SHIPPED)
    path = tmp_path_factory.mktemp("tokenizer") / "tokenizer.json"
    training.save(training.train(TEXTS, vocab_size=VOCAB), path)
    return training.load(path)


def encode(tokenizer: Tokenizer, text: str) -> list[int]:
    ids: list[int] = tokenizer.encode(text, add_special_tokens=False).ids
    return ids


def pieces(tokenizer: Tokenizer, text: str) -> list[str]:
    encoding = tokenizer.encode(text, add_special_tokens=False)
    return [text[start:end] for start, end in encoding.offsets]


def test_special_tokens_have_their_ids(tokenizer: Tokenizer) -> None:
    assert [tokenizer.token_to_id(name) for name in SPECIAL_TOKENS] == list(range(16))
    assert tokenizer.token_to_id("<eom>") == Special.EOM == 3


def test_the_shipped_vocabulary_is_full() -> None:
    assert training.load(SHIPPED).get_vocab_size() == training.VOCAB_SIZE == 4096


def test_every_byte_has_a_token(tokenizer: Tokenizer) -> None:
    vocabulary = tokenizer.get_vocab()
    assert len([t for t in vocabulary if len(t) == 1]) == 256


@pytest.mark.parametrize("text", [*SPECIAL_TOKENS, "x = '<eom><pad>'", "<suffix>\n<prefix>"])
def test_special_tokens_in_source_are_plain_text(tokenizer: Tokenizer, text: str) -> None:
    ids = encode(tokenizer, text)
    assert min(ids) >= 16
    assert tokenizer.decode(ids, skip_special_tokens=False) == text


@settings(max_examples=200, deadline=None)
@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_any_text_survives(text: str) -> None:
    tokenizer = training.load(SHIPPED)
    assert tokenizer.decode(encode(tokenizer, text), skip_special_tokens=False) == text


@pytest.mark.parametrize(
    "text", ["a\r\n\tb\r\n", "\f\v\x00\x7f", "😀 = '日本語🚨'\n", "\u2028\u2029\xa0é", "  \n \t\n   x"]
)
def test_awkward_text_survives(tokenizer: Tokenizer, text: str) -> None:
    assert tokenizer.decode(encode(tokenizer, text), skip_special_tokens=False) == text


def test_nothing_crosses_a_newline_but_its_indentation(tokenizer: Tokenizer) -> None:
    for text in TEXTS:
        for piece in pieces(tokenizer, text):
            assert "\n" not in piece[1:]
            assert not piece.startswith("\n") or not piece.strip(), f"{piece!r} holds more than indentation"


def test_newline_and_indentation_are_one_token(tokenizer: Tokenizer) -> None:
    assert "\n        " in pieces(tokenizer, TEXTS[0])
    assert pieces(tokenizer, "\n\n\n") == ["\n"] * 3


def test_digits_stand_alone(tokenizer: Tokenizer) -> None:
    assert pieces(tokenizer, "1234") == ["1", "2", "3", "4"]
    assert pieces(tokenizer, "=12")[-2:] == ["1", "2"]


def test_words_and_punctuation_do_not_mix(tokenizer: Tokenizer) -> None:
    for piece in pieces(tokenizer, "self.result += (value[self]):"):
        kinds = {character.isalpha() or character == "_" for character in piece.strip()}
        assert len(kinds) <= 1, f"{piece!r} mixes letters and punctuation"


def test_training_is_repeatable() -> None:
    first, second = (training.train(TEXTS, vocab_size=VOCAB) for _ in range(2))
    assert first.to_str() == second.to_str()


def test_a_token_has_a_longest_length() -> None:
    tokenizer = training.train(["#" * 1000 + "\n"] * 50, vocab_size=VOCAB)
    assert max(map(len, set(tokenizer.get_vocab()) - set(SPECIAL_TOKENS))) <= training.LONGEST_TOKEN_CHARS


def test_transformers_reads_the_shipped_file() -> None:
    theirs = PreTrainedTokenizerFast(tokenizer_file=str(SHIPPED))
    text = TEXTS[0]
    assert theirs(text)["input_ids"] == encode(training.load(SHIPPED), text)


def test_saving_replaces_and_leaves_no_partial_file(tmp_path: Path) -> None:
    path = tmp_path / "new" / "tokenizer.json"
    tokenizer = training.train(TEXTS, vocab_size=VOCAB)
    training.save(tokenizer, path)
    training.save(tokenizer, path)
    assert [file.name for file in path.parent.iterdir()] == ["tokenizer.json"]
