"""GGUF's blocks: each type's bytes taken apart into codes, scales and biases, on any device.

Scales of types that nest them (K) are multiplied out and held as float16, which costs less than bfloat16
arithmetic on the values themselves does; all else is exact.

Source: the format's definition in ggml (`ggml-quants`, `block_*`), read, not copied.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from engine.quant.weight import Code, QuantisedWeight, pack_nibbles


def unpack(kind: str, raw: Tensor) -> QuantisedWeight:
    """The weight (..., out, in) whose rows are the bytes `raw` (..., out, bytes) of blocks of type `kind`."""
    size, decode = BLOCKS[kind]
    return decode(raw.unflatten(-1, (-1, size)))


def _half(raw: Tensor) -> Tensor:
    """Pairs of bytes (..., 2n) as float16 (..., n)."""
    return raw.contiguous().view(torch.float16)


def _weight(code: Code, codes: Tensor, scale: Tensor, bias: Tensor | None = None) -> QuantisedWeight:
    """From codes (..., blocks, elements) and scales (..., blocks, groups) to a weight of whole rows."""
    data = codes.flatten(-2)
    data = pack_nibbles(data.to(torch.uint8)) if code is Code.INT4 else data.to(torch.int8)
    return QuantisedWeight(
        code, data, scale=scale.half().flatten(-2), bias=None if bias is None else bias.half().flatten(-2)
    )


def _nibbles(packed: Tensor) -> Tensor:
    """Bytes (..., 16) of a block of 32: the lower halves come first, then the upper."""
    return torch.cat((packed & 0xF, packed >> 4), dim=-1)


def _fifth_bits(packed: Tensor) -> Tensor:
    """Four bytes (..., 4) as the fifth bit (..., 32) of as many elements, in place."""
    bits = torch.arange(8, device=packed.device, dtype=torch.uint8)
    return ((packed[..., None] >> bits) & 1).flatten(-2) << 4


def _q4_0(block: Tensor) -> QuantisedWeight:
    return _weight(Code.INT4, _nibbles(block[..., 2:]), _half(block[..., :2]))


def _q4_1(block: Tensor) -> QuantisedWeight:
    return _weight(Code.INT4, _nibbles(block[..., 4:]), _half(block[..., :2]), _half(block[..., 2:4]))


def _q5_0(block: Tensor) -> QuantisedWeight:
    codes = _nibbles(block[..., 6:]) | _fifth_bits(block[..., 2:6])
    return _weight(Code.INT8, codes.to(torch.int8) - 16, _half(block[..., :2]))


def _q5_1(block: Tensor) -> QuantisedWeight:
    codes = _nibbles(block[..., 8:]) | _fifth_bits(block[..., 4:8])
    return _weight(Code.INT8, codes, _half(block[..., :2]), _half(block[..., 2:4]))


def _q8_0(block: Tensor) -> QuantisedWeight:
    return _weight(Code.INT8, block[..., 2:].contiguous().view(torch.int8), _half(block[..., :2]))


def _k_scales(block: Tensor) -> tuple[Tensor, Tensor]:
    """Scale and bias (..., 8) of a K block's groups of 32, from its first 16 bytes."""
    d, least = _half(block[..., :2]).float(), _half(block[..., 2:4]).float()
    low, mid, high = block[..., 4:16].unflatten(-1, (3, 4)).unbind(-2)
    scale = torch.cat((low & 63, (high & 0xF) | ((low >> 6) << 4)), dim=-1)
    minimum = torch.cat((mid & 63, (high >> 4) | ((mid >> 6) << 4)), dim=-1)
    return d * scale, -least * minimum


def _k_nibbles(packed: Tensor) -> Tensor:
    """128 bytes (..., 128) as (..., 8, 32): of every 32 bytes the lower halves, then the upper."""
    quarter = packed.unflatten(-1, (4, 32))
    return torch.stack((quarter & 0xF, quarter >> 4), dim=-2).flatten(-3, -2)


def _q4_k(block: Tensor) -> QuantisedWeight:
    scale, bias = _k_scales(block)
    return _weight(Code.INT4, _k_nibbles(block[..., 16:]).flatten(-2), scale, bias)


def _q5_k(block: Tensor) -> QuantisedWeight:
    scale, bias = _k_scales(block)
    group = torch.arange(8, device=block.device, dtype=torch.uint8)[:, None]
    fifth = ((block[..., None, 16:48] >> group) & 1) << 4
    return _weight(Code.INT8, (_k_nibbles(block[..., 48:]) | fifth).flatten(-2), scale, bias)


def _q6_k(block: Tensor) -> QuantisedWeight:
    low = block[..., :128].unflatten(-1, (2, 2, 32))
    low = torch.stack((low & 0xF, low >> 4), dim=-3).flatten(-3, -2)  # (..., 2, 4, 32)
    shift = torch.tensor([0, 2, 4, 6], device=block.device, dtype=torch.uint8)[:, None]
    high = ((block[..., 128:192].unflatten(-1, (2, 1, 32)) >> shift) & 3) << 4
    codes = (low | high).to(torch.int8) - 32
    scales = block[..., 192:208].contiguous().view(torch.int8).float()
    return _weight(Code.INT8, codes.flatten(-3), scales * _half(block[..., 208:]).float())


BLOCKS: dict[str, tuple[int, Callable[[Tensor], QuantisedWeight]]] = {
    "Q4_0": (18, _q4_0),
    "Q4_1": (20, _q4_1),
    "Q5_0": (22, _q5_0),
    "Q5_1": (24, _q5_1),
    "Q8_0": (34, _q8_0),
    "Q4_K": (144, _q4_k),
    "Q5_K": (176, _q5_k),
    "Q6_K": (210, _q6_k),
}
"""Each type's bytes a block and how to take one apart."""
