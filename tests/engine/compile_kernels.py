"""Compiles every variant of our kernels for a GPU that is not here, down to machine code; prints each size.

Run as a process of its own, since Triton decides once whether it interprets:

    TRITON_INTERPRET=0 python tests/engine/compile_kernels.py 90
"""

from __future__ import annotations

import sys
from typing import Any

import triton
import triton.language as tl
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from engine.kernels import choice, grouped
from engine.quant.weight import Code

BIASED = (Code.INT4, Code.INT8)


def compile_all(capability: int) -> None:
    """For compute capability 9.0 `capability` is 90."""
    for code in (None, *Code):
        for biased in (False, True) if code in BIASED else (False,):
            tile = grouped.tile_for(code, 16)
            constants = _constants(code, biased=biased, tile=tile)
            types = _types(code, biased=biased) | dict.fromkeys(constants, "constexpr")
            made = triton.compile(
                ASTSource(fn=grouped._kernel, signature=types, constexprs=constants),
                target=GPUTarget("cuda", capability, 32),
                options={"num_warps": tile.warps, "num_stages": tile.stages},
            )
            print(code.value if code else "bf16", biased, len(made.asm["cubin"]), made.metadata.shared)

    for name, kernel, types in (
        ("softcap", choice._softcap, {"raw_ptr": "*bf16", "out_ptr": "*fp32", "count": "i32", "cap": "fp32"}),
        (
            "choose",
            choice._choose,
            {
                "logits_ptr": "*fp32",
                "argmax_ptr": "*i64",
                "confidence_ptr": "*fp32",
                "entropy_ptr": "*fp32",
                "inverse_temperature": "fp32",
                "vocab": "i32",
            },
        ),
        (
            "draw",
            choice._draw,
            {"probabilities_ptr": "*fp32", "uniform_ptr": "*fp32", "drawn_ptr": "*i64", "vocab": "i32"},
        ),
    ):
        made = triton.compile(
            ASTSource(
                fn=kernel, signature=types | {"BLOCK": "constexpr"}, constexprs={"BLOCK": choice._BLOCK}
            ),
            target=GPUTarget("cuda", capability, 32),
            options={"num_warps": choice._WARPS},
        )
        print(name, len(made.asm["cubin"]), made.metadata.shared)


def _constants(code: Code | None, *, biased: bool, tile: grouped.Tile) -> dict[str, Any]:
    return {
        "CODE": grouped._CODES[code],
        "GATHER": True,
        "SCALED": code not in (None, Code.FP8),
        "SCALE_FP8": code is Code.FP4,
        "BIASED": biased,
        "OUTER": code in (Code.FP8, Code.FP4),
        "COMPUTE": tl.bfloat16,
        "BLOCK_M": tile.m,
        "BLOCK_N": tile.n,
        "BLOCK_K": tile.k,
    }


def _types(code: Code | None, *, biased: bool) -> dict[str, str]:
    data = {None: "*bf16", Code.INT8: "*i8"}.get(code, "*u8")
    return {
        "x_ptr": "*bf16",
        "data_ptr": data,
        "scale_ptr": {None: data, Code.FP8: data, Code.FP4: "*u8"}.get(code, "*bf16"),
        "bias_ptr": "*fp32" if biased else data,
        "outer_ptr": "*fp32",
        "out_ptr": "*bf16",
        "token_ptr": "*i64",
        "offsets_ptr": "*i32",
        "expert_ptr": "*i32",
        "start_ptr": "*i32",
        "N": "i32",
        "K": "i32",
        "GROUP": "i32",
    }


if __name__ == "__main__":
    compile_all(int(sys.argv[1]))
