"""A dense model whose layers run in C: what the library is to be told of it, and of each pass.

Knows nothing of caches, sampling or files; what rows look at is told by `engine.networks.attention.Placed`.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from ctypes import Array, byref, c_int32, pointer
from itertools import accumulate, chain, islice
from weakref import WeakKeyDictionary

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from engine.config import LayerConfig, ModelConfig
from engine.native.compiled import (
    LANES,
    MOST_DRAFT,
    MOST_HEAD_DIM,
    MOST_HIDDEN,
    Keys,
    Layer,
    Library,
    Model,
    Pass,
    Reading,
)
from engine.native.matrix import NativeMatrix, panels
from engine.networks.attention import Attend, Memory, Placed, rope
from engine.networks.ends import Ends
from engine.networks.folded import FoldedLayer, can_fold, fold, norm_weight
from engine.networks.model import DiffusionGemma
from engine.networks.network import Searching, turned_off

_MOST_FORWARDS = 64  # of a search in one call
_TABLE_ROWS = 1024

_MATRICES = {
    "qkv": "qkv",
    "out": "out",
    "gate": "gate",
    "up": "up",
    "mlp_down": "down",
    "expert_down": "expert_down",
}
"""A layer's, as the library calls them and as `engine.networks.folded` does, in the order of their use."""


def can_run(model: DiffusionGemma) -> bool:
    """Whether the library can run a model: dense, on a CPU, of a size it has room for."""
    config = model.config
    sizes = [config.hidden_size, config.intermediate_size, config.moe_intermediate_size]
    sizes += [config.vocab_size, *(layer.head_dim // 2 for layer in config.layers)]
    return (
        can_fold(model)
        and model.device.type == "cpu"
        and all(size % LANES == 0 for size in sizes)
        and config.hidden_size <= MOST_HIDDEN
        and all(layer.head_dim <= MOST_HEAD_DIM for layer in config.layers)
        and all(layer.kv_heads * layer.head_dim <= MOST_HIDDEN for layer in config.layers)
    )


class NativeGemma(Ends):
    """A `DiffusionGemma` whose layers run in C; see `engine.networks.ends.Ends`.

    Weights are int8 with a scale for each output; so are a token's inputs, with one scale, where there
    are instructions for it. Keys and values are `dtype`, all else float32. It takes only what is `Placed` to
    attend to. A pass lets other threads of the interpreter go on. `instructions` is the set to use by its
    number, None for the best.
    """

    joins = pads = False

    def __init__(
        self, model: DiffusionGemma, dtype: torch.dtype, library: Library, instructions: int | None = None
    ) -> None:
        super().__init__(model, dtype)
        self._library = library
        self._set = library.best if instructions is None else instructions
        self._held: list[Tensor] = []  # what the structures point to
        folded = [fold(layer, model.config) for layer in model.layers]
        matrices = self._in_order(folded)
        self._layers = (Layer * len(folded))(*(self._layer(layer, matrices) for layer in folded))
        self._model = Model(
            layer=self._layers,
            layers=len(folded),
            hidden=model.config.hidden_size,
            heads=model.config.num_attention_heads,
            mlp=folded[0].down.shape[1],
            expert=folded[0].expert_down.shape[1],
            widest=max(max(layer.qkv.shape[0], layer.up.shape[0], *layer.out.shape) for layer in folded),
            eps=model.config.rms_norm_eps,
        )
        embedding = model.embed_tokens.weight.detach().float()
        cap = model.config.final_logit_softcapping
        self._head = NativeMatrix(embedding * norm_weight(model.norm), library, instructions, cap=cap)
        self._mean = NativeMatrix(self._embedding.t(), library, instructions)
        mixed, scale = model.self_conditioning, norm_weight(model.self_conditioning.pre_norm)
        self._mixed_gate = NativeMatrix(mixed.gate_proj.weight.float() * scale, library, instructions)
        self._mixed_up = NativeMatrix(mixed.up_proj.weight.float() * scale, library, instructions)
        self._mixed_down = NativeMatrix(mixed.down_proj.weight.float(), library, instructions)
        self._rotations = _Rotations(model.config)
        self._scratch = _Scratch()
        self._keys: WeakKeyDictionary[Memory, _Placement] = WeakKeyDictionary()

    @property
    def threads(self) -> int:
        """See `engine.networks.network.Network`."""
        return self._library.threads

    def use_threads(self, count: int) -> None:
        """See `engine.networks.network.Network`."""
        self._library.use_threads(count)

    def logits(self, states: Tensor) -> Tensor:
        """Soft-capped float32 logits (…, vocab) of final states (…, hidden)."""
        flat = turned_off(self._head(states.reshape(-1, states.shape[-1])), self._ids)
        return flat.view(*states.shape[:-1], self.config.vocab_size)

    def logits_behind(
        self,
        memory: Memory,
        ids: Sequence[Sequence[int]],
        at: Sequence[int],
        sources: Sequence[int] | None = None,
    ) -> Tensor:
        """See `engine.networks.network.Network`. One call, without the interpreter's lock: with a dozen small
        operations in its place several threads would spend their time handing it to each other."""
        b, n = len(ids), len(ids[0])
        its = self._pass(memory, b, n, at, max(at) + n, causal=True, encoder=True)
        tokens = array("i", chain.from_iterable(ids))
        source = None if sources is None else array("i", sources)
        logits = torch.empty(b, n, self.config.vocab_size)
        with self._reading(its, logits) as (reading, scratch):
            reading.tokens = tokens.buffer_info()[0]
            reading.source = None if source is None else source.buffer_info()[0]
            self._library.read(byref(its), byref(reading), self._set, scratch, self._library.threads)
        return logits

    def search_behind(
        self, memory: Memory, searching: Searching, seconds: float
    ) -> Sequence[tuple[int, int]]:
        """See `engine.networks.network.Network`; likewise one call."""
        # Room for the largest forward there may be.
        tokens, last = searching.most_tokens, searching.length + MOST_DRAFT
        its = self._pass(memory, tokens, 1, [last] * tokens, last + 1, causal=True, encoder=True)
        logits = torch.empty(tokens, self.config.vocab_size)
        sizes = (c_int32 * (2 * _MOST_FORWARDS))()
        with self._reading(its, logits) as (reading, scratch):
            search = searching.its
            search.within, search.reading = pointer(its), pointer(reading)
            search.likeliest.contents.logits = logits.data_ptr()
            threads = self._library.threads
            how_long = seconds, _MOST_FORWARDS
            done = self._library.search(byref(search), self._set, scratch, threads, *how_long, sizes)
        return [*zip(sizes[: 2 * done : 2], sizes[1 : 2 * done : 2], strict=True)]

    @contextmanager
    def _reading(self, its: Pass, logits: Tensor) -> Iterator[tuple[Reading, int]]:
        """What the library is told of reading, all but the tokens, and the address of scratch for it."""
        x_floats = its.rows * its.count * self.config.hidden_size
        floats = x_floats + self._library.reading_scratch_floats(byref(its), self._library.threads)
        with self._scratch.of(floats) as scratch:
            reading = Reading(
                embedding=self._embedding.data_ptr(),
                head=self._head.panels.data_ptr(),
                x=scratch,
                logits=logits.data_ptr(),
                cap=self.config.final_logit_softcapping,
                vocab=self.config.vocab_size,
                unused=self.config.vocab_size - self._ids,
            )
            yield reading, scratch + 4 * x_floats

    def mean_embed(self, probabilities: Tensor) -> Tensor:
        """The mean embedding (rows, hidden) under `probabilities` (rows, vocab)."""
        return self._mean(probabilities)

    def _mixed(self, x: Tensor) -> Tensor:
        return self._mixed_down(F.gelu(self._mixed_gate(x), approximate="tanh") * self._mixed_up(x))

    def _run(self, x: Tensor, positions: Tensor, attend: Attend, *, encoder: bool) -> Tensor:
        if not isinstance(attend, Placed):
            raise TypeError(f"{type(attend).__name__} does not say where the keys lie")
        b, n, hidden = x.shape
        at = attend.at or [0] * b
        memory = attend.memory(b, n)
        columns = max(at) + n
        seen = columns if attend.columns is None else attend.columns
        its = self._pass(memory, b, n, at, seen, causal=attend.causal, encoder=encoder)
        x = x.reshape(-1, hidden).contiguous()
        threads = self._library.threads
        with self._scratch.of(self._library.scratch_floats(byref(its), threads)) as scratch:
            self._library.run(byref(its), self._set, x.data_ptr(), scratch, threads)
        return x.view(b, n, hidden)

    def _pass(
        self,
        memory: Memory,
        rows: int,
        count: int,
        at: Sequence[int],
        columns: int,
        *,
        causal: bool,
        encoder: bool,
    ) -> Pass:
        """What the library is told of a pass over (rows, count) tokens; `columns` is as in `Pass`."""
        most_own = max(at) + count
        return Pass(
            model=pointer(self._model),
            keys=self._placement(memory, memory.start + most_own).keys,
            at=(c_int32 * rows)(*at),
            rows=rows,
            count=count,
            start=memory.start,
            causal=causal,
            encoder=encoder,
            columns=columns,
            most_own=most_own,
        )

    def _layer(self, layer: FoldedLayer, matrices: Iterator[int]) -> Layer:
        """What the library is told of a layer whose matrices are at these addresses, in order."""
        norms = {
            name: self._hold(getattr(layer, name).contiguous())
            for name in ("q_norm", "k_norm", "after_attention", "after_mlp", "after_expert", "after_both")
        }
        return Layer(
            **dict(zip(_MATRICES, islice(matrices, len(_MATRICES)), strict=True)),
            **norms,
            scalars=layer.scalars,
            kv_heads=layer.kv_heads,
            head_dim=layer.shape.head_dim,
            own_values=layer.own_values,
        )

    def _in_order(self, layers: Sequence[FoldedLayer]) -> Iterator[int]:
        """The addresses of all layers' matrices, which lie behind each other as they are used: while one is
        multiplied with, the next is fetched."""
        parts = [panels(getattr(layer, name)).flatten() for layer in layers for name in _MATRICES.values()]
        first = self._hold(torch.cat(parts))
        ends = accumulate(part.nbytes for part in parts)
        return (first + end - part.nbytes for part, end in zip(parts, ends, strict=True))

    def _hold(self, tensor: Tensor) -> int:
        self._held.append(tensor)
        return tensor.data_ptr()

    def _placement(self, memory: Memory, end: int) -> _Placement:
        """What the library is told of `memory`, whose rows go up to position `end`."""
        known = self._keys.get(memory)
        if known is None or known.end < end:
            known = _Placement(self.config, memory, self._rotations, end)
            self._keys[memory] = known
        return known


class _Placement:
    """A memory as the library sees it, with rotations up to position `end`; lives while its memory does."""

    def __init__(self, config: ModelConfig, memory: Memory, rotations: _Rotations, end: int) -> None:
        tables = [rotations.of(layer, end) for layer in config.layers]
        self.end = min(len(cosine) for cosine, _ in tables)
        self.keys: Array[Keys] = (Keys * len(tables))()
        self._tables = tables
        for at, layer, seen, (cosine, sine) in zip(
            self.keys, config.layers, memory.layers, tables, strict=True
        ):
            (shared_k, shared_v), (own_k, own_v) = seen.shared, seen.own
            at.shared_k, at.shared_v = shared_k.data_ptr(), shared_v.data_ptr()
            at.own_k, at.own_v = own_k.data_ptr(), own_v.data_ptr()
            at.cosine, at.sine = cosine.data_ptr(), sine.data_ptr()
            at.shared_head = shared_k.stride(0)
            at.own_row, at.own_head = own_k.stride(0), own_k.stride(1)
            at.shared_count = shared_k.shape[1]
            at.window = config.sliding_window if layer.sliding else 0
            at.shared_bf16 = shared_k.dtype == torch.bfloat16
            at.own_bf16 = own_k.dtype == torch.bfloat16


class _Scratch:
    """Rooms for passes to work in, kept. Megabytes that are taken anew for each prompt come to lie between
    smaller things, and the heap grows and grows."""

    def __init__(self) -> None:
        self._free: list[NDArray[np.float32]] = []

    @contextmanager
    def of(self, floats: int) -> Iterator[int]:
        """The address of so many floats, nobody else's meanwhile."""
        try:
            room = self._free.pop()
        except IndexError:
            room = np.empty(0, np.float32)
        if len(room) < floats:
            room = np.empty(floats, np.float32)
        yield room.ctypes.data
        self._free.append(room)


class _Rotations:
    """Tables of cos and sin by kind of layer and position, grown on demand."""

    def __init__(self, config: ModelConfig) -> None:
        self._limit = config.max_position_embeddings
        self._tables: dict[LayerConfig, tuple[Tensor, Tensor]] = {}

    def of(self, layer: LayerConfig, end: int) -> tuple[Tensor, Tensor]:
        """cos and sin (positions, head_dim / 2) of at least `end` positions."""
        known = self._tables.get(layer)
        if known is None or len(known[0]) < end:
            rows = max(end, min(self._limit, -(-end // _TABLE_ROWS) * _TABLE_ROWS))
            both = rope(layer, torch.arange(rows)[None], torch.float32)
            half = layer.head_dim // 2
            cosine, sine = (part[0, 0, :, :half].contiguous() for part in both)
            known = self._tables[layer] = cosine, sine
        return known
