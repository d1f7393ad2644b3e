"""One cold fill, ours against `transformers`' own `generate()`: same weights, prompt, sampler and draws.

    python benchmarks/against_transformers.py [--rounds 5] [--prompt 300] [--canvas 256] [--steps 12]

Both are timed in turns; `transformers` in bfloat16, ours as it runs on this machine, once with the
reference's draws and once with our own. Ends with one JSON line; the ratio is the median over rounds.
"""

from __future__ import annotations

import argparse
import json
import statistics
import threading
import time
from collections.abc import Callable
from dataclasses import replace

import torch
from transformers import DiffusionGemmaForBlockDiffusion
from transformers.models.diffusion_gemma.generation_diffusion_gemma import (
    DiffusionGemmaGenerationConfig,
    EntropyBoundSamplerConfig,
)

from engine.cache import PrefixCache, encode_prefix
from engine.config_json import read_sampler_config
from engine.denoiser import Plan, denoise
from engine.hub import resolve
from engine.inprocess import load_engine
from engine.sampler import Draw, draw_by_inversion, draw_like_reference


def main() -> None:
    """Parse the arguments, time both, print the line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--prompt", type=int, default=300, help="prompt tokens")
    parser.add_argument("--canvas", type=int, default=256, help="canvas tokens")
    parser.add_argument("--steps", type=int, default=12)
    arguments = parser.parse_args()
    engine = load_engine(None)
    folder = resolve(None, lambda _line: None)
    reference = DiffusionGemmaForBlockDiffusion.from_pretrained(folder, dtype=torch.bfloat16).eval()
    reference.config.canvas_length = arguments.canvas
    generator = torch.Generator().manual_seed(0)
    prompt = torch.randint(16, 4096, (arguments.prompt,), generator=generator).tolist()
    # No early stop: both run every step.
    sampler = replace(
        read_sampler_config(folder), max_denoising_steps=arguments.steps, confidence_threshold=None
    )
    network = engine._network

    def theirs() -> None:
        torch.manual_seed(0)
        reference.generate(
            torch.tensor([prompt]),
            generation_config=DiffusionGemmaGenerationConfig(
                max_new_tokens=arguments.canvas,
                max_denoising_steps=sampler.max_denoising_steps,
                sampler_config=EntropyBoundSamplerConfig(entropy_bound=sampler.entropy_bound),
                t_min=sampler.t_min,
                t_max=sampler.t_max,
                stability_threshold=1,
                confidence_threshold=1e-9,
            ),
        )

    def ours(draw: Draw) -> Callable[[], None]:
        def run() -> None:
            cache = PrefixCache(network.config, dtype=network.dtype, device=network.device)
            with torch.inference_mode():
                encode_prefix(network, cache, prompt)
            plan = Plan(length=arguments.canvas, draw=draw)
            for _ in denoise(network, cache, sampler, plan, threading.Event()):
                pass

        return run

    rows = {
        "transformers": theirs,
        "ours, its draws": ours(draw_like_reference),
        "ours": ours(draw_by_inversion),
    }
    wall: dict[str, list[float]] = {name: [] for name in rows}
    cpu: dict[str, list[float]] = {name: [] for name in rows}
    for turn in range(arguments.rounds + 1):
        for name, row in rows.items():
            began, used = time.perf_counter(), time.process_time()
            row()
            if turn:  # the first warms up
                wall[name].append(1e3 * (time.perf_counter() - began))
                cpu[name].append(1e3 * (time.process_time() - used))
    print(json.dumps(_report(wall, cpu, vars(arguments), str(network.dtype))))


def _report(
    wall: dict[str, list[float]], cpu: dict[str, list[float]], arguments: dict[str, int], dtype: str
) -> dict[str, object]:
    def faster(times: dict[str, list[float]], name: str) -> float:
        return statistics.median(a / b for a, b in zip(times["transformers"], times[name], strict=True))

    return {
        "benchmark": "against transformers",
        **arguments,
        "dtype": dtype,
        "threads": torch.get_num_threads(),
        "wall_ms": {name: statistics.median(values) for name, values in wall.items()},
        "cpu_ms": {name: statistics.median(values) for name, values in cpu.items()},
        "times_faster_wall": {name: faster(wall, name) for name in wall},
        "times_faster_cpu": {name: faster(cpu, name) for name in cpu},
    }


if __name__ == "__main__":
    main()
