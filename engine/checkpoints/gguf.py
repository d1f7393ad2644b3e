"""GGUF files of DiffusionGemma, as llama.cpp's converter names their tensors.

The file holds the weights only: `config.json` and `tokenizer.json` of the original lie beside it. Needs the
package `gguf`, which reads the container; what is in it is taken apart on the device (`engine.quant.blocks`).
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from engine.checkpoints.fill import Held, dequantised, requantised
from engine.checkpoints.plan import Target
from engine.errors import BrokenCheckpoint, UnsupportedModel
from engine.quant.blocks import BLOCKS, unpack

ARCHITECTURE = "diffusion-gemma"

_PLAIN = {"F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}

_APART = 5
"""Bytes an element takes on its device while its block is taken apart: measured of Q6_K, which takes most."""

_SKIPPED = ("rope_freqs.weight",)
"""Follows from the config."""

_WHOLE = {
    "token_embd.weight": "embed_tokens.weight",
    "output_norm.weight": "norm.weight",
    "self_cond_pre_norm.weight": "self_conditioning.pre_norm.weight",
    "self_cond_gate.weight": "self_conditioning.gate_proj.weight",
    "self_cond_up.weight": "self_conditioning.up_proj.weight",
    "self_cond_down.weight": "self_conditioning.down_proj.weight",
}
_LAYER = {
    "attn_norm.weight": "input_layernorm.weight",
    "attn_q.weight": "self_attn.q_proj.weight",
    "attn_k.weight": "self_attn.k_proj.weight",
    "attn_v.weight": "self_attn.v_proj.weight",
    "attn_output.weight": "self_attn.o_proj.weight",
    "attn_q_norm.weight": "self_attn.q_norm.weight",
    "attn_k_norm.weight": "self_attn.k_norm.weight",
    "post_attention_norm.weight": "post_attention_layernorm.weight",
    "ffn_norm.weight": "pre_feedforward_layernorm.weight",
    "ffn_gate.weight": "mlp.gate_proj.weight",
    "ffn_up.weight": "mlp.up_proj.weight",
    "ffn_down.weight": "mlp.down_proj.weight",
    "post_ffw_norm.weight": "post_feedforward_layernorm.weight",
    "post_ffw_norm_1.weight": "post_feedforward_layernorm_1.weight",
    "pre_ffw_norm_2.weight": "pre_feedforward_layernorm_2.weight",
    "post_ffw_norm_2.weight": "post_feedforward_layernorm_2.weight",
    "ffn_gate_inp.weight": "router.proj.weight",
    "ffn_gate_inp.scale": "router.scale",
    "ffn_down_exps.scale": "router.per_expert_scale",
    "ffn_gate_up_exps.weight": "experts.gate_up_proj",
    "ffn_down_exps.weight": "experts.down_proj",
    "layer_output_scale.weight": "layer_scalar",
    "enc_layer_output_scale.weight": "encoder_layer_scalar",
}


@dataclass(kw_only=True)
class GgufTarget(Target):
    """A parameter and what a GGUF file stores it as: `kind` is one of `BLOCKS`, or a plain type."""

    kind: str
    file_bytes: int

    @property
    def quantised(self) -> bool:
        """See `Target`."""
        return self.kind in BLOCKS

    @property
    def stored_as(self) -> frozenset[str]:
        """See `Target`."""
        return frozenset({self.kind})

    @property
    def stored_bytes(self) -> int:
        """See `Target`."""
        return self.file_bytes

    @property
    def whole_bytes(self) -> int:
        """See `Target`."""
        return self.file_bytes

    def turning_bytes(self, form: str) -> int:
        """See `Target`; blocks are taken apart whatever they become."""
        return _APART * math.prod(self.shape) if self.quantised else 0

    def device_bytes(self, form: str, itemsize: int) -> int:
        """See `Target`."""
        if not self.quantised or not self.quantisable or self.held_as(form) != "stored":
            return super().device_bytes(form, itemsize)
        block = unpack(self.kind, torch.zeros(1, BLOCKS[self.kind][0], dtype=torch.uint8))
        return math.prod(self.shape) // block.shape[-1] * block.nbytes


def gguf_name(param: str) -> str:
    """The file's name of the model's parameter or buffer `param`."""
    if match := re.fullmatch(r"layers\.(\d+)\.(.+)", param):
        return next(f"blk.{match[1]}.{name}" for name, own in _LAYER.items() if own == match[2])
    return next(name for name, own in _WHOLE.items() if own == param)


def read_gguf(
    path: Path,
    shapes: dict[str, tuple[int, ...]],
    form: str,
    dtype: torch.dtype | None,
    device: torch.device,
    report: Callable[[str], None],
) -> Iterator[tuple[str, Held]]:
    """Every parameter of `shapes` in turn, held as `form` (see `engine.checkpoints.plan.FORMS`).

    Raises:
        UnsupportedModel: another architecture, a block type we do not read, or no package `gguf`.
        BrokenCheckpoint: unreadable; tensors missing, unexpected or misshapen.
    """
    for done, (target, tensor) in enumerate(planned := _plan(path, shapes)):
        report(f"reading the weights {100 * done // len(planned)}%")
        yield target.param, _held(tensor, target, form, dtype, device)


def plan_gguf(path: Path, shapes: dict[str, tuple[int, ...]]) -> list[GgufTarget]:
    """What is to be read from `path` for every one of `shapes`, from its header alone.

    Raises:
        UnsupportedModel, BrokenCheckpoint: see `read_gguf`.
    """
    return [target for target, _ in _plan(path, shapes)]


def _plan(path: Path, shapes: dict[str, tuple[int, ...]]) -> list[tuple[GgufTarget, Any]]:
    """Each parameter and the file's tensor that holds it."""
    tensors = {tensor.name: tensor for tensor in _open(path).tensors if tensor.name not in _SKIPPED}
    wanted = {gguf_name(param): param for param in shapes}
    _check(path, tensors, wanted, shapes)
    planned = []
    for name, param in wanted.items():
        tensor, shape = tensors[name], shapes[param]
        kind, size = tensor.tensor_type.name, int(tensor.n_bytes)
        planned.append((GgufTarget(param=param, shape=shape, kind=kind, file_bytes=size), tensor))
    return planned


def _open(path: Path) -> Any:
    try:
        from gguf import GGUFReader
    except ImportError as error:
        raise UnsupportedModel(
            f"{path.name} is a GGUF file; reading it needs: pip install 'infill-ls[gguf]'"
        ) from error
    try:
        reader = GGUFReader(path)
        field = reader.get_field("general.architecture")
        architecture = field.contents() if field else None
    except (OSError, ValueError, IndexError, KeyError) as error:
        raise BrokenCheckpoint(f"{path} is truncated or corrupt: {error}") from error
    if architecture != ARCHITECTURE:
        raise UnsupportedModel(f"{path.name}: architecture {architecture!r} is not {ARCHITECTURE!r}")
    return reader


def _check(path: Path, tensors: dict[str, Any], wanted: dict[str, str], shapes: dict[str, Any]) -> None:
    for name, tensor in tensors.items():
        if name not in wanted:
            raise BrokenCheckpoint(f"{path.name}: unexpected tensor {name}")
        kind, shape = tensor.tensor_type.name, tuple(int(n) for n in reversed(tensor.shape))
        if kind not in _PLAIN and kind not in BLOCKS:
            raise UnsupportedModel(f"{path.name}: tensor {name} is stored as {kind}, which is not read")
        if shape != shapes[wanted[name]]:
            raise BrokenCheckpoint(
                f"{path.name}: tensor {name} is {shape}, the config calls for {shapes[wanted[name]]}"
            )
    missing = sorted(name for name in wanted if name not in tensors)
    if missing:
        raise BrokenCheckpoint(f"{path.name}: {len(missing)} tensors are missing, first {missing[0]}")


def _held(
    tensor: Any, target: GgufTarget, form: str, dtype: torch.dtype | None, device: torch.device
) -> Held:
    kind, held = target.kind, target.held_as(form)
    # The file is mapped, not read: copied, so that the map can go and the host keeps nothing.
    raw = torch.from_numpy(tensor.data.copy()).view(torch.uint8).to(device)
    if kind in _PLAIN:
        plain = raw.view(_PLAIN[kind]).view(target.shape)
        return requantised(plain, held) if held in ("fp8", "int4") else plain.to(dtype or plain.dtype)
    weight = unpack(kind, raw.view(*target.shape[:-1], -1))
    if held == "bf16" or not target.quantisable:
        return _plain(weight, dtype or torch.bfloat16)
    return weight if held == "stored" else requantised(weight, held)


def _plain(weight: Any, dtype: torch.dtype) -> Tensor:
    """All values, some rows at a time: an embedding table in float32 would be three gigabytes."""
    if len(weight.shape) == 3:
        return dequantised(weight, dtype)
    return torch.cat([weight[rows].dequantise(dtype) for rows in _slices(weight.shape[0])])


def _slices(rows: int, step: int = 16384) -> Iterator[slice]:
    for first in range(0, rows, step):
        yield slice(first, first + step)
