"""Trains the embedded model: `python -m engine.training.train --shards .data/shards --run .runs/trunk`.

The learning rate is constant, so that a run can stop and resume for ever; a second run with `--from` and
`--decay` cools a copy down to zero, and that one is exported and shipped. A run with `--from` and `--peak`
warms a copy up again, cooled down or not, so that nothing a cool-down taught is thrown away; so does one with
`--weights`, where only a shipped checkpoint is left of what went before. Everything needed to go on is in the
run's `state.pt`, written whole or not at all. Progress goes to `log.jsonl`.
"""

from __future__ import annotations

import argparse
import json
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from engine.training.data import Batch, Shards, batches, prefetch
from engine.training.recipe import SIZES, Recipe
from engine.training.trainer import State, Trainer


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
            mistakes=trainer.state.mistakes_now,
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
    parser.add_argument(
        "--weights", type=Path, metavar="FOLDER", help="start from an exported checkpoint, without optimizers"
    )
    parser.add_argument("--decay", type=int, metavar="BATCHES", help="cool down to zero over so many batches")
    parser.add_argument(
        "--peak", type=float, help="warm up again, to this share of the recipe's learning rates"
    )
    parser.add_argument(
        "--mistakes",
        type=float,
        metavar="SHARE",
        help="from here on, so many canvases hold a sampler's mistakes instead of plain noise (0 to 1)",
    )
    parser.add_argument(
        "--causal-share",
        type=float,
        metavar="SHARE",
        help="from here on, so many batches train the causal direction alone (0 to 1)",
    )
    parser.add_argument(
        "--plan",
        type=float,
        metavar="MINUTES",
        help="a whole run, from nothing to cooled down, in so much time; stopping and resuming do not count",
    )
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
    elif args.source is not None or args.weights is not None:
        if args.source is not None:
            trainer.load(args.source)
        else:
            trainer.load_weights(args.weights)
        if args.peak is not None:
            trainer.state.warm_up_again(args.peak)
        if args.decay:
            trainer.state.cool_down(args.decay)
    elif args.plan is not None:
        trainer.state.plan_seconds = 60 * args.plan
    if args.mistakes is not None:
        trainer.state.mistakes = args.mistakes
    if args.causal_share is not None:
        trainer.state.causal_share = args.causal_share
    if trainer.state.recipe != recipe and not args.source:
        print(f"going on with the run's own recipe: {trainer.state.recipe}", flush=True)
    run(trainer, train, held_out, args.run, minutes=args.minutes)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
