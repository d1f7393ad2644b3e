"""Token healing: a canvas must begin with the characters already typed, however they are tokenized.

The user's half word rarely ends where a token does. So nothing is pinned in advance: at every step the
typed bytes are walked from the canvas's start, each position may hold only tokens that agree with what is
left of them, and the position that completes them may run on. Knows nothing of cursors.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from engine.networks.network import OFF
from engine.text.tokenizer import Tokenizer


class Typed:
    """Constrains logits so that each canvas begins with `text`; see `engine.denoising.denoiser.Constrain`."""

    def __init__(self, text: str, tokenizer: Tokenizer) -> None:
        self._wanted = text.encode("utf-8", "replace")
        self._tokenizer, self._pieces = tokenizer, tokenizer.pieces
        self._choices: dict[int, tuple[list[int], list[int]]] = {}
        self._tensors: dict[int, Tensor] = {}

    def __call__(self, logits: Tensor, canvases: Tensor, positions: Tensor) -> Tensor:
        """Turns everything off in `logits` (rows, vocab) that contradicts the text.

        Returns which rows, boolean, have no choice left. The position that completes the text may still
        choose how to go on, and is not among them. Rows of a canvas come in order, from position 0.
        """
        forced = torch.zeros(len(logits), dtype=torch.bool, device=logits.device)
        done = 0
        for row, position in enumerate(positions.tolist()):
            done = 0 if position == 0 else done
            if done < len(self._wanted):
                token, completes = self._narrow(logits[row], done)
                forced[row] = not completes
                done = len(self._wanted) if completes else done + len(self._pieces[token])
        return forced

    def allowed(self, written: Sequence[int]) -> list[int] | None:
        """The ids that may follow `written`, tokens that agree with the text; None where any may."""
        done = 0
        for token in written:
            if done >= len(self._wanted):
                return None
            done += len(self._pieces[token])
        if done >= len(self._wanted):
            return None
        completing, shorter = self._at(done)
        return [*completing, *shorter]

    def _narrow(self, logits: Tensor, done: int) -> tuple[int, bool]:
        """Leave in one position's `logits` (vocab,) what agrees with the text from byte `done` on.

        Returns the likeliest of it, and whether that completes the text. If it does not it is all that is
        left, since the next position goes on from exactly this token.
        """
        completing, shorter = self._at(done)
        if done not in self._tensors:  # every step asks again
            self._tensors[done] = torch.tensor([*completing, *shorter], device=logits.device)
        allowed = self._tensors[done]
        best = int(logits[allowed].argmax())
        completes = best < len(completing)
        keep = allowed[: len(completing)] if completes else allowed[best : best + 1]
        kept = logits[keep]
        logits.fill_(OFF)
        logits[keep] = kept
        return int(allowed[best]), completes

    def _at(self, done: int) -> tuple[list[int], list[int]]:
        """The ids that complete the text from byte `done` on, and those that are a shorter start of it."""
        if done not in self._choices:
            completing, shorter = self._tokenizer.continuing(self._wanted[done:])
            # A line ending with less indentation is another line, not a part of this one's.
            whole = completing and self._wanted[done:].startswith(b"\n")
            self._choices[done] = completing, [] if whole else shorter
        return self._choices[done]
