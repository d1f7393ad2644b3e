"""Compiles every variant of our kernels for GPUs that are not here, down to machine code; prints each size.

Run as a process of its own, since Triton decides once whether it interprets.
"""

from __future__ import annotations

import sys

import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from engine.kernels.grouped import kernel_for_compiling, tile_for
from engine.quant.weight import Code

BIASED = (Code.INT4, Code.INT8)


def compile_all(capability: int) -> None:
    for code in (None, *Code):
        for biased in (False, True) if code in BIASED else (False,):
            kernel, signature, constants = kernel_for_compiling(code, biased=biased)
            tile = tile_for(code, 16)
            constants |= {"BLOCK_M": tile.m, "BLOCK_N": tile.n, "BLOCK_K": tile.k}
            source = ASTSource(fn=kernel, signature=signature, constexprs=constants)
            made = triton.compile(
                source,
                target=GPUTarget("cuda", capability, 32),
                options={"num_warps": tile.warps, "num_stages": tile.stages},
            )
            print(code.value if code else "bf16", biased, len(made.asm["cubin"]), made.metadata.shared)


if __name__ == "__main__":
    compile_all(int(sys.argv[1]))
