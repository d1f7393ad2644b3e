"""From a stored tensor's name to the parameter it is a part of, and back.

The names are those of the reference implementation and of what compressed-tensors and modelopt make of
them: a linear layer's `weight` becomes several tensors, and experts may be stored one by one.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum

_DECODER = "model.decoder."
_ENCODER_LAYER = "model.encoder.language_model.layers."
_VISION = ("model.encoder.vision_tower.", "model.encoder.embed_vision.")


class Part(Enum):
    """What of a quantised weight a stored tensor holds."""

    VALUES = "values"
    SCALE = "scale"
    GLOBAL = "global"
    ZERO = "zero"
    SHAPE = "shape"


SUFFIXES = {
    "weight": Part.VALUES,
    "weight_packed": Part.VALUES,
    "weight_scale": Part.SCALE,
    "weight_scale_2": Part.GLOBAL,
    "weight_global_scale": Part.GLOBAL,
    "weight_zero_point": Part.ZERO,
    "weight_shape": Part.SHAPE,
}

_IGNORED = ("input_scale", "input_global_scale", "k_scale", "v_scale")
"""Scales for activations and for a quantised cache: ours stay in bfloat16, which loses nothing."""

_EXPERT = re.compile(r"(layers\.\d+\.experts)\.(\d+)\.(gate_proj|up_proj|gate_up_proj|down_proj)\.(\w+)")
_LAYER_SCALAR = re.compile(r"(\d+)\.layer_scalar")


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a stored tensor belongs: `param` is the model's name; `expert` and `half` say what of it.

    `half` is `gate_proj`, `up_proj`, or "" for all rows.
    """

    param: str
    suffix: str = "weight"
    expert: int | None = None
    half: str = ""

    @property
    def part(self) -> Part:
        """What of a quantised weight it is."""
        return SUFFIXES[self.suffix]


def ignored(stored: str) -> bool:
    """Whether a tensor of this name is knowingly left out: vision, and scales of activations."""
    return stored.startswith(_VISION) or stored.rpartition(".")[2] in _IGNORED


def place(stored: str) -> Place | None:
    """Where the tensor `stored` belongs, None if its name is none we know the like of."""
    if stored.startswith(_ENCODER_LAYER):
        match = _LAYER_SCALAR.fullmatch(stored[len(_ENCODER_LAYER) :])
        return Place(param=f"layers.{match[1]}.encoder_layer_scalar") if match else None
    if not stored.startswith(_DECODER):
        return None
    name = stored[len(_DECODER) :]
    if match := _EXPERT.fullmatch(name):
        experts, index, projection, suffix = match.groups()
        if suffix not in SUFFIXES:
            return None
        half = projection if projection in ("gate_proj", "up_proj") else ""
        param = f"{experts}.{'down_proj' if projection == 'down_proj' else 'gate_up_proj'}"
        return Place(param=param, suffix=suffix, expert=int(index), half=half)
    module, _, suffix = name.rpartition(".")
    if suffix in SUFFIXES and module:
        return Place(param=f"{module}.weight", suffix=suffix)
    return Place(param=name)


def stored_name(param: str, suffix: str = "weight", expert: int | None = None, half: str = "") -> str:
    """The checkpoint's name of the model's parameter or buffer `param`, or of a part of it."""
    layers, _, rest = param.partition(".")
    index, _, leaf = rest.partition(".")
    if layers == "layers" and leaf == "encoder_layer_scalar":
        return f"{_ENCODER_LAYER}{index}.layer_scalar"
    if expert is not None:
        experts, _, projection = param.rpartition(".")
        return f"{_DECODER}{experts}.{expert}.{half or projection}.{suffix}"
    if suffix != "weight":
        return f"{_DECODER}{param.removesuffix('.weight')}.{suffix}"
    return _DECODER + param
