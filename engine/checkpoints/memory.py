"""Will it fit: what a model needs on its device and on the host, from its headers and config alone.

A plan of the load (see `engine.checkpoints.plan`) is added up; not a byte of the weights is read or fetched.
The numbers are those of tensors; what a driver keeps for itself comes on top and is allowed for in `Device`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.checkpoints.config_json import model_config, read_model_config
from engine.checkpoints.gguf import plan_gguf
from engine.checkpoints.headers import StoredTensor, header_length, parse_header
from engine.checkpoints.plan import FORMS, Target, make_plan
from engine.checkpoints.schemes import declared_schemes
from engine.checkpoints.weights import CHUNK_BYTES, empty_model, gguf_file, plan_of, state_shapes
from engine.config import ModelConfig
from engine.errors import BrokenCheckpoint, ModelNotFound, UnsupportedModel
from engine.networks.graphs import laid_out_bytes

_LOGITS_HELD = 3
"""float32 buffers of (canvas, vocabulary) that a step has at once: logits, scaled, probabilities."""

_DRIVER_BYTES = 1 << 30
"""What is left to the driver, the library's own kernels and fragmentation."""

_PREFERRED = ("stored", "fp8", "int4")
"""Best quality first; a form that is slower and no better than what is stored is never preferred."""


@dataclass(frozen=True, kw_only=True)
class Need:
    """What one form of a model needs, in bytes; `cache` is for a prefix, `fp8_cache` for the same in fp8."""

    form: str
    weights: int
    cache: int
    fp8_cache: int
    working: int
    host: int

    @property
    def device(self) -> int:
        """All that has to fit on the device."""
        return self.weights + self.cache + self.working

    @property
    def least(self) -> int:
        """The same with the prefix kept in fp8."""
        return self.weights + self.fp8_cache + self.working


@dataclass(frozen=True, kw_only=True)
class Holding:
    """How a model is held: the `form` of its weights, and whether prefixes are kept in fp8."""

    form: str = "stored"
    fp8_prefixes: bool = False


@dataclass(frozen=True, kw_only=True)
class Report:
    """What is known of a model before it is loaded; `best` is how to hold it on a device of `device_bytes`.

    `best` is None where nothing fits or where there is no such device.
    """

    model: str
    stored_as: str
    parameters: int
    stored_bytes: int
    prefix_tokens: int
    needs: tuple[Need, ...]
    device: str | None
    device_bytes: int | None
    best: Holding | None


def examine(model: str, *, prefix_tokens: int = 8192, device: tuple[str, int] | None = None) -> Report:
    """What the model `model` (a directory or a hub id) will need; `device` is a name and its bytes.

    Raises:
        ModelNotFound: neither a directory nor a model the hub has.
        UnsupportedModel, BrokenCheckpoint: it could not be loaded either.
    """
    folder = Path(model).expanduser()
    if folder.is_dir():
        shape, plan = _local(folder)
    else:
        from engine.checkpoints.hub import read_remote

        shape, plan = _remote(model, read_remote)
    needs = tuple(_need(shape, plan, form, prefix_tokens) for form in FORMS)
    quantised = [target for target in plan if target.quantised]
    return Report(
        model=model,
        stored_as=", ".join(sorted(frozenset().union(*(t.stored_as for t in quantised or plan)))),
        parameters=parameter_count(plan),
        stored_bytes=sum(target.stored_bytes for target in plan),
        prefix_tokens=prefix_tokens,
        needs=needs,
        device=device[0] if device else None,
        device_bytes=device[1] if device else None,
        best=_best(needs, device[1] - _DRIVER_BYTES) if device else None,
    )


def _best(needs: tuple[Need, ...], room: int) -> Holding | None:
    """The least lossy way to hold a model in `room` bytes: prefixes in fp8 lose less than smaller weights."""
    for form in _PREFERRED:
        need = next(need for need in needs if need.form == form)
        if need.least <= room:
            return Holding(form=form, fp8_prefixes=need.cache == need.fp8_cache or need.device > room)
    return None


def this_device() -> tuple[str, int] | None:
    """The GPU here and its memory in bytes, None without one. Imports torch."""
    import torch

    if not torch.cuda.is_available():
        return None
    properties = torch.cuda.get_device_properties(0)
    return properties.name, properties.total_memory


def holding_for(folder: Path) -> Holding:
    """How to hold the model in `folder` on the device there is: as stored, unless it would not fit.

    Raises:
        UnsupportedModel: nothing fits; the text says what is needed.
    """
    device = this_device()
    if device is None or gguf_file(folder) is not None:
        return Holding()
    report = examine(str(folder), device=device)
    if report.best is None:
        least = min(need.least for need in report.needs)
        raise UnsupportedModel(
            f"{folder} needs at least {least / 1e9:.1f} GB of GPU memory; "
            f"{device[0]} has {device[1] / 1e9:.1f} GB"
        )
    return report.best


def parameter_count(plan: Sequence[Target]) -> int:
    """How many numbers the model has, whatever they are stored in."""
    return sum(math.prod(target.shape) for target in plan)


def cache_bytes(config: ModelConfig, tokens: int, itemsize: int = 2) -> int:
    """Bytes of the keys and values of a prefix; sliding layers keep all of theirs too, to roll back."""
    per_token = sum(2 * layer.kv_heads * layer.head_dim for layer in config.layers)
    return per_token * tokens * itemsize


def _need(config: ModelConfig, plan: Sequence[Target], form: str, prefix_tokens: int) -> Need:
    logits = config.canvas_length * config.vocab_size * 4
    # One parameter at a time is held twice while its pieces are turned into another form.
    turned = max(target.turning_bytes(form) for target in plan)
    return Need(
        form=form,
        weights=sum(target.device_bytes(form, 2) for target in plan),
        # Whoever has room for no more than 4 bits a weight has better uses for it than prefixes in bfloat16.
        cache=cache_bytes(config, prefix_tokens, itemsize=1 if form == "int4" else 2),
        fp8_cache=cache_bytes(config, prefix_tokens, itemsize=1),
        working=max(_LOGITS_HELD * logits + laid_out_bytes(config, prefix_tokens, 2), turned),
        host=max(2 * CHUNK_BYTES, *(target.whole_bytes for target in plan)),
    )


def _local(folder: Path) -> tuple[ModelConfig, Sequence[Target]]:
    shape = read_model_config(folder)
    shapes, gguf = state_shapes(empty_model(shape)), gguf_file(folder)
    return shape, plan_of(folder, shapes) if gguf is None else plan_gguf(gguf, shapes)


Fetch = Callable[[str, str, int | None, int | None], bytes | None]
"""(model, file, first byte, end) -> those bytes; None where the model has no such file."""


def _remote(model: str, fetch: Fetch) -> tuple[ModelConfig, Sequence[Target]]:
    config = _json(fetch(model, "config.json", None, None), "config.json")
    if config is None:
        raise ModelNotFound(f"{model} has no config.json")
    other = _json(fetch(model, "hf_quant_config.json", None, None), "hf_quant_config.json")
    index = _json(fetch(model, "model.safetensors.index.json", None, None), "model.safetensors.index.json")
    names = ["model.safetensors"]
    if index is not None:
        weight_map = index.get("weight_map")
        if not isinstance(weight_map, Mapping):
            raise BrokenCheckpoint("model.safetensors.index.json has no weight_map")
        names = sorted({str(name) for name in weight_map.values()})
    stored: list[StoredTensor] = []
    for name in names:
        first = fetch(model, name, 0, 8)
        if first is None:
            raise BrokenCheckpoint(f"{model} has no {name}")
        length = header_length(first, name)
        stored += parse_header(fetch(model, name, 8, 8 + length) or b"", name)
    shape = model_config(config, model)
    return shape, make_plan(state_shapes(empty_model(shape)), stored, declared_schemes(config, other), model)


def _json(text: bytes | None, name: str) -> dict[str, Any] | None:
    if text is None:
        return None
    try:
        raw = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BrokenCheckpoint(f"{name} cannot be read as JSON: {error}") from error
    if not isinstance(raw, dict):
        raise BrokenCheckpoint(f"{name} does not hold a JSON object")
    return raw
