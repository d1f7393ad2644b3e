"""LoRA adapters in PEFT's layout, merged into the weights while they load: one model, no slower than before.

The two directions share their weights, and so they share what an adapter adds: one that was trained on the
decoder's layers alone is merged for both, as PEFT's own merge does to tied weights. A weight that was
quantised is held plain once an adapter has changed it. What is not understood is refused by name.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from engine.checkpoints.config_json import read_json
from engine.checkpoints.fill import Held, dequantised
from engine.checkpoints.plan import PLAIN_DTYPES
from engine.errors import BrokenCheckpoint, UnsupportedModel
from engine.quant.weight import QuantisedWeight

_BASE = "base_model.model."
_ENCODER, _DECODER = "model.encoder.language_model.", "model.decoder."

_REFUSED = {
    "use_dora": "DoRA",
    "modules_to_save": "whole modules beside the adapter",
    "target_parameters": "adapters of the experts' joint parameters",
    "fan_in_fan_out": "transposed weights",
    "lora_bias": "biases",
    "layer_replication": "repeated layers",
    "alora_invocation_tokens": "an adapter that has to be invoked",
}
"""Settings of `adapter_config.json` that change what is computed, and what they mean."""


@dataclass(frozen=True, kw_only=True)
class _Delta:
    a: Tensor  # (rank, in)
    b: Tensor  # (out, rank)
    scale: float


class Adapter:
    """The adapter in a folder, for a model with parameters of these `shapes`.

    Raises:
        UnsupportedModel: another kind of adapter, or one of something we cannot change.
        BrokenCheckpoint: files missing or corrupt, nothing or half an adapter in them, one for a model of
            another shape, or numbers that are none.
    """

    def __init__(self, folder: Path, shapes: dict[str, tuple[int, ...]]) -> None:
        self._where = folder
        config = read_json(folder / "adapter_config.json")
        _check(config, folder)
        halves: dict[str, dict[str, Tensor]] = {}
        for name, tensor in _tensors(folder).items():
            module, half = _module(name, folder)
            halves.setdefault(module, {})[half] = tensor
        self._deltas: dict[str, _Delta] = {}
        for module, found in halves.items():
            self._add(module, found, config, shapes)
        if not self._deltas:
            raise BrokenCheckpoint(f"{folder}: the adapter has no tensors")

    def merged(self, param: str, value: Held, dtype: torch.dtype | None = None) -> Held:
        """`value`, the parameter `param`, with what the adapter adds to it; computed in float32."""
        delta = self._deltas.get(param)
        if delta is None:
            return value
        if isinstance(value, QuantisedWeight):
            value = dequantised(value, dtype or torch.bfloat16)
        b, a = (t.to(value.device, torch.float32) for t in (delta.b, delta.a))
        return (value.float() + delta.scale * (b @ a)).to(value.dtype)

    def _add(
        self,
        module: str,
        found: dict[str, Tensor],
        config: dict[str, Any],
        shapes: dict[str, tuple[int, ...]],
    ) -> None:
        encoder = module.startswith(_ENCODER)
        own = module.removeprefix(_ENCODER).removeprefix(_DECODER)
        param = f"{own}.weight"
        if not module.startswith((_ENCODER, _DECODER)) or param not in shapes or ".router" in param:
            raise UnsupportedModel(f"{self._where}: adapters of {module} are not read")
        if found.keys() != {"A", "B"}:
            raise BrokenCheckpoint(f"{self._where}: half the adapter of {module} is missing")
        a, b = found["A"], found["B"]
        if not a.dim() == b.dim() == 2 or (b.shape[0], a.shape[1]) != shapes[param]:
            raise BrokenCheckpoint(f"{self._where}: the adapter of {module} does not fit {shapes[param]}")
        rank = _setting(config, "rank_pattern", module, config.get("r"))
        if not a.shape[0] == b.shape[1] > 0 or rank not in (None, a.shape[0]):
            raise BrokenCheckpoint(f"{self._where}: the adapter of {module} is not of rank {rank}")
        if not all(half.dtype in PLAIN_DTYPES and half.isfinite().all() for half in (a, b)):
            raise BrokenCheckpoint(f"{self._where}: the adapter of {module} has values that are no numbers")
        delta = _Delta(a=a, b=b, scale=_scale(config, module, a.shape[0]))
        other = self._deltas.get(param)
        if other is not None and not _same(other, delta):
            side = "encoder" if encoder else "decoder"
            raise UnsupportedModel(f"{self._where}: {module} has an adapter for the {side} alone")
        self._deltas[param] = delta


def _same(one: _Delta, other: _Delta) -> bool:
    return one.scale == other.scale and torch.equal(one.a, other.a) and torch.equal(one.b, other.b)


def _check(config: dict[str, Any], folder: Path) -> None:
    kind = config.get("peft_type")
    if kind != "LORA":
        raise UnsupportedModel(f"{folder}: adapters of type {kind!r} are not read")
    for key, meaning in _REFUSED.items():
        if config.get(key):
            raise UnsupportedModel(f"{folder}: an adapter with {key} ({meaning}) is not read")
    if config.get("bias", "none") != "none":
        raise UnsupportedModel(f"{folder}: an adapter with biases is not read")


def _tensors(folder: Path) -> dict[str, Tensor]:
    path = folder / "adapter_model.safetensors"
    if not path.exists():
        raise BrokenCheckpoint(f"{folder} has no adapter_model.safetensors")
    try:
        return load_file(path)
    except (SafetensorError, OSError, ValueError) as error:
        raise BrokenCheckpoint(f"{path} is truncated or corrupt: {error}") from error


def _module(name: str, folder: Path) -> tuple[str, str]:
    """The adapted module's name in the original model and which half (`A` or `B`) the tensor is."""
    stem = name.removeprefix(_BASE).removesuffix(".weight")
    module, _, half = stem.rpartition(".lora_")
    if not module or half not in ("A", "B"):
        raise UnsupportedModel(f"{folder}: tensor {name} is nothing we know of an adapter")
    return module, half


def _scale(config: dict[str, Any], module: str, rank: int) -> float:
    alpha = _setting(config, "alpha_pattern", module, config.get("lora_alpha"))
    number = isinstance(alpha, int | float) and not isinstance(alpha, bool)
    if not number or not abs(alpha) <= torch.finfo(torch.float32).max:  # as NaN is not either
        raise BrokenCheckpoint(f"lora_alpha of the adapter is {alpha!r}")
    return float(alpha) / (math.sqrt(rank) if config.get("use_rslora") else rank)


def _setting(config: dict[str, Any], key: str, module: str, default: Any) -> Any:
    """What the first pattern under `key` that `module` ends with says, as PEFT reads them; else `default`.

    Source: `get_pattern_key` in PEFT's `utils/other.py`.
    """
    patterns = config.get(key) or {}
    if not isinstance(patterns, dict):
        raise BrokenCheckpoint(f"{key} of the adapter is {patterns!r}")
    for pattern, value in patterns.items():
        try:
            if re.match(rf"(.*\.)?({pattern})$", module):
                return value
        except re.error as error:
            raise BrokenCheckpoint(f"{key} of the adapter has {pattern!r}, no pattern: {error}") from error
    return default
