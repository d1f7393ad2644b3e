"""Trains and loads the byte-level BPE tokenizer of the embedded model.

Sixteen special tokens have fixed ids, first those of `engine.text.special`, then reserved ones; the 256 bytes
and the merges follow. Before merging, text is cut so that no token crosses a newline, a newline keeps the
indentation after it, digits stand alone, and a word or a run of punctuation takes at most one space before
it. Any string survives encoding and decoding unchanged.

It does not know where text comes from, nor what a hole is.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from tokenizers import Regex, decoders, models, pre_tokenizers, trainers
from tokenizers import Tokenizer as Tokenizer

from engine.text.special import Special

VOCAB_SIZE = 4096
LONGEST_TOKEN_CHARS = 24
"""Longer tokens would be decoration such as comment rules, which are not worth a place."""

RESERVED = range(len(Special), 16)
SPECIAL_TOKENS = [token.token for token in Special] + [f"<reserved_{id_}>" for id_ in RESERVED]

# One alternative per line; together they match every character, so nothing is left to a default.
PRETOKENS = "|".join(
    [
        r"\n[ \t]*",  # a newline with the indentation after it
        r" ?[A-Za-z_]+",  # a word, underscores included
        r" ?[0-9]",  # one digit
        r" ?[^\sA-Za-z_0-9]+",  # punctuation, and letters beyond ASCII
        r"[^\S\n]+(?=[^\S\n])",  # blanks, leaving the last one to what follows
        r"[^\S\n]",
    ]
)


def train(texts: Iterable[str], *, vocab_size: int = VOCAB_SIZE) -> Tokenizer:
    """Train a tokenizer on `texts`; the same texts in the same order give the same tokenizer."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(PRETOKENS), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=SPECIAL_TOKENS,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        max_token_length=LONGEST_TOKEN_CHARS,
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer=trainer)
    tokenizer.encode_special_tokens = True
    return tokenizer


def load(path: Path) -> Tokenizer:
    """Read a tokenizer that treats the text of a special token, such as `<eom>`, as ordinary text.

    The file cannot record that wish, so whoever reads it otherwise must set `encode_special_tokens`.
    """
    tokenizer = Tokenizer.from_file(str(path))
    tokenizer.encode_special_tokens = True
    return tokenizer


def save(tokenizer: Tokenizer, path: Path) -> None:
    """Write `tokenizer` as JSON, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    tokenizer.save(str(partial))
    partial.replace(path)
