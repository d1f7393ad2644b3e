"""Which tokenizer a checkpoint has."""

from __future__ import annotations

from pathlib import Path

from engine.gemma_tokenizer import GemmaTokenizer
from engine.tokenizer import Tokenizer, read_inner


def open_tokenizer(folder: Path) -> Tokenizer:
    """The tokenizer of `folder`: one of our own, or Gemma's where it has Gemma's control tokens.

    Raises:
        BrokenCheckpoint, UnsupportedModel: see `Tokenizer`.
    """
    inner = read_inner(folder)
    kind = GemmaTokenizer if inner.token_to_id(GemmaTokenizer.TURN) is not None else Tokenizer
    return kind(folder, inner)
