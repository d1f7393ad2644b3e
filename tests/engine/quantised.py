"""Small checkpoints rewritten in the published quantised formats, by those formats' own libraries."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from tests.engine.checkpoints import write_reference_checkpoint

SMALL: dict[str, Any] = {
    "vocab_size": 64,
    "hidden_size": 64,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "layer_types": ["sliding_attention", "full_attention"],
    "moe_intermediate_size": 32,
}
"""Every width is a multiple of 32: the formats group by 16 and 32."""

Values = dict[str, Tensor]
"""Parameter in the model's naming -> what the format's own library says it holds, float32."""


def write_plain(folder: Path, **text: Any) -> dict[str, Tensor]:
    """A small reference checkpoint in bfloat16; returns its stored tensors."""
    write_reference_checkpoint(folder, **{**SMALL, **text})
    path = folder / "model.safetensors"
    tensors = {name: tensor.bfloat16() for name, tensor in load_file(path).items()}
    save_file(tensors, path, metadata={"format": "pt"})
    return tensors


def write_compressed(folder: Path, kind: str, *, experts_only: bool = False) -> Values:
    """A checkpoint as compressed-tensors writes it: `kind` is one of `_COMPRESSED`."""
    from compressed_tensors.compressors import BaseCompressor
    from compressed_tensors.quantization import QuantizationScheme

    weights, name = _COMPRESSED[kind]
    scheme = QuantizationScheme(targets=["Linear"], weights=weights)
    compressor: Any = BaseCompressor.get_value_from_registry(name)

    def compress(weight: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        state = {"weight": weight, **_scales(kind, weight)}
        packed = compressor.compress(dict(state), scheme)
        packed = {key: value for key, value in packed.items() if value is not None}
        values = compressor.decompress(dict(packed), scheme)["weight"].float()
        if kind.startswith("nvfp4"):
            packed["input_global_scale"] = torch.tensor(1.0)
        return packed, values

    tensors, values = _rewritten(write_plain(folder), compress, experts_only)
    declared = {
        "quant_method": "compressed-tensors",
        "format": name,
        "quantization_status": "compressed",
        "config_groups": {
            "group_0": {"targets": ["Linear"], "weights": scheme.weights.model_dump(mode="json")}
        },
        "ignore": ["re:.*router.*", "lm_head"],
    }
    _save(folder, tensors, declared)
    return values


def write_modelopt(folder: Path) -> Values:
    """A checkpoint as nvidia publishes it: the experts one by one, the tensor's scale a multiplier.

    modelopt itself does not install beside this torch, so the values are the format's definition.
    """

    def pack(weight: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        table = torch.tensor([0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0])
        groups = weight.float().unflatten(-1, (-1, 16))
        outer = groups.abs().max() / (6 * 448)
        scale = (groups.abs().amax(-1) / 6 / outer).to(torch.float8_e4m3fn)
        ratio = groups / (scale.float() * outer)[..., None]
        codes = (ratio.abs()[..., None] - table).abs().argmin(-1)
        codes = codes + 8 * (ratio < 0)
        values = torch.where(codes >= 8, -1.0, 1.0) * table[codes % 8] * scale.float()[..., None] * outer
        flat = codes.flatten(-2).to(torch.uint8)
        stored = {
            "weight": flat[..., 0::2] | (flat[..., 1::2] << 4),
            "weight_scale": scale,
            "weight_scale_2": outer,
            "input_scale": torch.tensor(0.01),
        }
        return stored, values.flatten(-2)

    tensors, values = _rewritten(write_plain(folder), pack, experts_only=True)
    quantization = {"quant_algo": "NVFP4", "kv_cache_quant_algo": "FP8", "group_size": 16}
    (folder / "hf_quant_config.json").write_text(
        json.dumps({"producer": {"name": "modelopt"}, "quantization": quantization})
    )
    _save(folder, tensors, {"quant_method": "modelopt", **quantization})
    return values


def _rewritten(tensors: dict[str, Tensor], pack: Any, experts_only: bool) -> tuple[dict[str, Tensor], Values]:
    """`tensors` with the experts one by one, and them (and the other linear layers) through `pack`."""
    out: dict[str, Tensor] = {}
    values: Values = {}
    for name, tensor in tensors.items():
        own = name.removeprefix("model.decoder.")
        if ".experts." in name:
            module, projection = name.rsplit(".", 1)
            whole = []
            for index, weight in enumerate(tensor):
                halves = weight.chunk(2) if projection == "gate_up_proj" else (weight,)
                names = ("gate_proj", "up_proj") if projection == "gate_up_proj" else ("down_proj",)
                parts = [pack(half.contiguous()) for half in halves]
                for half, (stored, _) in zip(names, parts, strict=True):
                    out.update({f"{module}.{index}.{half}.{key}": value for key, value in stored.items()})
                whole.append(torch.cat([found for _, found in parts]))
            values[own] = torch.stack(whole)
        elif own.endswith("_proj.weight") and "encoder" not in name and not experts_only:
            stored, values[own] = pack(tensor)
            out.update({f"{name.removesuffix('.weight')}.{key}": value for key, value in stored.items()})
        else:
            out[name] = tensor
    return out, values


def _scales(kind: str, weight: Tensor) -> dict[str, Tensor]:
    rows = weight.float()
    if kind == "fp8":
        return {"weight_scale": (rows.abs().amax(-1, keepdim=True) / 448).bfloat16()}
    if kind == "fp8 tensor":
        return {"weight_scale": (rows.abs().max() / 448).bfloat16().view(1)}
    if kind == "nvfp4":
        divisor = 6 * 448 / rows.abs().max()
        scale = rows.unflatten(-1, (-1, 16)).abs().amax(-1) / 6 * divisor
        scale = scale.to(torch.float8_e4m3fn).bfloat16()
        return {"weight_scale": scale, "weight_global_scale": divisor.view(1)}
    groups = rows.unflatten(-1, (-1, rows.shape[-1] if kind == "int4 channel" else 32))
    if kind in ("int4", "int4 channel"):
        return {"weight_scale": (groups.abs().amax(-1) / 7).bfloat16()}
    scale = ((groups.amax(-1) - groups.amin(-1)) / 15).bfloat16()
    zero = (-8 - groups.amin(-1) / scale.float()).round().clamp(-8, 7).to(torch.int8)
    return {"weight_scale": scale, "weight_zero_point": zero}


_COMPRESSED: dict[str, tuple[dict[str, Any], str]] = {
    "fp8": ({"num_bits": 8, "type": "float", "strategy": "channel"}, "float-quantized"),
    "fp8 tensor": ({"num_bits": 8, "type": "float", "strategy": "tensor"}, "float-quantized"),
    "nvfp4": (
        {"num_bits": 4, "type": "float", "strategy": "tensor_group", "group_size": 16},
        "nvfp4-pack-quantized",
    ),
    "int4": ({"num_bits": 4, "type": "int", "strategy": "group", "group_size": 32}, "pack-quantized"),
    "int4 channel": ({"num_bits": 4, "type": "int", "strategy": "channel"}, "pack-quantized"),
    "int4 zero": (
        {"num_bits": 4, "type": "int", "strategy": "group", "group_size": 32, "symmetric": False},
        "pack-quantized",
    ),
}


def _json(weights: Any) -> Any:
    return weights.model_dump(mode="json")


def _save(folder: Path, tensors: dict[str, Tensor], declared: dict[str, Any]) -> None:
    save_file(
        {name: tensor.contiguous() for name, tensor in tensors.items()},
        folder / "model.safetensors",
        metadata={"format": "pt"},
    )
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "quantization_config": declared}))
