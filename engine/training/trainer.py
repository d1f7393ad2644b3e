"""A run between two batches: model, optimizers and state, stepped, evaluated, saved and loaded.

Knows nothing of time limits, signals or logs (see `engine.training.train`).
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from engine.checkpoints.weights import load_model
from engine.errors import BrokenCheckpoint
from engine.networks.model import DiffusionGemma
from engine.training.data import CANVAS_AREA, SEQUENCE, Batch, Shards, make_batch
from engine.training.loss import Losses, causal_loss, joint_loss
from engine.training.optimizer import Muon, split_parameters
from engine.training.recipe import SIZES, Recipe, initialise, model_config

TRAINED = "training.json"
"""The file of a checkpoint that says how far it was trained: `batch` and `seconds`."""

_CAUSAL_SHARE, _CONSTANT_SHARE, _MISTAKES_FROM, _MISTAKES = 0.15, 0.55, 0.8, 0.5
"""Shares of a plan's time, and the share of canvases that hold mistakes at its end."""


@dataclass(kw_only=True)
class State:
    """A run between two batches.

    `warm_from` is the batch its warm-up began at and `peak` the share of the recipe's learning rates it
    warms up to; `decay_from` and `decay_batches` describe its cool-down, if it has one. `mistakes` is the
    share of canvases whose noise is what a sampler gets wrong (see `engine.training.data.make_batch`).
    `causal_share` of the batches train the causal direction alone, which takes two thirds of the time and is
    what writes in a model as small as ours; the others train both.

    A run with `plan_seconds` spends just so much time instead, wherever it stops and resumes in between:
    `_CAUSAL_SHARE` of it on the causal direction alone, then both; the learning rates fall from
    `_CONSTANT_SHARE` on, and mistakes come in the last fifth.
    """

    recipe: Recipe
    batch: int = 0
    seconds: float = 0.0
    warm_from: int = 0
    peak: float = 1.0
    decay_from: int | None = None
    decay_batches: int = 0
    mistakes: float = 0.0
    causal_share: float = 0.0
    plan_seconds: float | None = None

    def lr_scale(self) -> float:
        """The learning rates' common factor for the coming batch."""
        warm = self.peak * min(1.0, (self.batch - self.warm_from + 1) / self.recipe.warmup)
        if self.plan_seconds is not None:
            return warm * min(1.0, max(0.0, (1 - self.seconds / self.plan_seconds) / (1 - _CONSTANT_SHARE)))
        if self.decay_from is None:
            return warm
        return warm * max(0.0, 1 - (self.batch - self.decay_from) / self.decay_batches)

    def mistakes_now(self) -> float:
        """The share of canvases that are to hold a sampler's mistakes."""
        if self.plan_seconds is not None and self.seconds < _MISTAKES_FROM * self.plan_seconds:
            return 0.0
        return self.mistakes if self.plan_seconds is None else _MISTAKES

    def cool_down(self, batches: int) -> None:
        """Let the learning rates fall to zero over the coming `batches`."""
        self.decay_from, self.decay_batches = self.batch, batches

    def warm_up_again(self, peak: float) -> None:
        """Go on after a cool-down, or at another learning rate: up to `peak`, then constant."""
        self.warm_from, self.peak = self.batch, peak
        self.decay_from, self.decay_batches = None, 0

    def causal_only(self) -> bool:
        """Whether the coming batch trains the causal direction alone."""
        if self.plan_seconds is not None:
            return self.seconds < _CAUSAL_SHARE * self.plan_seconds
        if self.batch < self.recipe.causal_batches:
            return True
        # Spread evenly: the batches at which the running total of the share passes a whole number.
        return int((self.batch + 1) * self.causal_share) > int(self.batch * self.causal_share)

    def finished(self) -> bool:
        """Whether the plan's time is up or the cool-down has reached zero; other runs end when told to."""
        if self.plan_seconds is not None:
            return self.seconds >= self.plan_seconds
        return self.decay_from is not None and self.batch >= self.decay_from + self.decay_batches


class Trainer:
    """Model, optimizers and state, and the loss functions with the weights cast for computing."""

    def __init__(self, recipe: Recipe, *, device: str, compiled: bool) -> None:
        self.state = State(recipe=recipe)
        self.device = torch.device(device)
        torch.manual_seed(recipe.seed)
        self.model = initialise(DiffusionGemma(model_config(vocab=recipe.vocab, **SIZES[recipe.size]))).to(
            self.device
        )
        assert self.model.config.sliding_window >= SEQUENCE + CANVAS_AREA  # the loss applies no window
        matrices, embedding, vectors = split_parameters(self.model)
        self.muon = Muon(matrices, lr=recipe.muon_lr)
        self.adam = torch.optim.AdamW(
            [
                {"params": embedding, "lr": recipe.embedding_lr},
                {"params": vectors, "lr": recipe.vector_lr},
            ],
            betas=(0.9, 0.95),
            weight_decay=0.0,
        )
        self.base_lrs = [group["lr"] for group in self._groups()]
        make = torch.compile if compiled else _uncompiled
        self.causal = make(_in_bfloat16(self.model, causal_loss), dynamic=False)
        self.joint = make(_in_bfloat16(self.model, joint_loss), dynamic=False)

    def step(self, batch: Batch) -> dict[str, float]:
        """One optimizer step; returns the losses in nats per token, `denoising` only where it was trained."""
        recipe, index = self.state.recipe, self.state.batch
        for group, lr in zip(self._groups(), self.base_lrs, strict=True):
            group["lr"] = lr * self.state.lr_scale()
        batch = to_device(batch, self.device)
        alone = self.state.causal_only()
        if alone:
            losses: Losses = self.causal(batch)
        else:
            draw = np.random.default_rng([recipe.seed, 2, index]).random()
            losses = self.joint(batch, conditioned=bool(draw < recipe.conditioned_share))
        causal = recipe.causal_weight * losses.causal + recipe.middle_weight * losses.middle
        (losses.denoising + causal).backward()
        out = {name: value.item() for name, value in vars(losses).items()}
        if alone:
            del out["denoising"]
        nn.utils.clip_grad_norm_(self.model.parameters(), recipe.clip)
        for optimizer in (self.muon, self.adam):
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        self.state.batch += 1
        return out

    @torch.no_grad()
    def evaluate(self, shards: Shards, rows: int = 96) -> dict[str, float]:
        """Losses on the same held-out examples every time, the denoising one by noise level."""
        out: dict[str, list[float]] = {}
        for noise in (0.15, 0.5, 0.85, 1.0):
            rng = np.random.default_rng(0)
            for first in range(0, min(rows, len(shards)), self.state.recipe.rows):
                chosen = np.arange(first, first + self.state.recipe.rows) % len(shards)
                batch = make_batch(
                    shards, chosen, self.state.recipe.vocab, rng, 1.0, noise=noise, canvas_tokens=32
                )
                losses: Losses = self.joint(to_device(batch, self.device), conditioned=False)
                out.setdefault(f"denoising@{noise}", []).append(losses.denoising.item())
                out.setdefault("causal", []).append(losses.causal.item())
                out.setdefault("middle", []).append(losses.middle.item())
        return {name: float(np.mean(values)) for name, values in out.items()}

    def save(self, folder: Path) -> None:
        """Write `state.pt`, whole or not at all."""
        folder.mkdir(parents=True, exist_ok=True)
        partial = folder / "state.pt.partial"
        torch.save(
            {
                "model": self.model.state_dict(),
                "muon": self.muon.state_dict(),
                "adam": self.adam.state_dict(),
                "state": {**asdict(self.state), "recipe": asdict(self.state.recipe)},
            },
            partial,
        )
        os.replace(partial, folder / "state.pt")

    def load(self, folder: Path) -> None:
        """Go on from `folder`'s `state.pt`."""
        saved: dict[str, Any] = torch.load(folder / "state.pt", map_location=self.device, weights_only=True)
        self.model.load_state_dict(saved["model"])
        self.muon.load_state_dict(saved["muon"])
        self.adam.load_state_dict(saved["adam"])
        self.state = State(**{**saved["state"], "recipe": Recipe(**saved["state"]["recipe"])})

    def load_weights(self, folder: Path) -> None:
        """Start from the checkpoint in `folder`, as `engine.training.export` writes it, with new optimizers.

        Its training.json says how far it was trained, so that the data goes on where it stopped. Raises
        BrokenCheckpoint where the weights are not those of the recipe's model.
        """
        weights = load_model(folder, dtype=torch.float32).state_dict()
        try:
            trained = json.loads((folder / TRAINED).read_text(encoding="utf-8"))
            self.model.load_state_dict(weights)
        except (OSError, ValueError, RuntimeError) as error:
            raise BrokenCheckpoint(f"training cannot go on from {folder}: {error}") from error
        self.state.batch, self.state.seconds = trained["batch"], trained["seconds"]

    def _groups(self) -> list[dict[str, Any]]:
        return [*self.muon.param_groups, *self.adam.param_groups]


def to_device(batch: Batch, device: torch.device) -> Batch:
    """`batch` with its tensors on `device`."""
    if device.type == "cpu":
        return batch
    return replace(batch, **{name: value.to(device) for name, value in vars(batch).items()})


def _in_bfloat16(model: DiffusionGemma, loss: Callable[..., Any]) -> Callable[..., Any]:
    """`loss` with all but the norms rounded to bfloat16; gradients reach the float32 masters."""

    class Call(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, *args: Any, **kwargs: Any) -> Any:
            return loss(self.model, *args, **kwargs)

    call = Call()

    def cast(*args: Any, **kwargs: Any) -> Any:
        tensors = [*call.named_parameters(), *call.named_buffers()]
        weights: dict[str, Tensor] = {
            name: tensor if "norm" in name else tensor.bfloat16() for name, tensor in tensors
        }
        return torch.func.functional_call(call, weights, args, kwargs)

    return cast


def _uncompiled(function: Callable[..., Any], *, dynamic: bool) -> Callable[..., Any]:
    return function
