"""Turns documents with holes into packed training examples, and writes and reads their shards.

An example is one suffix and one prefix, in tokens, with up to four holes that all end where the prefix
ends: an encoded sequence then serves several canvases, and the suffix is truly adjacent to each middle.

It does not know how holes are chosen, where documents come from, or what a model does with them.

A shard is an `.npz` with, for n examples:

    tokens       (total,)  uint16  per example: the suffix, then the prefix with the middles at its end
    suffix_lens  (n,)      uint16  suffix length in tokens
    prefix_lens  (n,)      uint16  prefix length in tokens
    starts       (n, 4)    uint16  where each middle begins in the prefix, shortest middle first; `UNUSED`
    kinds        (n, 4)    uint8   the `Kind` of each middle; 255 where unused
    n_starts     (n,)      uint8   how many middles there are, at least 1
"""

from __future__ import annotations

import random
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import IntEnum
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

PREFIX_TOKENS = 448
SUFFIX_TOKENS = 124
MIDDLE_TOKENS = 127
"""The longest middle: with its end-of-middle token it fills a canvas of 128."""
MAX_HOLES = 4
UNUSED = 65535
ANY_LENGTH = 0.5
"""The share of windows that begin at any line before their holes, not in the oldest quarter of the room.

A model that has only seen middles that end where the room does learns to end by counting: four nats and
more for the end of a middle behind a short prefix, 0.6 behind one as long as the room (LOG.md, fourteenth).
"""
SHARD_EXAMPLES = 40_000
"""About 16 MB of compressed shard."""


class Kind(IntEnum):
    """What a hole is, in the terms of the training mix."""

    REST_OF_LINE = 0
    LINE = 1
    NODE = 2
    LINES = 3
    RANDOM = 4
    EMPTY_SUFFIX = 5


@dataclass(frozen=True, kw_only=True, slots=True)
class Cut:
    """Holes that all end at `end`; `starts` and `kinds` run in parallel. Offsets are code points."""

    end: int
    starts: tuple[int, ...]
    kinds: tuple[Kind, ...]
    suffix_is_empty: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class CutDocument:
    """A text and its cuts; `seed` decides every random choice made when it is packed."""

    text: str
    cuts: tuple[Cut, ...]
    seed: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Example:
    """One packed example: token ids, and the holes as (start in `prefix`, kind), shortest middle first."""

    suffix: list[int]
    prefix: list[int]
    holes: list[tuple[int, Kind]]


def pack(documents: Iterable[CutDocument], tokenizer: Tokenizer, batch: int = 64) -> Iterator[Example]:
    """Tokenise `documents`, `batch` at a time, and yield an example for each cut that still has a hole."""
    source = iter(documents)
    while group := list(islice(source, batch)):
        encoded = tokenizer.encode_batch([d.text for d in group], add_special_tokens=False)
        pieces = tokenizer.encode_batch(
            [piece for d in group for cut in d.cuts for piece in _line_at(d.text, cut)],
            add_special_tokens=False,
        )
        remaining = iter(pieces)
        for document, encoding in zip(group, encoded, strict=True):
            whole = _Encoded(encoding.ids, [start for start, _ in encoding.offsets])
            choose = _Choices(random.Random(document.seed), tokenizer)
            for cut in document.cuts:
                before, after = next(remaining), next(remaining)
                head = _Encoded(before.ids, [start for start, _ in before.offsets])
                if (example := _example(document.text, cut, whole, head, after.ids, choose)) is not None:
                    yield example


@dataclass(frozen=True, slots=True)
class _Encoded:
    ids: list[int]
    offsets: list[int]  # where each token begins, in code points; equal within a split character


def _line_at(text: str, cut: Cut) -> tuple[str, str]:
    """The text from the newline before the cut up to it, and from it up to the next newline.

    Tokens never cross a newline, so only this line is tokenised differently because of the cut.
    """
    return text[_line_break_before(text, cut.end) : cut.end], text[cut.end : _line_break_after(text, cut.end)]


def _line_break_before(text: str, offset: int) -> int:
    return max(text.rfind("\n", 0, offset), 0)


def _line_break_after(text: str, offset: int) -> int:
    found = text.find("\n", offset)
    return len(text) if found < 0 else found


def _example(
    text: str, cut: Cut, whole: _Encoded, head: _Encoded, after: list[int], choose: _Choices
) -> Example | None:
    """Assemble the tokens of one cut, or nothing where no middle fits."""
    line = _line_break_before(text, cut.end)
    until = bisect_left(whole.offsets, line)
    begin = max(0, until + len(head.ids) - PREFIX_TOKENS)
    near = _Encoded(
        (whole.ids[begin:until] + head.ids)[-PREFIX_TOKENS:],
        (whole.offsets[begin:until] + [line + offset for offset in head.offsets])[-PREFIX_TOKENS:],
    )
    prefix = _window(text[: cut.end], near, min(cut.starts), choose)
    suffix: list[int] = []
    if not cut.suffix_is_empty:
        onward = bisect_left(whole.offsets, _line_break_after(text, cut.end))
        suffix = (after + whole.ids[onward : onward + SUFFIX_TOKENS])[: choose.suffix_tokens()]
    holes = _snap(cut, prefix.offsets)
    return Example(suffix=suffix, prefix=prefix.ids, holes=holes) if holes else None


@dataclass(frozen=True, slots=True)
class _Choices:
    """What is left to chance in one document's examples."""

    rng: random.Random
    tokenizer: Tokenizer

    def suffix_tokens(self) -> int:
        """The most suffix tokens to keep: usually all the room there is."""
        return self.rng.randint(0, SUFFIX_TOKENS) if self.rng.random() < 0.3 else SUFFIX_TOKENS


def _window(text: str, near: _Encoded, latest: int, choose: _Choices) -> _Encoded:
    """The tokens of the end of `text`, from a random line on: one in the oldest quarter of `near`, or any
    that begins before the offset `latest` (see `ANY_LENGTH`).

    `near` holds at most the last `PREFIX_TOKENS` tokens of `text`. A newline and the indentation after
    it are one token, so the window's first line, which begins after the newline, is tokenised anew.
    """
    if not near.ids or (near.offsets[0] == 0 and choose.rng.random() < 0.75):
        return near
    any_length = choose.rng.random() < ANY_LENGTH
    last = bisect_left(near.offsets, latest) if any_length else len(near.ids) // 4 + 1
    lines = [i for i in range(last) if text.startswith("\n", near.offsets[i])]
    if not lines:
        return near
    start = near.offsets[choose.rng.choice(lines)] + 1
    stop = _line_break_after(text, start)
    line = choose.tokenizer.encode(text[start:stop], add_special_tokens=False)
    onward = bisect_left(near.offsets, stop)
    return _Encoded(
        (line.ids + near.ids[onward:])[-PREFIX_TOKENS:],
        ([start + offset for offset, _ in line.offsets] + near.offsets[onward:])[-PREFIX_TOKENS:],
    )


def _snap(cut: Cut, offsets: list[int]) -> list[tuple[int, Kind]]:
    """The cut's holes as token indices, each start moved back to where a token begins."""
    holes: dict[int, Kind] = {}
    for start, kind in zip(cut.starts, cut.kinds, strict=True):
        if not offsets or start < offsets[0]:
            continue
        index = bisect_right(offsets, start) - 1
        index = bisect_left(offsets, offsets[index])
        if 1 <= len(offsets) - index <= MIDDLE_TOKENS:
            holes.setdefault(index, kind)
    return sorted(holes.items(), reverse=True)[:MAX_HOLES]


@dataclass(frozen=True, kw_only=True)
class Shard:
    """Packed examples in memory; the arrays are those of the file, described in the module's docstring."""

    tokens: NDArray[np.uint16]
    suffix_lens: NDArray[np.uint16]
    prefix_lens: NDArray[np.uint16]
    starts: NDArray[np.uint16]
    kinds: NDArray[np.uint8]
    n_starts: NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.n_starts)

    def arrays(self) -> dict[str, NDArray[np.uint16] | NDArray[np.uint8]]:
        """The arrays by the name they have in the file."""
        return dict(vars(self))

    def offsets(self) -> NDArray[np.int64]:
        """Where each example begins in `tokens`: (n + 1,), the last entry being their number."""
        lengths = self.suffix_lens.astype(np.int64) + self.prefix_lens
        return np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)])


def collect(examples: Iterable[Example]) -> Shard:
    """Gather examples into arrays, in the order given, two bytes a token."""
    tokens: list[NDArray[np.uint16]] = []
    lengths: list[tuple[int, int]] = []
    starts: list[list[int]] = []
    kinds: list[list[int]] = []
    for example in examples:
        tokens.append(np.array(example.suffix + example.prefix, np.uint16))
        lengths.append((len(example.suffix), len(example.prefix)))
        spare = MAX_HOLES - len(example.holes)
        starts.append([start for start, _ in example.holes] + [UNUSED] * spare)
        kinds.append([kind for _, kind in example.holes] + [255] * spare)
    table = np.array(starts, np.uint16).reshape(-1, MAX_HOLES)
    lens = np.array(lengths, np.uint16).reshape(-1, 2)
    return Shard(
        tokens=np.concatenate([np.zeros(0, np.uint16), *tokens]),
        suffix_lens=lens[:, 0],
        prefix_lens=lens[:, 1],
        starts=table,
        kinds=np.array(kinds, np.uint8).reshape(-1, MAX_HOLES),
        n_starts=(table != UNUSED).sum(1).astype(np.uint8),
    )


def take(shard: Shard, order: NDArray[np.int64]) -> Shard:
    """The examples of `shard` at the indices `order`, in that order."""
    offsets = shard.offsets()
    pieces = [shard.tokens[offsets[i] : offsets[i + 1]] for i in order]
    rest = {name: array[order] for name, array in shard.arrays().items() if name != "tokens"}
    return Shard(tokens=np.concatenate([np.zeros(0, np.uint16), *pieces]), **rest)  # type: ignore[arg-type]


def write_shards(
    shard: Shard, directory: Path, name: str, *, seed: int, size: int = SHARD_EXAMPLES
) -> list[Path]:
    """Shuffle all examples and write them as `name-0000.npz` and so on, at most `size` to a file.

    Each file is whole or absent; files of the same name that a larger set left behind are removed.
    """
    directory.mkdir(parents=True, exist_ok=True)
    order = np.random.default_rng(seed).permutation(len(shard))
    paths = []
    for number, begin in enumerate(range(0, len(shard), size)):
        path = directory / f"{name}-{number:04d}.npz"
        partial = directory / f".{path.name}.partial"
        with partial.open("wb") as file:
            np.savez_compressed(file, allow_pickle=False, **take(shard, order[begin : begin + size]).arrays())
        partial.replace(path)
        paths.append(path)
    for stale in set(directory.glob(f"{name}-[0-9]*.npz")) - set(paths):
        stale.unlink()
    return paths


def read_shard(path: Path) -> Shard:
    """Read one shard.

    Raises:
        KeyError: an array is missing.
        OSError, ValueError, EOFError, zipfile.BadZipFile: the file cannot be read or is broken.
    """
    with np.load(path, allow_pickle=False) as file:
        return Shard(**{name: file[name] for name in Shard.__annotations__})
