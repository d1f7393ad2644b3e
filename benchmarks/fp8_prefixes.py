"""What keeping prefixes in fp8 changes: the denoiser's distributions with and without, on Python files.

    python benchmarks/fp8_prefixes.py FOLDER

A row for each way to keep a prefix, against float32: the mean and the largest divergence of a canvas in nats
a token, and how many of the likeliest tokens stay what they are. Each file of the folder gives its first 200
tokens as the prefix and the 32 behind them as the canvas, on the embedded model. Ends with one JSON line.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch
from torch import Tensor

from engine.caches.prefix import PrefixCache, encode_prefix, over_cache
from engine.checkpoints.hub import EMBEDDED
from engine.checkpoints.open_tokenizer import open_tokenizer
from engine.checkpoints.weights import load_model
from engine.networks.model import DiffusionGemma
from infill.evaluate.holes import read_python

PREFIX, CANVAS = 200, 32
KEPT = {"bfloat16": torch.bfloat16, "fp8": torch.float8_e4m3fn}


def main() -> None:
    """Print a table, and one JSON line."""
    parser = argparse.ArgumentParser(description="What keeping prefixes in fp8 changes.")
    parser.add_argument("folder", type=Path, help="Python files the model was not trained on")
    folder: Path = parser.parse_args().folder
    model, tokenizer = load_model(EMBEDDED, dtype=torch.float32), open_tokenizer(EMBEDDED)
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in KEPT}
    for _, text in read_python(folder):
        tokens = tokenizer.encode(text[: 24 * (PREFIX + CANVAS)])[: PREFIX + CANVAS]
        if len(tokens) < PREFIX + CANVAS:
            continue
        exact = log_probabilities(model, tokens, None)
        for name, kept in KEPT.items():
            other = log_probabilities(model, tokens, kept)
            divergence = (exact.exp() * (exact - other)).sum(-1).mean()
            same = (exact.argmax(-1) == other.argmax(-1)).float().mean()
            found[name].append((float(divergence), float(same)))
    if not all(found.values()):
        parser.error(f"no file of {folder} has {PREFIX + CANVAS} tokens")
    print("| kept in | canvases | divergence | largest | likeliest token the same |\n|---|---|---|---|---|")
    report = {}
    for name, rows in found.items():
        divergences, shares = zip(*rows, strict=True)
        mean, largest, same = sum(divergences) / len(rows), max(divergences), sum(shares) / len(rows)
        report[name] = {"divergence": mean, "largest": largest, "same": same}
        print(f"| {name} | {len(rows)} | {mean:.2g} | {largest:.2g} | {same:.1%} |")
    print(json.dumps({"benchmark": "fp8-prefixes", "canvases": len(rows), **report}))


@torch.inference_mode()
def log_probabilities(model: DiffusionGemma, tokens: list[int], kept: torch.dtype | None) -> Tensor:
    """What the denoiser makes of the last tokens behind the others, kept so: (1, canvas, vocab)."""
    cache = PrefixCache(model.config, dtype=model.dtype, device=model.device, kept=kept)
    encode_prefix(model, cache, tokens[:PREFIX])
    positions = torch.arange(PREFIX, PREFIX + CANVAS)[None]
    states = model.denoise(torch.tensor([tokens[PREFIX:]]), positions, over_cache(cache), None)
    return model.logits(states).log_softmax(-1)


if __name__ == "__main__":
    main()
