"""Triton kernels for a GPU: products by weights grouped by expert, and what lies behind the layers.

Importing its modules imports Triton; importing this does not.
"""

from __future__ import annotations

from functools import cache
from importlib.util import find_spec

import torch
from torch import Tensor


def can_run(x: Tensor) -> bool:
    """Whether kernels run where `x` is, and nothing is to be differentiated."""
    return x.is_cuda and not torch.is_grad_enabled() and _has_triton()


@cache
def _has_triton() -> bool:
    return find_spec("triton") is not None
