"""What the engine asks of a model, whichever way it is laid out in memory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor

from engine.config import ModelConfig
from engine.native.compiled import Search
from engine.networks.attention import Attend, Memory, padded_rows

OFF = -1e4
"""Logit of what may not be chosen: far below the soft cap, yet finite after division by a temperature."""


class Searching(Protocol):
    """Middles that the layers in C go on with: `its` is what the library is told of them. At most `width` are
    open and `most_tokens` go through one forward; each is shorter than `length` tokens."""

    its: Search
    most_tokens: int
    length: int

    @property
    def width(self) -> int: ...


class Network(Protocol):
    """What the engine asks of a model, whichever way it is laid out in memory.

    `encode`, `denoise` and the others are those of `DiffusionGemma`; `dtype` and `device` are those of keys
    and values, `kept_dtype` is what those of a prefix are kept in between requests, and `size` the number of
    parameters. `joins` says whether rows behind several prompts are worth taking through the layers together,
    `pads` whether a new shape costs more than a few rows too many.
    """

    @property
    def threads(self) -> int:
        """How many threads a pass that is asked for by this thread uses."""

    def use_threads(self, count: int) -> None:
        """Have passes that this thread asks for use so many."""

    def use_ids(self, count: int) -> None:
        """Have logits be `OFF` from now on for all ids but the first `count`: the others stand for nothing.

        A vocabulary is made longer than its tokenizer's so that matrices have a size that suits."""

    @property
    def joins(self) -> bool: ...
    @property
    def pads(self) -> bool: ...
    @property
    def config(self) -> ModelConfig: ...
    @property
    def dtype(self) -> torch.dtype: ...
    @property
    def kept_dtype(self) -> torch.dtype: ...
    @property
    def device(self) -> torch.device: ...
    @property
    def size(self) -> int: ...
    def encode(self, ids: Tensor, positions: Tensor, attend: Attend) -> Tensor: ...
    def denoise(self, canvas: Tensor, positions: Tensor, attend: Attend, soft: Tensor | None) -> Tensor: ...
    def embed(self, ids: Tensor) -> Tensor: ...
    def mean_embed(self, probabilities: Tensor) -> Tensor: ...
    def logits(self, states: Tensor) -> Tensor: ...
    def search_behind(
        self, memory: Memory, searching: Searching, seconds: float
    ) -> Sequence[tuple[int, int]] | None:
        """Begin a search, or go on with it by one forward, and by more for as long as `seconds` allow for,
        `memory` being what its beams see and their room. How many rows and how many tokens each forward took;
        None where that is for the caller to do."""

    def logits_behind(
        self,
        memory: Memory,
        ids: Sequence[Sequence[int]],
        at: Sequence[int],
        sources: Sequence[int] | None = None,
    ) -> Tensor | None:
        """What `engine.caches.continuation.Continuation.read` returns, `memory` being what the rows see and
        their room; None where there is no shorter way to it than by `encode` and `logits`."""


def turned_off(logits: Tensor, ids: int) -> Tensor:
    """Logits (…, vocab), in place, of which all but those of the first `ids` are `OFF`."""
    if ids < logits.shape[-1]:
        logits[..., ids:] = OFF
    return logits


def rows_for(network: Network, count: int) -> int:
    """How many rows to compute for `count` of them."""
    return padded_rows(count) if network.pads else count
