"""Trains the embedded model: `python -m engine.training.train --shards .data/shards --run .runs/trunk`.

The learning rate is constant, so that a run can stop and resume for ever; a short second run with
`--from` and `--decay` cools a copy down to zero, and that one is exported and shipped. Everything needed
to go on is in the run's `state.pt`, written whole or not at all. Progress goes to `log.jsonl`.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from engine.config import LayerConfig, ModelConfig
from engine.model import DiffusionGemma
from engine.training.data import CANVAS_AREA, SEQUENCE, Batch, Shards, batches, make_batch, prefetch
from engine.training.loss import Losses, causal_loss, joint_loss
from engine.training.optimizer import Muon, split_parameters


def _layer(*, sliding: bool) -> LayerConfig:
    return LayerConfig(
        sliding=sliding,
        head_dim=128,
        kv_heads=1,
        rope_theta=10_000.0 if sliding else 1_000_000.0,
        rotated_fraction=1.0 if sliding else 0.25,
        proportional_rope=not sliding,
    )


def model_config(*, hidden: int, layers: int, heads: int, dense: int, expert: int, vocab: int) -> ModelConfig:
    """A small DiffusionGemma: one expert with top-1, so the experts are dense; every sixth layer full."""
    return ModelConfig(
        vocab_size=vocab,
        hidden_size=hidden,
        intermediate_size=dense,
        num_attention_heads=heads,
        num_experts=1,
        top_k_experts=1,
        moe_intermediate_size=expert,
        sliding_window=1024,
        layers=tuple(_layer(sliding=i % 6 != 5 and i != layers - 1) for i in range(layers)),
        canvas_length=64,
        max_position_embeddings=4096,
    )


SIZES: dict[str, dict[str, int]] = {
    "6m": {"hidden": 256, "layers": 6, "heads": 2, "dense": 512, "expert": 256},
    "20m": {"hidden": 384, "layers": 10, "heads": 3, "dense": 704, "expert": 320},
    "40m": {"hidden": 512, "layers": 12, "heads": 4, "dense": 960, "expert": 448},
    "tiny": {"hidden": 64, "layers": 2, "heads": 1, "dense": 64, "expert": 32},
}


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """What may not change while a run goes on, except `lr_scale`; saved with its state.

    `causal_batches` is how many batches train the causal direction alone before both are trained.
    """

    size: str = "6m"
    vocab: int = 4096
    rows: int = 32
    seed: int = 0
    muon_lr: float = 0.02
    embedding_lr: float = 3e-3
    vector_lr: float = 1e-3
    warmup: int = 100
    causal_batches: int = 500
    causal_weight: float = 1.0
    clean_weight: float = 0.5
    conditioned_share: float = 0.5
    clip: float = 1.0


@dataclass(kw_only=True)
class State:
    """A run between two batches; `decay_from` and `decay_batches` describe its cool-down, if it has one."""

    recipe: Recipe
    batch: int = 0
    seconds: float = 0.0
    decay_from: int | None = None
    decay_batches: int = 0

    def lr_scale(self) -> float:
        """The learning rates' common factor for the coming batch."""
        warm = min(1.0, (self.batch + 1) / self.recipe.warmup)
        if self.decay_from is None:
            return warm
        return warm * max(0.0, 1 - (self.batch - self.decay_from) / self.decay_batches)

    def finished(self) -> bool:
        """Whether the cool-down has reached zero; a run without one never ends by itself."""
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
        """One optimizer step; returns the losses in nats per token."""
        recipe, index = self.state.recipe, self.state.batch
        for group, lr in zip(self._groups(), self.base_lrs, strict=True):
            group["lr"] = lr * self.state.lr_scale()
        batch = to_device(batch, self.device)
        if index < recipe.causal_batches:
            causal = self.causal(batch)
            causal.backward()
            out = {"causal": causal.item()}
        else:
            draw = np.random.default_rng([recipe.seed, 2, index]).random()
            losses: Losses = self.joint(batch, conditioned=bool(draw < recipe.conditioned_share))
            (losses.denoising + recipe.causal_weight * losses.causal).backward()
            out = {"causal": losses.causal.item(), "denoising": losses.denoising.item()}
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

    def _groups(self) -> list[dict[str, Any]]:
        return [*self.muon.param_groups, *self.adam.param_groups]


def initialise(model: DiffusionGemma) -> DiffusionGemma:
    """Random weights for training from nothing.

    Norms behind attention and feed-forward start low, so that the residual stream starts near the
    embedding; query and key norms start where products of queries and keys have a spread of about one.
    """
    depth = len(model.layers)
    for name, parameter in model.named_parameters():
        if "embed_tokens" in name:
            nn.init.normal_(parameter, std=0.02)
        elif name.endswith(("q_norm.weight", "k_norm.weight")):
            nn.init.constant_(parameter, parameter.shape[0] ** -0.25)
        elif name.endswith(("post_attention_layernorm.weight", "post_feedforward_layernorm.weight")):
            nn.init.constant_(parameter, (2 * depth) ** -0.5)
        elif parameter.ndim >= 2:
            nn.init.normal_(parameter, std=parameter.shape[-1] ** -0.5)
    return model


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


def run(trainer: Trainer, train: Shards, held_out: Shards, folder: Path, *, minutes: float) -> None:
    """Train until the time is up, the cool-down is over or the process is asked to stop; then save."""
    asked = False

    def ask(_signal: int, _frame: object) -> None:
        nonlocal asked
        asked = True

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, ask)
    recipe = trainer.state.recipe
    source: Iterator[Batch] = prefetch(
        batches(
            train,
            recipe.rows,
            recipe.vocab,
            seed=recipe.seed,
            first_batch=trainer.state.batch,
            clean_weight=recipe.clean_weight,
        )
    )
    log = Log(folder, recipe.rows)
    began = mark = saved = time.monotonic()
    while not asked and not trainer.state.finished() and time.monotonic() - began < 60 * minutes:
        log.add(trainer.step(next(source)))
        now = time.monotonic()
        trainer.state.seconds += now - mark
        mark = now
        if trainer.state.batch % 20 == 0:
            log.train(trainer.state)
        if trainer.state.batch % 500 == 0:
            log.write("held out", trainer.state, trainer.evaluate(held_out))
        if now - saved > 300:
            trainer.save(folder)
            saved = now
    trainer.save(folder)
    log.write("held out", trainer.state, trainer.evaluate(held_out))


class Log:
    """A run's `log.jsonl`: one object a line, means over the batches since the last one."""

    def __init__(self, folder: Path, rows: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.path, self.rows = folder / "log.jsonl", rows
        self.window: list[dict[str, float]] = []
        self.since = time.monotonic()

    def add(self, losses: dict[str, float]) -> None:
        """Remember one batch's losses."""
        self.window.append(losses)

    def train(self, state: State) -> None:
        """Write the means since the last call and the speed."""
        now = time.monotonic()
        names = sorted({name for entry in self.window for name in entry})
        values = {n: float(np.mean([entry[n] for entry in self.window if n in entry])) for n in names}
        values["sequences_per_second"] = self.rows * len(self.window) / (now - self.since)
        self.window, self.since = [], now
        self.write("train", state, values)

    def write(self, kind: str, state: State, values: dict[str, float]) -> None:
        """Append one line, and show it."""
        line: dict[str, Any] = {"kind": kind, "batch": state.batch, "hours": round(state.seconds / 3600, 4)}
        line.update({name: round(value, 4) for name, value in values.items()})
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
        print(line, flush=True)


def main() -> int:
    """The command line; see `--help`."""
    parser = argparse.ArgumentParser(prog="python -m engine.training.train", description=__doc__)
    parser.add_argument("--shards", type=Path, required=True, help="folder of train-*.npz and heldout-*.npz")
    parser.add_argument(
        "--run", type=Path, required=True, help="folder of the run; resumed if it has a state"
    )
    parser.add_argument("--from", type=Path, dest="source", help="start from a copy of this run's state")
    parser.add_argument("--decay", type=int, metavar="BATCHES", help="cool down to zero over so many batches")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="stop and save after so long")
    parser.add_argument("--size", choices=SIZES, default=Recipe.size)
    parser.add_argument("--rows", type=int, default=Recipe.rows, help="sequences in a batch")
    parser.add_argument("--causal-batches", type=int, default=Recipe.causal_batches)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--no-compile", dest="compiled", action="store_false")
    args = parser.parse_args()
    recipe = Recipe(size=args.size, rows=args.rows, causal_batches=args.causal_batches)
    train = Shards(sorted(args.shards.glob("train-*.npz")))
    held_out = Shards(sorted(args.shards.glob("heldout-*.npz")))
    trainer = Trainer(recipe, device=args.device, compiled=args.compiled)
    if (args.run / "state.pt").exists():
        trainer.load(args.run)
    elif args.source is not None:
        trainer.load(args.source)
        if args.decay:
            trainer.state.decay_from, trainer.state.decay_batches = trainer.state.batch, args.decay
    if trainer.state.recipe != recipe and not args.source:
        print(f"going on with the run's own recipe: {trainer.state.recipe}", flush=True)
    run(trainer, train, held_out, args.run, minutes=args.minutes)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
