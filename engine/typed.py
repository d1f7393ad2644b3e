"""Token healing: a canvas must begin with the characters already typed, however they are tokenized.

The user's half word rarely ends where a token does. So nothing is pinned in advance: at every step the
typed bytes are walked from the canvas's start, each position may hold only tokens that agree with what is
left of them, and the position that completes them may run on. Knows nothing of cursors.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from engine.sampler import allow_only_ids
from engine.tokenizer import Tokenizer


class Typed:
    """Constrains logits (batch, canvas, vocab) so that each canvas begins with `text`."""

    def __init__(self, text: str, tokenizer: Tokenizer) -> None:
        self._wanted = text.encode("utf-8", "replace")
        self._tokenizer = tokenizer
        self._choices: dict[int, tuple[list[int], list[int]]] = {}

    def __call__(self, logits: Tensor) -> tuple[Tensor, Tensor]:
        """`logits` with everything off that contradicts the text, and which positions have no choice left.

        The position that completes the text may still choose how to go on; the second result, boolean
        (batch, canvas), leaves it out.
        """
        out = logits.clone()
        forced = torch.zeros(logits.shape[:-1], dtype=torch.bool, device=logits.device)
        for canvas, settled in zip(out, forced, strict=True):
            done = 0
            for position in range(canvas.shape[0]):
                if done == len(self._wanted):
                    break
                completing, shorter = self._at(done)
                allowed = completing + shorter
                best = allowed[int(canvas[position, allowed].argmax())]
                if best in shorter:  # the next position goes on from exactly this token
                    canvas[position] = allow_only_ids(canvas[position], [best])
                    settled[position] = True
                    done += len(self._tokenizer.pieces[best])
                else:
                    canvas[position] = allow_only_ids(canvas[position], completing)
                    done = len(self._wanted)
        return out, forced

    def allowed(self, written: Sequence[int]) -> list[int] | None:
        """The ids that may follow `written`, tokens that agree with the text; None where any may."""
        done = sum(len(self._tokenizer.pieces[token]) for token in written)
        if done >= len(self._wanted):
            return None
        completing, shorter = self._at(done)
        return completing + shorter

    def _at(self, done: int) -> tuple[list[int], list[int]]:
        if done not in self._choices:
            completing, shorter = self._tokenizer.continuing(self._wanted[done:])
            # A line ending with less indentation is another line, not a part of this one's.
            whole = completing and self._wanted[done:].startswith(b"\n")
            self._choices[done] = (completing, [] if whole else shorter)
        return self._choices[done]
