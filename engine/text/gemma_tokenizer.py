"""Gemma's tokenizer: SentencePiece pieces in place of byte-level ones, and the control tokens of a chat.

Knows the tokens, not what is said with them (see `engine.text.gemma_chat`).
"""

from __future__ import annotations

import re
from functools import cached_property
from typing import ClassVar

from engine.errors import UnsupportedModel
from engine.text.tokenizer import Tokenizer

_BYTE = re.compile(r"<0x([0-9A-F]{2})>")


class GemmaTokenizer(Tokenizer):
    """`tokenizer.json` of a Gemma 4 model.

    Raises:
        BrokenCheckpoint: the file is missing or cannot be read, or a byte is no token.
        UnsupportedModel: a control token is missing, as in Gemma 3.
    """

    TURN: ClassVar[str] = "<|turn>"
    END: ClassVar[str] = "<turn|>"
    CONTROL: ClassVar[tuple[str, ...]] = ("<bos>", "<eos>", "<pad>", TURN, END, "<|channel>", "<channel|>")

    def _check(self) -> None:
        for token in self.CONTROL:
            if self._inner.token_to_id(token) is None:
                raise UnsupportedModel(f"{self._path}: Gemma 4's control token {token} is missing")
        self.end = self.control(self.END)

    def control(self, token: str) -> int:
        """The id of a control token."""
        index: int | None = self._inner.token_to_id(token)
        assert index is not None
        return index

    @cached_property
    def pieces(self) -> list[bytes]:
        """The bytes of every id; empty for control tokens."""
        silent = {t.content for t in self._inner.get_added_tokens_decoder().values() if t.special}
        silent.update(self.CONTROL)
        vocabulary = self._inner.get_vocab(with_added_tokens=True)
        pieces = [b""] * (1 + max(vocabulary.values()))
        for token, index in vocabulary.items():
            if token in silent:
                continue
            byte = _BYTE.fullmatch(token)
            pieces[index] = bytes([int(byte[1], 16)]) if byte else token.replace("▁", " ").encode()
        return pieces
