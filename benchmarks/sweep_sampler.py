"""Tries sampler settings on holes of a folder, side by side on the same holes; prints a table and JSON.

For choosing what goes into generation_config.json. Use folders that training held out and that do not
judge us: the corpus manifest's `heldout` packages, unpacked. Never HumanEval, nor a reserved package.

    python benchmarks/sweep_sampler.py FOLDER [--checkpoint DIR] [--limit N] [--steps 8 12 16] …
"""

from __future__ import annotations

import argparse
import itertools
import json
import shutil
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

from engine.checkpoints.config_json import (
    read_model_config,
    read_prompt_config,
    read_sampler_config,
    write_configs,
)
from engine.checkpoints.hub import EMBEDDED
from engine.config import SamplerConfig
from engine.inprocess import InProcessEngine, load_engine
from engine.request import Decoding, Engine
from infill.evaluate.holes import Hole, cut_holes
from infill.evaluate.metrics import edit_similarity, mean, percentile
from infill.evaluate.score import fill_hole


def main() -> int:
    """Score every combination; the best exact match comes last."""
    parser = argparse.ArgumentParser(description="Try sampler settings on held-out holes.")
    parser.add_argument("directory", type=Path)
    parser.add_argument("--checkpoint", type=Path, default=EMBEDDED)
    parser.add_argument("--limit", type=int, default=80, help="holes, a quarter of each kind")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, nargs="+", default=[8, 12, 16])
    parser.add_argument("--bound", type=float, nargs="+", default=[0.1, 0.3, 1.0])
    parser.add_argument("--t-max", type=float, nargs="+", default=[0.6])
    parser.add_argument("--t-min", type=float, nargs="+", default=[0.1])
    parser.add_argument("--candidates", type=int, nargs="+", default=[1])
    parser.add_argument("--confidence", type=float, nargs="+", default=[0.02])
    arguments = parser.parse_args()
    holes = cut_holes(arguments.directory, arguments.limit, arguments.seed)
    rows = []
    for steps, bound, t_max, t_min, confidence, candidates in itertools.product(
        arguments.steps,
        arguments.bound,
        arguments.t_max,
        arguments.t_min,
        arguments.confidence,
        arguments.candidates,
    ):
        sampler = replace(
            read_sampler_config(arguments.checkpoint),
            max_denoising_steps=steps,
            entropy_bound=bound,
            t_max=t_max,
            t_min=t_min,
            confidence_threshold=confidence,
        )
        engine = with_sampler(arguments.checkpoint, sampler)
        setting = {"steps": steps, "bound": bound, "t_max": t_max, "t_min": t_min, "stop": confidence}
        row = score(engine, holes, arguments.seed, candidates)
        rows.append({**setting, "candidates": candidates, **row})
        print(rows[-1], file=sys.stderr, flush=True)
    rows.sort(key=lambda row: (row["exact"], row["similarity"]))
    names = list(rows[0])
    print("| " + " | ".join(names) + " |\n|" + "---|" * len(names))
    for row in rows:
        print("| " + " | ".join(str(row[name]) for name in names) + " |")
    print(json.dumps({"directory": arguments.directory.name, "holes": len(holes), "rows": rows}))
    return 0


def with_sampler(checkpoint: Path, sampler: SamplerConfig) -> InProcessEngine:
    """The checkpoint's model with other sampler settings."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder)
        for name in ("model.safetensors", "tokenizer.json"):
            shutil.copyfile(checkpoint / name, copy / name)
        write_configs(copy, read_model_config(checkpoint), sampler, read_prompt_config(checkpoint))
        return load_engine(str(copy))


def score(engine: Engine, holes: list[Hole], seed: int, candidates: int) -> dict[str, float]:
    """Over all holes, as a user would get them if all were denoised: a model that writes better left to right
    would not ask its sampler. A rejected one counts as left empty."""
    fill_hole(engine, holes[0], seed, decoding=Decoding.DENOISE)  # the first fill pays for warming up
    fills = [fill_hole(engine, hole, seed, candidates, Decoding.DENOISE) for hole in holes]
    lines = [fill for fill in fills if fill.hole.kind == "line"]
    return {
        "exact": round(mean([fill.middle.strip() == fill.hole.gold.strip() for fill in fills]), 4),
        "exact_line": round(mean([fill.middle.strip() == fill.hole.gold.strip() for fill in lines]), 4),
        "similarity": round(mean([edit_similarity(fill.middle, fill.hole.gold) for fill in fills]), 4),
        "parse": round(mean([fill.parses for fill in fills if fill.rejected is None]), 4),
        "rejected": round(mean([fill.rejected is not None for fill in fills]), 4),
        "steps_mean": round(mean([fill.steps for fill in fills]), 2),
        "ms_p50": round(percentile([fill.elapsed_ms for fill in fills], 0.5), 1),
    }


if __name__ == "__main__":
    sys.exit(main())
