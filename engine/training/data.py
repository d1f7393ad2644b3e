"""Batches for training: packed shards in, static-shaped tensors out, noise already added.

An example is a suffix and a prefix that ends where the hole ends, with the token indices at which its
nested middles start (see `engine.training.pack`). One encoded sequence serves several canvases, each of
which may look only at what lies before its own middle.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from engine.errors import BrokenCheckpoint
from engine.text.special import Special
from engine.training.pack import MAX_HOLES, PREFIX_TOKENS, SUFFIX_TOKENS, UNUSED

SEQUENCE = SUFFIX_TOKENS + PREFIX_TOKENS + 4
"""Encoder tokens of a row: <bos> <suffix> S <prefix> P <eom>, padded on the right."""

CANVAS_AREA = 128
"""Canvas tokens of a row, shared out as 4 of 32, 2 of 64 or 1 of 128: one shape, one compiled graph."""

_CANVAS_MIX = ((32, 0.75), (64, 0.2), (128, 0.05))


@dataclass(frozen=True, kw_only=True)
class Batch:
    """`rows` examples; all integer tensors are int64.

    ids: (rows, SEQUENCE); canvas and noisy: (rows, CANVAS_AREA), clean and corrupted tokens;
    weight: (rows, CANVAS_AREA) float32, each position's share of the loss; start: (rows, CANVAS_AREA),
    for each canvas position the encoder index its canvas begins at; offset: (CANVAS_AREA,), its index
    within its canvas; group: (CANVAS_AREA,), which canvas it belongs to; own: (rows, CANVAS_AREA) bool,
    corrupted positions that are to hold what the model itself makes of the noisy canvas; in_middle:
    (rows, SEQUENCE) float32, the share of the row's canvases whose middle, end marker included, holds that
    encoder token.
    """

    ids: Tensor
    canvas: Tensor
    noisy: Tensor
    weight: Tensor
    start: Tensor
    offset: Tensor
    group: Tensor
    own: Tensor
    in_middle: Tensor


class Shards:
    """All examples of a split, in memory.

    Raises:
        BrokenCheckpoint: there is none, or one cannot be read or contradicts itself.
    """

    def __init__(self, paths: list[Path]) -> None:
        if not paths:
            raise BrokenCheckpoint("there are no shards; build the corpus first")
        tokens, suffixes, prefixes, starts = [], [], [], []
        for path in paths:
            shard = _read(path)
            tokens.append(shard["tokens"])
            suffixes.append(shard["suffix_lens"].astype(np.int64))
            prefixes.append(shard["prefix_lens"].astype(np.int64))
            starts.append(shard["starts"])
        self.tokens = np.concatenate(tokens)
        self.suffix_lens = np.concatenate(suffixes)
        self.prefix_lens = np.concatenate(prefixes)
        self.starts = np.concatenate(starts)
        lengths = self.suffix_lens + self.prefix_lens
        self.offsets = np.concatenate(([0], lengths.cumsum()))

    def __len__(self) -> int:
        return len(self.suffix_lens)

    def example(self, index: int) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        """Suffix tokens, prefix tokens (middle included) and the middles' starts, shortest middle first."""
        first = self.offsets[index]
        middle = first + self.suffix_lens[index]
        starts = self.starts[index]
        return (
            self.tokens[first:middle].astype(np.int64),
            self.tokens[middle : self.offsets[index + 1]].astype(np.int64),
            starts[starts != UNUSED].astype(np.int64),
        )


def _read(path: Path) -> dict[str, NDArray[np.unsignedinteger[Any]]]:
    """The arrays of a shard that are needed, of one number of examples."""
    try:
        # Opened here: where it is no archive numpy leaves its own file open.
        with path.open("rb") as file, np.load(file) as stored:
            shard = {name: stored[name] for name in ("tokens", "suffix_lens", "prefix_lens", "starts")}
        if not all(np.issubdtype(array.dtype, np.unsignedinteger) for array in shard.values()):
            raise ValueError("its arrays are of other types")
        rows, total = len(shard["starts"]), shard["suffix_lens"].sum() + shard["prefix_lens"].sum()
        shapes = {
            "tokens": (total,),
            "suffix_lens": (rows,),
            "prefix_lens": (rows,),
            "starts": (rows, MAX_HOLES),
        }
        if any(shard[name].shape != shape for name, shape in shapes.items()):
            raise ValueError("its arrays are of different lengths")
    except Exception as error:  # what numpy, zipfile and zlib raise at a damaged archive nobody lists
        raise BrokenCheckpoint(f"{path} is not a shard: {error}") from error
    return shard


def batches(
    shards: Shards,
    rows: int,
    vocab: int,
    *,
    seed: int,
    first_batch: int,
    clean_weight: float,
    mistakes: Callable[[], float] = lambda: 0.0,
) -> Iterator[Batch]:
    """Endless batches; the one with index i depends on `seed` and i alone, so that resuming is exact.

    `mistakes` says, whenever one is made, what share of its canvases holds a sampler's mistakes.
    """
    per_epoch = max(1, len(shards) // rows)
    index = first_batch
    while True:
        order = np.random.default_rng([seed, index // per_epoch]).permutation(len(shards))
        for slot in range(index % per_epoch, per_epoch):
            rng = np.random.default_rng([seed, 1, index])
            chosen = order[slot * rows : (slot + 1) * rows]
            yield make_batch(shards, chosen, vocab, rng, clean_weight, mistakes=mistakes())
            index += 1


def prefetch(source: Iterator[Batch], ahead: int = 4) -> Iterator[Batch]:
    """Makes batches in a thread while the caller computes; a failure there is raised here."""
    ready: queue.Queue[Batch | BaseException] = queue.Queue(ahead)

    def work() -> None:
        try:
            for batch in source:
                ready.put(batch)
        except BaseException as error:
            ready.put(error)

    threading.Thread(target=work, daemon=True).start()
    while True:
        item = ready.get()
        if isinstance(item, BaseException):
            raise item
        yield item


def make_batch(
    shards: Shards,
    chosen: NDArray[np.int64],
    vocab: int,
    rng: np.random.Generator,
    clean_weight: float,
    *,
    noise: float | None = None,
    canvas_tokens: int | None = None,
    mistakes: float = 0.0,
) -> Batch:
    """One batch of the examples `chosen`; `noise` and `canvas_tokens` fix what is otherwise drawn.

    The share `mistakes` of the canvases gets, beside uniform noise, what a sampler gets wrong: one half the
    model's own samples, the other tokens inserted and left out, so that all behind them is shifted.
    """
    rows = len(chosen)
    sizes, shares = zip(*_CANVAS_MIX, strict=True)
    size = canvas_tokens or int(rng.choice(sizes, p=shares))
    groups = CANVAS_AREA // size
    ids = np.full((rows, SEQUENCE), Special.PAD, dtype=np.int64)
    canvas = np.full((rows, groups, size), Special.PAD, dtype=np.int64)
    begin = np.zeros((rows, groups), dtype=np.int64)
    in_middle = np.zeros((rows, SEQUENCE), dtype=np.float32)
    for row, index in enumerate(chosen):
        suffix, prefix, starts = shards.example(int(index))
        head = np.concatenate(([Special.BOS, Special.SUFFIX], suffix, [Special.PREFIX]))
        whole = np.concatenate((head, prefix, [Special.EOM]))
        ids[row, : len(whole)] = whole
        for group, start in enumerate(_pick_starts(starts, len(prefix), size, groups, rng)):
            middle = prefix[start:]
            canvas[row, group, : len(middle)] = middle
            canvas[row, group, len(middle)] = Special.EOM
            begin[row, group] = len(head) + start
            in_middle[row, len(head) + start : len(whole)] += 1 / groups
    t = np.full((rows, groups), noise) if noise is not None else noise_levels((rows, groups), rng)
    corrupt = rng.random(canvas.shape) < t[..., None]
    kind = rng.random((rows, groups))
    shifted = np.where((kind < mistakes / 2)[..., None], shift(canvas, rng), canvas)
    noisy = np.where(corrupt, rng.integers(0, vocab, canvas.shape), shifted)
    own = corrupt & ((kind >= mistakes / 2) & (kind < mistakes))[..., None]
    corrupt = noisy != canvas
    pads = canvas == Special.PAD
    weight = np.where(corrupt, 1.0, clean_weight)
    # All pads of a canvas together weigh as one token: what matters is where they begin.
    weight = np.where(pads, weight / np.maximum(1, pads.sum(-1, keepdims=True)), weight)
    flat = (rows, CANVAS_AREA)
    return Batch(
        ids=torch.from_numpy(ids),
        canvas=torch.from_numpy(canvas.reshape(flat)),
        noisy=torch.from_numpy(noisy.reshape(flat)),
        weight=torch.from_numpy(weight.reshape(flat).astype(np.float32)),
        start=torch.from_numpy(np.repeat(begin, size, axis=1)),
        offset=torch.arange(CANVAS_AREA) % size,
        group=torch.arange(CANVAS_AREA) // size,
        own=torch.from_numpy(own.reshape(flat)),
        in_middle=torch.from_numpy(in_middle),
    )


def shift(canvas: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
    """Each canvas (rows, groups, size) with one or two tokens inserted or left out before its end marker.

    What is inserted is a copy of what stands there; what moves in at the end is a copy of the last token.
    """
    rows, groups, size = canvas.shape
    columns = np.arange(size)
    ends = (canvas == Special.EOM).argmax(-1)[..., None]
    at = (rng.random((rows, groups, 1)) * (ends + 1)).astype(np.int64)
    by = rng.choice([-2, -1, 1, 2], (rows, groups, 1))
    source = np.where(columns < at, columns, np.clip(columns + by, 0, size - 1))
    return np.take_along_axis(canvas, source, axis=-1)


def noise_levels(shape: tuple[int, int], rng: np.random.Generator) -> NDArray[np.float64]:
    """Stratified corruption probabilities: 70% U(0.3, 1), 15% exactly 1, 15% U(0.02, 0.3)."""
    count = shape[0] * shape[1]
    u = (rng.permutation(count) + rng.random(count)) / count
    t = np.where(u < 0.70, 0.3 + 0.7 * (u / 0.70), np.where(u < 0.85, 1.0, 0.02 + 0.28 * (u - 0.85) / 0.15))
    return t.reshape(shape)


def _pick_starts(
    starts: NDArray[np.int64], prefix_tokens: int, size: int, groups: int, rng: np.random.Generator
) -> list[int]:
    """`groups` starts whose middles and end marker fit a canvas of `size`, distinct where there are enough.

    Where a large canvas is drawn the long middles are preferred; where no natural start fits, any token
    may be one.
    """
    fitting = [int(s) for s in starts if prefix_tokens - s < size]
    if size > 32:
        fitting = fitting[-groups:]
    if not fitting:
        shortest = max(0, prefix_tokens - size + 1)
        fitting = [int(rng.integers(shortest, prefix_tokens))]
    repeats = [fitting[i % len(fitting)] for i in range(groups)]
    return repeats
