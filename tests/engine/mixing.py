"""A distribution mixed with what followed before, for tests that compare whole distributions."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from engine.causal.ngram_cache import Continuations, mixture


def interpolate(probabilities: NDArray[np.float32], continuations: Continuations) -> None:
    """Mix a next-token distribution (vocab,) in place."""
    share, added = mixture(continuations)
    probabilities *= share
    for token, probability in added.items():
        probabilities[token] += probability
