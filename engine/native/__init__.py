"""The layers of a dense model in C, where that was built and this processor has the instructions for it.

`layers.c` is compiled when the package is installed, if there is a C compiler; without it the same model runs
as operations of torch (`engine.networks.packed`), slower. Neither this
nor `engine.native.matches` imports torch.
"""

from engine.native.compiled import library, why_not

__all__ = ["library", "why_not"]
