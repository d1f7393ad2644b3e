"""A quantised weight in memory: one class for every format, so that one kernel multiplies by all of them.

    value[..., o, i] = (code(data)[..., o, i] * scale[..., o, i // group] + bias[..., o, i // group])
                       * outer[..., o]

A format is a way to fill these tensors exactly (see `engine.checkpoints.plan`); our own quantisation on load
is two more. Knows nothing of files or of where in the model a weight sits.
"""

from __future__ import annotations

from enum import Enum

import torch
from torch import Tensor, nn

from engine.errors import UnsupportedModel


class Code(Enum):
    """What one element's bits mean. Two 4-bit elements share a byte, the one with the lower index low."""

    FP8 = "fp8"  # e4m3, held as torch.float8_e4m3fn
    FP4 = "fp4"  # e2m1
    INT4 = "int4"  # unsigned, 0 to 15; without a bias 8 stands for zero
    INT8 = "int8"  # signed

    @property
    def bits(self) -> int:
        """Bits of one element."""
        return 4 if self in (Code.FP4, Code.INT4) else 8

    @property
    def dtype(self) -> torch.dtype:
        """What `data` is held as."""
        return {Code.FP8: torch.float8_e4m3fn, Code.INT8: torch.int8}.get(self, torch.uint8)


FP4_VALUES = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0)
"""e2m1 without its sign, which is the fourth bit."""

INT4_GROUPS = (64, 32, 16)
"""How many elements share a scale in our own 4-bit form: the first that divides the width. 64 divides every
width of the 26B (2816, 2112, 704, and attention's)."""

_FP8_MAX = 448.0


class QuantisedWeight(nn.Module):
    """A weight of logical `shape` (..., out, in); leading dimensions are experts.

    `data` (..., out, in) or, of 4 bits, (..., out, in / 2); `scale` and `bias` (..., out, in / group);
    `outer` (..., out) float32.
    """

    data: Tensor
    scale: Tensor | None
    bias: Tensor | None
    outer: Tensor | None

    def __init__(
        self,
        code: Code,
        data: Tensor,
        *,
        scale: Tensor | None = None,
        bias: Tensor | None = None,
        outer: Tensor | None = None,
    ) -> None:
        super().__init__()
        self.code = code
        self.register_buffer("data", data)
        self.register_buffer("scale", scale)
        self.register_buffer("bias", bias)
        self.register_buffer("outer", outer)

    @property
    def shape(self) -> torch.Size:
        """The logical shape."""
        width = self.data.shape[-1] * (8 // self.code.bits)
        return torch.Size((*self.data.shape[:-1], width))

    @property
    def group(self) -> int:
        """How many elements of a row share a scale; the whole row where there is none."""
        return self.shape[-1] if self.scale is None else self.shape[-1] // self.scale.shape[-1]

    @property
    def nbytes(self) -> int:
        """Bytes it occupies."""
        return sum(t.nbytes for t in (self.data, self.scale, self.bias, self.outer) if t is not None)

    def __getitem__(self, index: int | slice) -> QuantisedWeight:
        """One expert's weight, or some rows: a view."""
        scale, bias, outer = (None if t is None else t[index] for t in (self.scale, self.bias, self.outer))
        return QuantisedWeight(self.code, self.data[index], scale=scale, bias=bias, outer=outer)

    def dequantise(self, dtype: torch.dtype = torch.float32) -> Tensor:
        """The values (..., out, in), computed in float32."""
        values = self._codes()
        if self.scale is not None:
            scale = self.scale.float()
            grouped = values.unflatten(-1, (scale.shape[-1], -1))
            bias = self.bias
            if bias is not None:
                values = torch.addcmul(bias.float()[..., None], grouped, scale[..., None]).flatten(-2)
            else:
                values = (grouped * scale[..., None]).flatten(-2)
        if self.outer is not None:
            values = values * self.outer[..., None]
        return values.to(dtype)

    def _codes(self) -> Tensor:
        if self.code.bits == 8:
            return self.data.float()
        nibbles = torch.stack((self.data & 0xF, self.data >> 4), dim=-1).flatten(-2)
        if self.code is Code.INT4:
            return nibbles.float() - (8.0 if self.bias is None else 0.0)
        table = torch.tensor(FP4_VALUES, device=nibbles.device)
        table = torch.cat((table, -table))
        return table[nibbles.int()]


def quantise(values: Tensor, form: str) -> QuantisedWeight:
    """Our own quantisation of `values` (..., out, in): `fp8` with a scale a row, `int4` with one a group.

    Raises:
        UnsupportedModel: a width that is no multiple of the group, or a form that is not known.
    """
    if form == "fp8":
        outer = (values.float().abs().amax(-1) / _FP8_MAX).clamp(min=1e-12)
        data = (values.float() / outer[..., None]).clamp(-_FP8_MAX, _FP8_MAX).to(torch.float8_e4m3fn)
        return QuantisedWeight(Code.FP8, data, outer=outer)
    if form == "int4":
        return _quantise_int4(values)
    raise UnsupportedModel(f"quantisation {form!r} is not known; choose fp8 or int4")


def _quantise_int4(values: Tensor) -> QuantisedWeight:
    groups = values.float().unflatten(-1, (-1, int4_group(values.shape[-1])))
    # The extreme of a group becomes exactly -8, the one code that has no counterpart.
    extreme = groups.gather(-1, groups.abs().argmax(-1, keepdim=True))[..., 0]
    scale = (extreme / -8).to(torch.bfloat16)
    divisor = torch.where(scale == 0, 1.0, scale.float())
    codes = (groups / divisor[..., None]).round().clamp(-8, 7).add(8).to(torch.uint8).flatten(-2)
    return QuantisedWeight(Code.INT4, pack_nibbles(codes), scale=scale)


def int4_group(width: int) -> int:
    """How many of a row's `width` elements share a scale in our own 4-bit form.

    Raises:
        UnsupportedModel: no group divides the width.
    """
    for group in INT4_GROUPS:
        if width % group == 0:
            return group
    raise UnsupportedModel(f"a width of {width} cannot be quantised in groups of {INT4_GROUPS[-1]}")


def pack_nibbles(codes: Tensor) -> Tensor:
    """Codes (..., n) of 0 to 15 as bytes (..., n / 2), the lower index in the lower half."""
    pairs = codes.unflatten(-1, (-1, 2))
    packed: Tensor = pairs[..., 0] | (pairs[..., 1] << 4)
    return packed
