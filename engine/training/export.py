"""Turns a run into a checkpoint: `python -m engine.training.export --run .runs/cooled --to FOLDER`.

Writes config.json, generation_config.json, infill.json, model.safetensors (bfloat16) and training.json, from
which training can go on; the tokenizer is copied from `--tokenizer` unless it lies there already. The
sampler's settings already in the target folder are kept, since they are tuned apart from training.
"""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path

import torch

from engine.checkpoints.config_json import read_sampler_config, write_configs
from engine.checkpoints.weights import save_model
from engine.config import PromptConfig, SamplerConfig
from engine.networks.model import DiffusionGemma
from engine.training.pack import PREFIX_TOKENS, SUFFIX_TOKENS
from engine.training.recipe import SIZES, Recipe, model_config
from engine.training.trainer import TRAINED

FAR_TOKENS = 6000
"""Of the text on either side, how much the n-gram cache looks up; see LOG.md for what it gives."""

NEARBY_TOKENS = 20_000
"""The same of other files."""

BEAMS = 16
"""Along how many beams a line is searched for."""

DEFAULT_SAMPLER = SamplerConfig(
    max_denoising_steps=12,
    entropy_bound=0.5,
    t_min=0.1,
    t_max=0.6,
    stability_threshold=1,
    confidence_threshold=0.02,
)
"""Where tuning starts; see the training recipe."""


def export(run: Path, folder: Path, tokenizer: Path | None) -> DiffusionGemma:
    """Write the checkpoint of `run` to `folder`; returns the model as it will be loaded."""
    saved = torch.load(run / "state.pt", map_location="cpu", weights_only=True)
    recipe = Recipe(**saved["state"]["recipe"])
    model = DiffusionGemma(model_config(vocab=recipe.vocab, **SIZES[recipe.size]))
    model.load_state_dict(saved["model"])
    model = model.to(torch.bfloat16)
    sampler = DEFAULT_SAMPLER
    if (folder / "generation_config.json").exists():
        sampler = read_sampler_config(folder)
    folder.mkdir(parents=True, exist_ok=True)
    prompts = PromptConfig(
        prefix_tokens=PREFIX_TOKENS,
        suffix_tokens=SUFFIX_TOKENS,
        chars_per_token=2.6,
        candidates=4,
        verified_candidates=3,
        verified_tokens=256,
        beams=BEAMS,
        far_tokens=FAR_TOKENS,
        nearby_tokens=NEARBY_TOKENS,
    )
    write_configs(folder, model.config, sampler, prompts)
    save_model(model, folder)
    trained = {name: saved["state"][name] for name in ("batch", "seconds")}
    (folder / TRAINED).write_text(json.dumps(trained) + "\n", encoding="utf-8")
    if tokenizer is not None:
        shutil.copyfile(tokenizer, folder / "tokenizer.json")
    return model


def main() -> int:
    """The command line; see `--help`."""
    parser = argparse.ArgumentParser(prog="python -m engine.training.export", description=__doc__)
    parser.add_argument("--run", type=Path, required=True, help="the run's folder, with its state.pt")
    parser.add_argument("--to", type=Path, required=True, help="the checkpoint's folder")
    parser.add_argument("--tokenizer", type=Path, help="tokenizer.json to copy")
    args = parser.parse_args()
    model = export(args.run, args.to, args.tokenizer)
    parameters = sum(p.numel() for p in model.parameters())
    size = (args.to / "model.safetensors").stat().st_size
    print(f"{parameters / 1e6:.2f}M parameters, {size / 1e6:.1f} MB in {args.to / 'model.safetensors'}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
