"""From stored pieces to a parameter on its device: pieces come in any order, a few rows at a time.

Only what has arrived of one parameter is ever held beside the parameter itself. Knows nothing of files.
"""

from __future__ import annotations

from functools import reduce

import torch
from torch import Tensor

from engine.checkpoints.names import Part
from engine.checkpoints.plan import Piece, Target, code_of
from engine.checkpoints.schemes import Scheme
from engine.errors import BrokenCheckpoint
from engine.quant.weight import Code, QuantisedWeight, quantise

Held = Tensor | QuantisedWeight
"""A parameter as the model holds it."""


class Filler:
    """Gathers the pieces of one target, to be held as `form` (one of `engine.checkpoints.plan.FORMS`)."""

    def __init__(self, target: Target, form: str, dtype: torch.dtype | None, device: torch.device) -> None:
        self.target, self.device = target, device
        self.form = target.held_as(form)
        stored = target.pieces[0].tensor.dtype
        self.dtype = dtype or (stored if target.scheme is None else torch.bfloat16)
        self._left = sum(piece.tensor.nbytes for piece in target.pieces)
        self._held: Held | None = None

    def put(self, piece: Piece, first: int, last: int, rows: Tensor) -> bool:
        """Take rows `first` to `last` (exclusive) of a piece's first dimension; True once all are there.

        Raises:
            BrokenCheckpoint: a scale no weight can have, or another shape than the weight's.
        """
        _check(self.target, piece, first, rows)  # before they are on a device, which would be waited for
        rows = rows.to(self.device)
        if self.target.scheme is not None:
            self._put_part(piece, first, last, rows)
        elif self.form in ("fp8", "int4"):
            # Rows are quantised each on its own, so it does not matter how they were cut.
            self._copy(self._quantised(rows), piece, first, last)
        else:
            if self._held is None:
                self._held = torch.empty(self.target.shape, dtype=self.dtype, device=self.device)
            assert isinstance(self._held, Tensor)
            self._region(self._held, piece, first, last).copy_(rows)
        self._left -= rows.nbytes
        return self._left == 0

    def result(self) -> Held:
        """The parameter, once it is complete."""
        held = self._held
        assert held is not None
        assert self._left == 0
        if isinstance(held, QuantisedWeight) and self.target.scheme is not None:
            if self.target.asymmetric:
                assert held.bias is not None
                assert held.scale is not None
                held.bias.mul_(held.scale).neg_()
            if self.form == "bf16":
                return dequantised(held, self.dtype)
            if self.form != "stored":
                return requantised(held, self.form)
        return held

    def _quantised(self, rows: Tensor) -> QuantisedWeight:
        made = quantise(rows, self.form)
        if self._held is None:
            self._held = _empty_like(made, self.target.shape)
        return made

    def _copy(self, made: QuantisedWeight, piece: Piece, first: int, last: int) -> None:
        assert isinstance(self._held, QuantisedWeight)
        for name in ("data", "scale", "outer"):
            whole, part = getattr(self._held, name), getattr(made, name)
            if whole is not None:
                self._region(whole, piece, first, last).copy_(part)

    def _put_part(self, piece: Piece, first: int, last: int, rows: Tensor) -> None:
        target, part = self.target, piece.place.part
        if self._held is None:
            self._held = _empty(target, self.device, self._scale_dtype())
        held = self._held
        assert isinstance(held, QuantisedWeight)
        if part is Part.VALUES:
            data = rows.contiguous().view(torch.uint8) if target.scheme is Scheme.INT4 else rows
            self._region(held.data, piece, first, last).copy_(data)
        elif part is Part.GLOBAL or (part is Part.SCALE and target.scheme is Scheme.FP8):
            assert held.outer is not None
            value = rows.float()
            if target.scheme is Scheme.NVFP4:
                value = 1 / value
            whole = value.numel() == 1
            region = self._region(held.outer, piece, 0 if whole else first, None if whole else last)
            region.copy_(value.view(-1)[0] if whole else value.view(region.shape))
        elif part is Part.SCALE:
            assert held.scale is not None
            self._region(held.scale, piece, first, last).copy_(rows)
        elif part is Part.ZERO:
            assert held.bias is not None
            self._region(held.bias, piece, 8 * first, 8 * last).copy_(_zero_points(rows, piece, first))

    def _scale_dtype(self) -> torch.dtype:
        scales = {p.tensor.dtype for p in self.target.pieces if p.place.part is Part.SCALE}
        return reduce(torch.promote_types, scales)

    def _region(self, whole: Tensor, piece: Piece, first: int, last: int | None) -> Tensor:
        """The part of `whole` that a piece's rows `first` to `last` (None: all) fill."""
        start, end = piece.rows
        if piece.place.expert is not None:
            whole = whole[piece.place.expert]
        elif len(self.target.shape) != 2 or not start < end:
            return whole if whole.dim() == 0 else whole[first:last]
        stop = end if last is None else min(end, start + last)
        return whole[start + first : stop]


def _check(target: Target, piece: Piece, first: int, rows: Tensor) -> None:
    """Raises BrokenCheckpoint where what `rows` of a piece hold is nothing such a weight can have."""
    part, where = piece.place.part, f"{piece.tensor.file}: tensor {piece.tensor.name}"
    if part is Part.SHAPE:
        shape = [piece.rows[1] - piece.rows[0], target.shape[-1]]
        if rows.tolist() != shape[first : first + len(rows)]:
            raise BrokenCheckpoint(f"{where} says {rows.tolist()}, the config calls for {shape}")
    elif part in (Part.SCALE, Part.GLOBAL):
        scales = rows.float()
        if not scales.isfinite().all():
            raise BrokenCheckpoint(f"{where} has scales that are no numbers")
        # A group's scale in FP8 rounds to 0 where the group is small beside its tensor; no other may be 0.
        if rows.dtype is not torch.float8_e4m3fn and not scales.reciprocal().isfinite().all():
            raise BrokenCheckpoint(f"{where} has scales of 0")


def dequantised(weight: QuantisedWeight, dtype: torch.dtype) -> Tensor:
    """All values of `weight`, an expert at a time: float32 of all of them would be twice the result."""
    if len(weight.shape) == 2:
        return weight.dequantise(dtype)
    out = torch.empty(weight.shape, dtype=dtype, device=weight.data.device)
    for index in range(len(out)):
        out[index] = weight[index].dequantise(dtype)
    return out


def requantised(weight: Held, form: str) -> QuantisedWeight:
    """`weight` in one of our own forms, an expert at a time."""
    if len(weight.shape) == 2:
        return quantise(_values(weight), form)
    whole: QuantisedWeight | None = None
    for index in range(weight.shape[0]):
        made = quantise(_values(weight[index]), form)
        whole = whole or _empty_like(made, tuple(weight.shape))
        for name in ("data", "scale", "outer"):
            if getattr(whole, name) is not None:
                getattr(whole, name)[index].copy_(getattr(made, name))
    assert whole is not None
    return whole


def _values(weight: Held) -> Tensor:
    return weight.dequantise() if isinstance(weight, QuantisedWeight) else weight


def _zero_points(packed: Tensor, piece: Piece, first: int) -> Tensor:
    """int32 (rows / 8, groups) -> (rows, groups): eight rows' 4-bit zero points share a word."""
    shifts = torch.arange(0, 32, 4, device=packed.device, dtype=torch.int32)
    points = ((packed[:, None] >> shifts[:, None]) & 0xF).flatten(0, 1)
    return points[: piece.rows[1] - piece.rows[0] - 8 * first]


def _empty(target: Target, device: torch.device, scale_dtype: torch.dtype) -> QuantisedWeight:
    assert target.scheme is not None
    code, shape = code_of(target.scheme), target.shape
    width = shape[-1] * code.bits // 8
    data = torch.empty(*shape[:-1], width, dtype=code.dtype, device=device)
    scale = bias = outer = None
    if code is not Code.FP8:
        scale = torch.empty(*shape[:-1], shape[-1] // target.group, dtype=scale_dtype, device=device)
    if target.asymmetric:
        assert scale is not None
        bias = torch.empty_like(scale, dtype=torch.float32)  # 15 times a bfloat16 is none
    if code is not Code.INT4:
        outer = torch.empty(shape[:-1], dtype=torch.float32, device=device)
    return QuantisedWeight(code, data, scale=scale, bias=bias, outer=outer)


def _empty_like(made: QuantisedWeight, shape: tuple[int, ...]) -> QuantisedWeight:
    """Room for a weight of `shape` in the form of `made`, which is some of its rows."""

    def room(part: Tensor | None, last: bool) -> Tensor | None:
        if part is None:
            return None
        size = (*shape[:-1], part.shape[-1]) if last else shape[:-1]
        return torch.empty(size, dtype=part.dtype, device=part.device)

    data = room(made.data, True)
    assert data is not None
    return QuantisedWeight(made.code, data, scale=room(made.scale, True), outer=room(made.outer, False))
