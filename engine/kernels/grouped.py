"""Triton kernels: rows sorted by expert times that expert's weight, which is decoded on the way.

    out[r, o] = sum over i of x[source(r), i] * value(weight[expert(r)])[o, i]

Weights are read once a block of rows and never written back decoded, so that a step costs about the reading
of the weights as they are stored. The arithmetic is bfloat16 with float32 sums. Triton's interpreter has no
bfloat16 products and rounds to bfloat16 wrongly, so there everything inside a kernel is float32.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import triton
import triton.language as tl
from torch import Tensor

from engine.kernels.groups import Groups, Weight
from engine.quant.weight import Code, QuantisedWeight

INTERPRETED = bool(triton.knobs.runtime.interpret)
"""Whether kernels run in Triton's interpreter, as tests have it."""

_CODES = {None: 0, Code.FP8: 1, Code.INT8: 2, Code.FP4: 3, Code.INT4: 4}


@dataclass(frozen=True, kw_only=True)
class Tile:
    """The block sizes of one launch: rows of x, rows of the weight, and elements of a row at a time."""

    m: int
    n: int
    k: int
    warps: int = 4
    stages: int = 3


def tile_for(code: Code | None, rows_per_expert: float) -> Tile:
    """The block sizes for a weight.

    Chosen by reasoning (a few dozen rows an expert, reading is what takes the time), not yet by measurement.
    """
    m = 16 if rows_per_expert <= 16 else (32 if rows_per_expert <= 48 else 64)
    return Tile(m=m, n=64, k=64 if code is None else 128)


def grouped_matmul(
    x: Tensor, weight: Weight, groups: Groups, *, gather: bool = False, tile: Tile | None = None
) -> Tensor:
    """Products (n, out) of the n assignments of `groups`, sorted by expert, with `weight` (experts, out, in).

    x is (tokens, in) with `gather`, else (n, in) and already sorted; out has its dtype. Does not
    synchronise with the host.
    """
    experts, out_width, width = weight.shape
    count = len(groups.token)
    quantised = weight if isinstance(weight, QuantisedWeight) else None
    code = quantised.code if quantised else None
    tile = tile or tile_for(code, count / experts)
    expert_of, start_of = _blocks(groups.offsets, count, tile.m)
    dtype = torch.float32 if INTERPRETED else x.dtype
    out = torch.empty(count, out_width, dtype=dtype, device=x.device)
    data = weight.data if isinstance(weight, QuantisedWeight) else weight
    scale = quantised.scale if quantised else None
    bias = quantised.bias if quantised else None
    outer = quantised.outer if quantised else None
    grid = (triton.cdiv(out_width, tile.n), len(expert_of))
    _kernel[grid](
        x.contiguous(),
        _bits(data),
        _bits(scale) if scale is not None else data,
        bias if bias is not None else data,
        outer if outer is not None else data,
        out,
        groups.token,
        groups.offsets,
        expert_of,
        start_of,
        out_width,
        width,
        quantised.group if quantised else width,
        CODE=_CODES[code],
        GATHER=gather,
        SCALED=scale is not None,
        SCALE_FP8=scale is not None and scale.dtype == torch.float8_e4m3fn,
        BIASED=bias is not None,
        OUTER=outer is not None,
        COMPUTE=tl.float32 if dtype == torch.float32 else tl.bfloat16,
        BLOCK_M=tile.m,
        BLOCK_N=tile.n,
        BLOCK_K=tile.k,
        num_warps=tile.warps,
        num_stages=tile.stages,
    )
    return out.to(x.dtype)


def quantised_matmul(x: Tensor, weight: QuantisedWeight) -> Tensor:
    """x (..., in) by a quantised `weight` (out, in): (..., out)."""
    flat = x.reshape(-1, x.shape[-1])
    offsets = torch.arange(2, device=x.device, dtype=torch.int32) * len(flat)
    rows = torch.arange(len(flat), device=x.device)
    one = QuantisedWeight(
        weight.code,
        weight.data[None],
        scale=None if weight.scale is None else weight.scale[None],
        bias=None if weight.bias is None else weight.bias[None],
        outer=None if weight.outer is None else weight.outer[None],
    )
    out = grouped_matmul(flat, one, Groups(token=rows, offsets=offsets, back=rows))
    return out.view(*x.shape[:-1], -1)


def _bits(data: Tensor) -> Tensor:
    """FP8 as the bytes it is: the kernel decodes it itself, so that GPUs without FP8 can run it too."""
    return data.view(torch.uint8) if data.dtype == torch.float8_e4m3fn else data


def _blocks(offsets: Tensor, count: int, block: int) -> tuple[Tensor, Tensor]:
    """For each block of rows its expert (-1: none) and its first row, int32.

    Every expert's rows are cut into blocks of their own. How many there will be is known only to the
    device, so there are as many as there could be.
    """
    experts = len(offsets) - 1
    most = min(experts, count) + count // block
    sizes = (offsets[1:] - offsets[:-1] + block - 1) // block
    ends = sizes.cumsum(0)
    index = torch.arange(most, device=offsets.device)
    expert = torch.searchsorted(ends, index, right=True)
    inside = expert < experts
    safe = expert.clamp(max=experts - 1)
    start = offsets[safe] + (index - (ends - sizes)[safe]) * block
    return torch.where(inside, expert, -1).int(), start.int()


@triton.jit
def _e4m3(bits):  # type: ignore[no-untyped-def]
    # Exponent and mantissa moved into a half float's places; its bias is larger by 8.
    word = bits.to(tl.int16)
    half = (((word & 0x80) << 8) | ((word & 0x7F) << 7)).to(tl.int16).to(tl.float16, bitcast=True)
    return half.to(tl.float32) * 256.0


@triton.jit
def _e2m1(nibble):  # type: ignore[no-untyped-def]
    # The same with one bit of mantissa; the bias is larger by 14.
    word = nibble.to(tl.int16)
    half = (((word & 0x8) << 12) | ((word & 0x7) << 9)).to(tl.int16).to(tl.float16, bitcast=True)
    return half.to(tl.float32) * 16384.0


@triton.jit
def _kernel(  # type: ignore[no-untyped-def]
    x_ptr,
    data_ptr,
    scale_ptr,
    bias_ptr,
    outer_ptr,
    out_ptr,
    token_ptr,
    offsets_ptr,
    expert_ptr,
    start_ptr,
    N,
    K,
    GROUP,
    CODE: tl.constexpr,
    GATHER: tl.constexpr,
    SCALED: tl.constexpr,
    SCALE_FP8: tl.constexpr,
    BIASED: tl.constexpr,
    OUTER: tl.constexpr,
    COMPUTE: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_K: tl.constexpr,
):
    expert = tl.load(expert_ptr + tl.program_id(1))
    if expert < 0:
        return
    start = tl.load(start_ptr + tl.program_id(1))
    end = tl.load(offsets_ptr + expert + 1)
    rows = start + tl.arange(0, BLOCK_M)
    source = rows
    if GATHER:
        source = tl.load(token_ptr + rows, mask=rows < end, other=0)
    columns = tl.program_id(0) * BLOCK_N + tl.arange(0, BLOCK_N)
    inside = columns < N
    line = expert.to(tl.int64) * N + columns  # the weight's rows, counted through all experts
    x_rows = x_ptr + source.to(tl.int64)[:, None] * K
    total = tl.zeros((BLOCK_M, BLOCK_N), dtype=tl.float32)
    if CODE < 3:
        for first in range(0, K, BLOCK_K):
            at = first + tl.arange(0, BLOCK_K)
            there = at < K
            part = tl.load(x_rows + at[None, :], mask=(rows < end)[:, None] & there[None, :], other=0.0)
            stored = tl.load(
                data_ptr + line[None, :] * K + at[:, None], mask=there[:, None] & inside[None, :], other=0
            )
            values = _e4m3(stored) if CODE == 1 else stored
            if SCALED:
                place = line[None, :] * (K // GROUP) + (at // GROUP)[:, None]
                known = there[:, None] & inside[None, :]
                scale = tl.load(scale_ptr + place, mask=known, other=0)
                values = values.to(tl.float32) * scale.to(tl.float32)
                if BIASED:
                    values = values + tl.load(bias_ptr + place, mask=known, other=0.0).to(tl.float32)
            total = tl.dot(part.to(COMPUTE), values.to(COMPUTE), total, input_precision="ieee")
    else:
        # A byte holds an even element and the odd one after it: two products of half the width.
        for first in range(0, K // 2, BLOCK_K // 2):
            at = first + tl.arange(0, BLOCK_K // 2)
            there = at < K // 2
            known = there[:, None] & inside[None, :]
            stored = tl.load(data_ptr + line[None, :] * (K // 2) + at[:, None], mask=known, other=0)
            place = line[None, :] * (K // GROUP) + (2 * at // GROUP)[:, None]
            raw = tl.load(scale_ptr + place, mask=known, other=0)
            scale = _e4m3(raw) if SCALE_FP8 else raw.to(tl.float32)
            if CODE == 3:
                low = _e2m1(stored & 0xF) * scale
                high = _e2m1(stored >> 4) * scale
            elif BIASED:
                bias = tl.load(bias_ptr + place, mask=known, other=0.0).to(tl.float32)
                low = (stored & 0xF).to(tl.float32) * scale + bias
                high = (stored >> 4).to(tl.float32) * scale + bias
            else:
                low = ((stored & 0xF).to(tl.float32) - 8.0) * scale
                high = ((stored >> 4).to(tl.float32) - 8.0) * scale
            wanted = (rows < end)[:, None] & there[None, :]
            even = tl.load(x_rows + 2 * at[None, :], mask=wanted, other=0.0)
            odd = tl.load(x_rows + 2 * at[None, :] + 1, mask=wanted, other=0.0)
            total = tl.dot(even.to(COMPUTE), low.to(COMPUTE), total, input_precision="ieee")
            total = tl.dot(odd.to(COMPUTE), high.to(COMPUTE), total, input_precision="ieee")
    if OUTER:
        total = total * tl.load(outer_ptr + line, mask=inside, other=0.0)[None, :]
    tl.store(
        out_ptr + rows.to(tl.int64)[:, None] * N + columns[None, :],
        total.to(out_ptr.dtype.element_ty),
        mask=(rows < end)[:, None] & inside[None, :],
    )
