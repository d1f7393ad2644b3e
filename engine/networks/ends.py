"""What lies before and behind a dense model's layers, for a CPU: embeddings, self-conditioning, logits.

Two ways to run the layers in between share it: `engine.networks.packed` and `engine.native`. Knows nothing of
them, nor of caches, sampling or files.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
import torch.nn.functional as F
from torch import Tensor

from engine.networks.attention import Attend
from engine.networks.model import DiffusionGemma


class Ends(ABC):
    """A `DiffusionGemma` to be run, not trained; see `engine.networks.network.Network`.

    `dtype` is that of keys and values, and of the matrices here; the residual stream is float32. The final
    states that `encode` and `denoise` return lack the last norm's weight, which `logits` has in its matrix.
    """

    def __init__(self, model: DiffusionGemma, dtype: torch.dtype) -> None:
        config = model.config
        embedding = model.embed_tokens.weight.detach().float()
        self.config = config
        self.dtype = self.kept_dtype = dtype
        self.device = embedding.device
        self.size = sum(p.numel() for p in model.parameters())
        self._embedding = embedding * config.hidden_size**0.5
        self._eps = torch.tensor(config.rms_norm_eps, device=self.device)
        self._ids = config.vocab_size

    def use_ids(self, count: int) -> None:
        """See `engine.networks.network.Network`."""
        self._ids = count

    @abstractmethod
    def logits(self, states: Tensor) -> Tensor:
        """Soft-capped float32 logits (…, vocab) of final states (…, hidden)."""

    @abstractmethod
    def mean_embed(self, probabilities: Tensor) -> Tensor:
        """The mean embedding (rows, hidden) under `probabilities` (rows, vocab)."""

    @abstractmethod
    def _mixed(self, x: Tensor) -> Tensor:
        """What self-conditioning adds to the canvas for soft embeddings `x` (rows, hidden), which are normed
        but for their norm's weight."""

    @abstractmethod
    def _run(self, x: Tensor, positions: Tensor, attend: Attend, *, encoder: bool) -> Tensor:
        """All layers over `x` (b, n, hidden), which may be used up, and the last norm without its weight."""

    def encode(self, ids: Tensor, positions: Tensor, attend: Attend) -> Tensor:
        """Run the encoder over `ids` (b, n) at `positions` (1 or b, n), consecutive in each row: states
        (b, n, hidden)."""
        return self._run(F.embedding(ids, self._embedding), positions, attend, encoder=True)

    def denoise(self, canvas: Tensor, positions: Tensor, attend: Attend, soft: Tensor | None) -> Tensor:
        """Run the denoiser over `canvas` (b, n) at `positions` (1 or b, n), consecutive in each row: states
        (b, n, hidden)."""
        x = F.embedding(canvas, self._embedding)
        if soft is not None:
            flat = soft.reshape(-1, soft.shape[-1]).float()
            x = x + self._mixed(self._norm(flat)).view_as(x)
        return self._run(self._norm(x), positions, attend, encoder=False)

    def embed(self, ids: Tensor) -> Tensor:
        """Scaled embeddings of `ids`: float32, with one more dimension."""
        return F.embedding(ids, self._embedding)

    def _norm(self, x: Tensor) -> Tensor:
        return x * inverse_rms(x, self._eps)


def inverse_rms(x: Tensor, eps: Tensor) -> Tensor:
    """1 over the root mean square of the last dimension of `x` float32, which stays as size 1; `eps` ()."""
    length = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
    return torch.addcmul(eps, length, length, value=1 / x.shape[-1]).rsqrt_()
