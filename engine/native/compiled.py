"""The compiled library: where it is, its structures, its functions. Nothing of models or caches."""

from __future__ import annotations

import ctypes
import importlib.util
import threading
from ctypes import (
    POINTER,
    Structure,
    c_char_p,
    c_double,
    c_float,
    c_int,
    c_int32,
    c_int64,
    c_size_t,
    c_void_p,
)
from functools import cache

_MODULE = "engine.native._layers"

MOST_HIDDEN, MOST_HEAD_DIM = 4096, 512
"""What the library has room for: numbers in the residual stream or in all heads of keys, and in a head."""

LANES = 16
"""Every dimension is a multiple of it; half a head likewise."""


class Layer(Structure):
    """See `Layer` in structures.h."""

    _fields_ = (
        *((name, c_void_p) for name in ("qkv", "out", "gate", "up", "mlp_down", "expert_down")),
        *((name, c_void_p) for name in ("q_norm", "k_norm", "after_attention", "after_mlp")),
        *((name, c_void_p) for name in ("after_expert", "after_both")),
        ("scalars", c_float * 2),
        *((name, c_int32) for name in ("kv_heads", "head_dim", "own_values")),
    )


class Model(Structure):
    """See `Model` in structures.h."""

    _fields_ = (
        ("layer", POINTER(Layer)),
        *((name, c_int32) for name in ("layers", "hidden", "heads", "mlp", "expert", "widest")),
        ("eps", c_float),
    )


class Keys(Structure):
    """See `Keys` in structures.h."""

    _fields_ = (
        *((name, c_void_p) for name in ("shared_k", "shared_v", "own_k", "own_v", "cosine", "sine")),
        *((name, c_int64) for name in ("shared_head", "own_row", "own_head")),
        *((name, c_int32) for name in ("shared_count", "window", "shared_bf16", "own_bf16")),
    )


class Pass(Structure):
    """See `Pass` in structures.h."""

    _fields_ = (
        ("model", POINTER(Model)),
        ("keys", POINTER(Keys)),
        ("at", POINTER(c_int32)),
        ("first", c_void_p),
        *((name, c_int32) for name in ("rows", "count", "start", "causal", "encoder", "columns", "most_own")),
    )


class Reading(Structure):
    """See `Reading` in structures.h."""

    _fields_ = (
        *((name, c_void_p) for name in ("tokens", "source", "embedding", "head", "x", "logits")),
        ("cap", c_float),
        *((name, c_int32) for name in ("vocab", "unused")),
    )


class Product(Structure):
    """See `Product` in structures.h."""

    _fields_ = (
        *((name, c_void_p) for name in ("weight", "x", "y")),
        ("cap", c_float),
        *((name, c_int32) for name in ("rows", "inputs", "outputs")),
    )


class Choices(Structure):
    """See `Choices` in structures.h."""

    _fields_ = (
        *((name, c_void_p) for name in ("logits", "argmax", "confidence", "entropy")),
        ("inverse_temperature", c_float),
        *((name, c_int32) for name in ("rows", "vocab")),
    )


class Draws(Structure):
    """See `Draws` in structures.h."""

    _fields_ = (
        *((name, c_void_p) for name in ("probabilities", "uniform", "drawn")),
        *((name, c_int32) for name in ("rows", "vocab")),
    )


class Text(Structure):
    """See `Text` in structures.h."""

    _fields_ = (("tokens", c_void_p), ("silent", c_void_p), ("base_weight", c_float), ("count", c_int32))


class Likeliest(Structure):
    """See `Likeliest` in structures.h."""

    _fields_ = (
        *((name, c_void_p) for name in ("logits", "at", "total", "width", "context")),
        ("text", POINTER(Text)),
        *((name, c_void_p) for name in ("allowed_count", "allowed", "end", "places", "lengths")),
        *((name, c_void_p) for name in ("seen", "said", "added", "own", "best", "row", "token")),
        ("margin", c_float),
        *((name, c_int32) for name in ("shortest", "rows", "vocab", "texts", "ends", "count", "apart")),
    )


MOST_BEAMS, MOST_WRITTEN, MOST_DRAFT, MOST_CONTEXT, MOST_TOKENS = 64, 256, 11, 8, 96
"""What a search has room for: beams, tokens of each, of a draft, of a context, and of one forward."""


class Beam(Structure):
    """See `Beam` in search.h."""

    _fields_ = (
        ("total", c_double),
        ("probabilities", c_float * MOST_WRITTEN),
        ("ids", c_int32 * MOST_WRITTEN),
        *((name, c_int32) for name in ("count", "source", "brackets", "ended", "full", "origin")),
    )


class Search(Structure):
    """See `Search` in search.h."""

    _fields_ = (
        ("within", POINTER(Pass)),
        ("reading", POINTER(Reading)),
        ("likeliest", POINTER(Likeliest)),
        ("first", c_void_p),
        ("draft", POINTER(Text)),
        *((name, c_void_p) for name in ("places", "lengths", "context", "brackets", "begins_line")),
        *((name, POINTER(Beam)) for name in ("open", "grown", "finished")),
        *((name, c_double) for name in ("margin", "finished_margin")),
        *((name, c_int32) for name in ("open_count", "finished_count", "context_count", "longest_context")),
        *(
            (name, c_int32)
            for name in ("width", "looked_at", "batch", "length", "end_marker", "apart", "drafts")
        ),
    )


class _Threads(threading.local):
    """How many threads a call may use, for each thread that calls."""

    count: int | None = None


class Library:
    """The functions of the library; `sets` are the instruction sets this processor has kernels for, by their
    number, the slowest first, and `most_threads` is how many threads a call uses where nothing else is said.
    """

    def __init__(self, path: str) -> None:
        code = ctypes.CDLL(path)
        code.infill_set.argtypes, code.infill_set.restype = [c_int], c_char_p
        for function in (code.infill_scratch, code.infill_reading_scratch):
            function.argtypes, function.restype = [POINTER(Pass), c_int], c_size_t
        code.infill_run.argtypes = [POINTER(Pass), c_int, c_void_p, c_void_p, c_int]
        code.infill_read.argtypes = [POINTER(Pass), POINTER(Reading), c_int, c_void_p, c_int]
        code.infill_run.restype = code.infill_read.restype = None
        searched = POINTER(Search), c_int, c_void_p, c_int, c_double, c_int, c_void_p
        code.infill_search.argtypes, code.infill_search.restype = searched, c_int
        code.infill_product.argtypes = [POINTER(Product), c_int, c_void_p, c_int]
        code.infill_choose.argtypes = [POINTER(Choices), c_int, c_int]
        code.infill_draw.argtypes = [POINTER(Draws), c_int, c_int]
        code.infill_likeliest.argtypes = [POINTER(Likeliest), c_int]
        given = c_int, c_void_p, c_void_p, c_int, c_int, c_void_p
        code.infill_log_probabilities.argtypes, code.infill_log_probabilities.restype = given, None
        for function in (code.infill_product, code.infill_choose, code.infill_draw, code.infill_likeliest):
            function.restype = None
        # Other threads of the interpreter do not go on meanwhile: taking turns would take longer.
        short = ctypes.PyDLL(path)
        context = POINTER(c_int32), c_int
        short.infill_matches.argtypes = [c_int, POINTER(Text), *context, c_int, c_void_p, c_void_p]
        short.infill_matches.restype = c_int
        names = {number: code.infill_set(number) for number in range(code.infill_sets())}
        self.sets: dict[int, str] = {
            number: name.decode("ascii") for number, name in names.items() if name is not None
        }
        self.best = max(self.sets)
        self.most_threads = 1
        self._threads = _Threads()
        self.scratch_floats = code.infill_scratch
        self.reading_scratch_floats = code.infill_reading_scratch
        self.run, self.read = code.infill_run, code.infill_read
        self.search = code.infill_search
        self.product, self.choose, self.draw = code.infill_product, code.infill_choose, code.infill_draw
        self.likeliest, self.matches = code.infill_likeliest, short.infill_matches
        self.log_probabilities = code.infill_log_probabilities

    @property
    def threads(self) -> int:
        """How many threads a call from this thread uses."""
        return self._threads.count or self.most_threads

    def use_threads(self, count: int) -> None:
        """Have calls from this thread use so many from now on."""
        self._threads.count = count


@cache
def library() -> Library | None:
    """The library, loaded; None where it was not built."""
    return _load()[0]


def why_not() -> str | None:
    """Why there is no library, in a sentence; None where there is one."""
    return _load()[1]


@cache
def _load() -> tuple[Library | None, str | None]:
    found = importlib.util.find_spec(_MODULE)
    if found is None or found.origin is None:
        return None, "no C compiler was there when infill-ls was installed"
    try:
        return Library(found.origin), None
    except (OSError, AttributeError) as error:
        return None, f"{found.origin} cannot be loaded: {error}"
