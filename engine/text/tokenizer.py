"""A checkpoint's tokenizer: text to ids, ids to bytes, and which tokens may continue given bytes.

Wraps `tokenizers`; works on any byte-level BPE that has our special tokens. Knows nothing of prompts.
"""

from __future__ import annotations

import codecs
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property, lru_cache
from pathlib import Path

import numpy as np
import tokenizers
from numpy.typing import NDArray

from engine.errors import BrokenCheckpoint, UnsupportedModel
from engine.text.special import Special

_KEPT_TEXTS, _LONGEST_KEPT = 32, 8192  # characters


def read_inner(folder: Path) -> tokenizers.Tokenizer:
    """The library's object for `tokenizer.json` of `folder`.

    Raises:
        BrokenCheckpoint: the file is missing or cannot be read.
    """
    path = folder / "tokenizer.json"
    if not path.exists():
        raise BrokenCheckpoint(f"{path} is missing")
    try:
        return tokenizers.Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises bare Exception
        raise BrokenCheckpoint(f"{path} cannot be read: {error}") from error


def brackets_in(piece: bytes) -> int:
    """How many more brackets a text opens than it closes."""
    opened, closed = (sum(piece.count(c) for c in brackets) for brackets in (b"([{", b")]}"))
    return opened - closed


class Tokenizer:
    """`tokenizer.json` of a folder; `inner` is what `read_inner` gives, where that was called already.

    Raises:
        BrokenCheckpoint: the file is missing or cannot be read, or its tokens are not byte-level, do not have
            the ids from 0 on, or lack a byte.
        UnsupportedModel: a special token we lay prompts out with is not there, or has another id.
    """

    end: int = Special.EOM.value
    """The id that ends a middle."""

    def __init__(self, folder: Path, inner: tokenizers.Tokenizer | None = None) -> None:
        self._inner = inner or read_inner(folder)
        # Source code that contains the text of a special token is still only text.
        self._inner.encode_special_tokens = True
        # What follows a hole stays as it is from key to key, and a fill tried again asks for all of it again.
        self._encoded = lru_cache(maxsize=_KEPT_TEXTS)(self._encode)
        self._path = folder / "tokenizer.json"
        self._check()
        lacking = {bytes([byte]) for byte in range(256)} - {*self.pieces}
        if lacking:  # a text that was typed could not be gone on with
            raise BrokenCheckpoint(f"{self._path}: no token is the byte {min(lacking)[0]:#04x} alone")

    def _check(self) -> None:
        for special in Special:
            if self._inner.token_to_id(special.token) != special:
                raise UnsupportedModel(
                    f"{self._path}: token {special.token} does not have id {special.value}"
                )

    @property
    def size(self) -> int:
        """How many ids there are: one more than the largest."""
        return len(self.pieces)

    def encode(self, text: str, *, once: bool = False) -> list[int]:
        """Ids of `text`, without special tokens. Lone surrogates become `?`. What is asked for but `once`
        is not kept in place of others."""
        return self._encode(text) if once or len(text) > _LONGEST_KEPT else [*self._encoded(text)]

    def _encode(self, text: str) -> list[int]:
        clean = text.encode("utf-8", "replace").decode("utf-8")
        ids: list[int] = self._inner.encode(clean, add_special_tokens=False).ids
        return ids

    def decode(self, ids: Iterable[int]) -> str:
        """The text of `ids`; special tokens have none, and bytes that are not UTF-8 are left out."""
        return b"".join(self.pieces[i] for i in ids).decode("utf-8", "ignore")

    def texts(self, ids: Sequence[int]) -> list[str]:
        """Each token's share of the text; a character split between tokens belongs to the last of them."""
        decoder = codecs.getincrementaldecoder("utf-8")("ignore")
        return [decoder.decode(self.pieces[i]) for i in ids]

    def parts(self, ids: Sequence[int], most: int) -> Iterator[Sequence[int]]:
        """A text's ids in parts of at most `most`, 4 or more; between them no character is split that is
        nothing but tokens of its own."""
        first = 0
        while first < len(ids):
            last = min(first + most, len(ids))
            end = next((at for at in range(last, last - 4, -1) if self._begins_character(ids, at)), last)
            yield ids[first:end]
            first = end

    def _begins_character(self, ids: Sequence[int], at: int) -> bool:
        """Whether a character begins at that index of a text's ids; one does behind them."""
        return at == len(ids) or not b"\x80" <= self.pieces[ids[at]][:1] < b"\xc0"

    @cached_property
    def pieces(self) -> list[bytes]:
        """The bytes of every id; empty for special tokens."""
        special = {token.content for token in self._inner.get_added_tokens_decoder().values()}
        table = {character: byte for byte, character in enumerate(_byte_characters())}
        vocabulary = self._inner.get_vocab(with_added_tokens=True)
        count = len(vocabulary)
        if sorted(vocabulary.values()) != [*range(count)]:
            raise BrokenCheckpoint(f"{self._path}: the ids of its {count} tokens are not 0 to {count - 1}")
        pieces = [b""] * count
        for token, index in vocabulary.items():
            if token in special:
                continue
            if not table.keys() >= {*token}:
                raise BrokenCheckpoint(f"{self._path}: token {token!r} is not byte-level")
            pieces[index] = bytes(table[character] for character in token)
        return pieces

    @cached_property
    def begins_line(self) -> NDArray[np.bool_]:
        """Of each id, whether a line ends where it begins."""
        return np.array([piece.startswith(b"\n") for piece in self.pieces])

    @cached_property
    def brackets(self) -> NDArray[np.int32]:
        """How many more brackets each id opens than it closes."""
        return np.array([brackets_in(piece) for piece in self.pieces], dtype=np.int32)

    def continuing(self, wanted: bytes) -> tuple[list[int], list[int]]:
        """(ids whose bytes begin with `wanted`, ids whose bytes are a shorter start of it)."""
        keys, ids = self._sorted
        first = bisect_left(keys, wanted)
        last = bisect_right(keys, wanted, first, key=lambda piece: piece[: len(wanted)])
        shorter = []
        for length in range(1, len(wanted)):
            at = bisect_left(keys, wanted[:length])
            if at < len(keys) and keys[at] == wanted[:length]:
                shorter.append(ids[at])
        return list(ids[first:last]), shorter

    @cached_property
    def _sorted(self) -> tuple[list[bytes], list[int]]:
        pairs = sorted((piece, index) for index, piece in enumerate(self.pieces) if piece)
        return [piece for piece, _ in pairs], [index for _, index in pairs]


def _byte_characters() -> list[str]:
    """The character that stands for each byte in a byte-level vocabulary.

    Printable Latin-1 stands for itself, the rest for the code points from 256 on, in order.
    """
    printable = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    characters, extra = [], 256
    for byte in range(256):
        if byte in printable:
            characters.append(chr(byte))
        else:
            characters.append(chr(extra))
            extra += 1
    return characters
