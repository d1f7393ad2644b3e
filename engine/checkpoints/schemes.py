"""Which quantisation a checkpoint declares, from its JSON; what we do not read is refused by its name.

Only declarations: what the tensors are called and how they are laid out is `engine.checkpoints.names`'.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

from engine.checkpoints.config_json import read_json
from engine.errors import BrokenCheckpoint, UnsupportedModel


class Scheme(Enum):
    """A way to store quantised weights that we read."""

    FP8 = "FP8"  # compressed-tensors or modelopt: a scale a row or a tensor
    NVFP4 = "NVFP4"  # compressed-tensors: the tensor's scale divides
    MODELOPT_NVFP4 = "NVFP4 (modelopt)"  # modelopt: the tensor's scale multiplies
    INT4 = "w4a16"  # compressed-tensors, pack-quantized


@dataclass(frozen=True, kw_only=True)
class Declared:
    """A scheme as a checkpoint declares it: how many elements of a row share a scale (None: all of them),
    and whether they are symmetric, that is, without zero points."""

    scheme: Scheme
    group: int | None = None
    symmetric: bool = True


NVFP4_GROUP = 16
"""The format's own: elements of a row that share a scale."""


def read_schemes(folder: Path) -> frozenset[Declared]:
    """The schemes of the checkpoint in `folder`; none where it is not quantised.

    Raises:
        UnsupportedModel: it is quantised in a way we do not read.
        BrokenCheckpoint: the declaration is not JSON or makes no sense.
    """
    raw = read_json(folder / "config.json")
    other = folder / "hf_quant_config.json"
    return declared_schemes(raw, read_json(other) if other.exists() else None)


def declared_schemes(
    config: Mapping[str, Any], modelopt: Mapping[str, Any] | None = None
) -> frozenset[Declared]:
    """The schemes that `config.json` and, where there is one, `hf_quant_config.json` declare.

    Raises:
        UnsupportedModel: it is quantised in a way we do not read.
        BrokenCheckpoint: the declaration makes no sense.
    """
    if "quantization" in config:
        raise UnsupportedModel("config.json: MLX's quantisation is not read")
    declared = config.get("quantization_config")
    if declared is None:
        return frozenset() if modelopt is None else _modelopt(modelopt.get("quantization"))
    if not isinstance(declared, Mapping):
        raise BrokenCheckpoint("config.json: quantization_config is not an object")
    method = declared.get("quant_method")
    if method == "modelopt":
        return _modelopt(declared)
    if method == "compressed-tensors":
        return _compressed_tensors(declared)
    raise UnsupportedModel(f"config.json: quantisation method {method!r} is not read")


def _modelopt(declared: object) -> frozenset[Declared]:
    settings: Mapping[str, Any] = declared if isinstance(declared, Mapping) else {}
    algorithm, group = settings.get("quant_algo"), settings.get("group_size")
    if algorithm == "FP8":
        return frozenset({Declared(scheme=Scheme.FP8)})
    if algorithm != "NVFP4":
        raise UnsupportedModel(f"config.json: modelopt's quantisation {algorithm!r} is not read")
    if group not in (None, NVFP4_GROUP):
        raise UnsupportedModel(f"config.json: modelopt's NVFP4 in groups of {group!r} is not read")
    return frozenset({Declared(scheme=Scheme.MODELOPT_NVFP4, group=NVFP4_GROUP)})


def _compressed_tensors(declared: Mapping[str, Any]) -> frozenset[Declared]:
    for extra in ("sparsity_config", "transform_config"):
        given = declared.get(extra)
        if given and not (isinstance(given, Mapping) and given.get("format") == "dense"):
            raise UnsupportedModel(f"config.json: compressed-tensors with a {extra} is not read")
    if declared.get("quantization_status", "compressed") != "compressed":
        raise UnsupportedModel(
            f"config.json: compressed-tensors in state {declared['quantization_status']!r} is not read"
        )
    groups = declared.get("config_groups")
    if not isinstance(groups, Mapping) or not groups:
        raise BrokenCheckpoint("config.json: quantization_config has no config_groups")
    schemes = set()
    for name, group in groups.items():
        weights = group.get("weights") if isinstance(group, Mapping) else None
        if not isinstance(weights, Mapping):
            raise UnsupportedModel(f"config.json: quantisation {name} has no weights that are quantised")
        schemes.add(_weights(weights))
    return frozenset(schemes)


def _weights(weights: Mapping[str, Any]) -> Declared:
    kind, bits = weights.get("type", "int"), weights.get("num_bits")
    strategy, group = weights.get("strategy"), weights.get("group_size")
    symmetric = weights.get("symmetric", True)
    ordered = weights.get("actorder") not in (None, False, "static", "weight")
    if not weights.get("block_structure") and not ordered:
        if kind == "float" and bits == 8 and strategy in ("channel", "tensor") and symmetric:
            return Declared(scheme=Scheme.FP8)
        if (kind, bits, strategy, group) == ("float", 4, "tensor_group", NVFP4_GROUP) and symmetric:
            return Declared(scheme=Scheme.NVFP4, group=NVFP4_GROUP)
        if kind == "int" and bits == 4 and isinstance(symmetric, bool):
            if strategy == "channel":
                return Declared(scheme=Scheme.INT4, symmetric=symmetric)
            if strategy == "group" and type(group) is int and group > 0:
                return Declared(scheme=Scheme.INT4, group=group, symmetric=symmetric)
    order = f", ordered by {weights['actorder']}" if ordered else ""
    raise UnsupportedModel(
        f"config.json: {bits}-bit {kind} weights by {strategy} (group size {group}{order}) are not read"
    )
