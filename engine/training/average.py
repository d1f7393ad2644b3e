"""Averages the weights of checkpoints: `python -m engine.training.average A=1 B=1.5 C=1.5 --to FOLDER`.

Checkpoints that one run has gone through, each cooled down, lie in one basin: their mean was better than
each of them in both directions (LOG.md). Configs and the sampler's settings are those of the first, how far
it was trained is that of the furthest.

Source: Wortsman et al., "Model soups", arXiv 2203.05482.
"""

from __future__ import annotations

import argparse
import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from engine.checkpoints.weights import load_model, save_model
from engine.errors import BrokenCheckpoint
from engine.networks.model import DiffusionGemma
from engine.training.trainer import TRAINED

_COPIED = ("config.json", "generation_config.json", "infill.json", "tokenizer.json")


def average(parts: Sequence[tuple[Path, float]], folder: Path) -> DiffusionGemma:
    """Write the weighted mean of the checkpoints of `parts`, each with its weight, to `folder`.

    Raises:
        BrokenCheckpoint: they are not of one shape, or one cannot be loaded.
        ValueError: the weights add up to nothing.
    """
    whole = sum(weight for _, weight in parts)
    if not whole > 0:
        raise ValueError(f"weights that add up to {whole}")
    models = [load_model(path, dtype=torch.float32) for path, _ in parts]
    for (path, _), model in zip(parts, models, strict=True):
        if model.config != models[0].config:
            raise BrokenCheckpoint(f"{path} is not of the same shape as {parts[0][0]}")
    states = [model.state_dict() for model in models]
    mean: dict[str, Tensor] = {
        name: sum(weight * state[name] for (_, weight), state in zip(parts, states, strict=True)) / whole
        for name in states[0]
    }
    models[0].load_state_dict(mean)
    averaged = models[0].to(torch.bfloat16)
    trained = [json.loads((path / TRAINED).read_text(encoding="utf-8")) for path, _ in parts]
    folder.mkdir(parents=True, exist_ok=True)
    for name in _COPIED:
        if folder.resolve() != parts[0][0].resolve():
            shutil.copyfile(parts[0][0] / name, folder / name)
    save_model(averaged, folder)
    furthest = max(trained, key=lambda each: int(each["batch"]))
    (folder / TRAINED).write_text(json.dumps(furthest) + "\n", encoding="utf-8")
    return averaged


def _part(text: str) -> tuple[Path, float]:
    path, _, weight = text.rpartition("=")
    return Path(path), float(weight)


def main() -> int:
    """The command line; see `--help`."""
    parser = argparse.ArgumentParser(prog="python -m engine.training.average", description=__doc__)
    parser.add_argument("parts", nargs="+", type=_part, metavar="FOLDER=WEIGHT", help="checkpoints")
    parser.add_argument("--to", type=Path, required=True, help="the mean's folder")
    args = parser.parse_args()
    model = average(args.parts, args.to)
    print(f"{sum(p.numel() for p in model.parameters()) / 1e6:.2f}M parameters in {args.to}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
