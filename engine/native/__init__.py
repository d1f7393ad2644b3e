"""The layers of a dense model in C, where that was built and this processor has the instructions for it.

`layers.c` is compiled when the package is installed, if there is a C compiler; without it the same model runs
as operations of torch (`engine.packed`), slower.
"""

from engine.native.compiled import library, why_not
from engine.native.gemma import NativeGemma, can_run

__all__ = ["NativeGemma", "can_run", "library", "why_not"]
