"""Ours against `transformers`' own `generate()` on the same weights: one cold fill, and a typing session.

    python benchmarks/against_transformers.py [--rounds 5] [--prompt 300] [--canvas 256] [--steps 12]
    python benchmarks/against_transformers.py --typing [--every 1] [--rounds 1]

The cold fill has the same prompt, sampler and draws, and once more our own draws. The typing session is the
one that `infill bench` replays: `transformers` gets the prompt of every fill that we ask for (or of every so
many), we have our own canvas lengths and caches, and write once as we do by default, once by denoising. All
are timed in turns; `transformers` in bfloat16, ours as it runs on this machine. Ends with one JSON line;
ratios are medians over rounds.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import torch
from transformers import DiffusionGemmaForBlockDiffusion
from transformers.models.diffusion_gemma.generation_diffusion_gemma import (
    DiffusionGemmaGenerationConfig,
    EntropyBoundSamplerConfig,
)

from engine.caches.prefix import PrefixCache, encode_prefix
from engine.checkpoints.config_json import read_sampler_config
from engine.checkpoints.hub import resolve
from engine.denoising.denoiser import Plan, denoise
from engine.denoising.sampler import Draw, draw_by_inversion, draw_like_reference
from engine.inprocess import InProcessEngine, load_engine
from engine.request import Decoding, DenoiseRequest, Engine, Prompt, Step
from engine.text.prompts import lay_out
from infill.evaluate.typing import bundled_recording, replay


def main() -> None:
    """Parse the arguments, time both, print the line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--prompt", type=int, default=300, help="prompt tokens")
    parser.add_argument("--canvas", type=int, default=256, help="canvas tokens")
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--typing", action="store_true", help="the typing session instead of one cold fill")
    parser.add_argument("--every", type=int, default=1, help="have transformers fill every so many keys only")
    arguments = parser.parse_args()
    threads = torch.get_num_threads()
    engine = load_engine(None)
    left_to_torch = torch.get_num_threads()
    engine.network.use_threads(threads)
    folder = resolve(None, lambda _line: None)
    reference = DiffusionGemmaForBlockDiffusion.from_pretrained(folder, dtype=torch.bfloat16).eval()
    reference.config.canvas_length = arguments.canvas
    generator = torch.Generator().manual_seed(0)
    prompt = torch.randint(16, 4096, (arguments.prompt,), generator=generator).tolist()
    # No early stop: both run every step.
    sampler = replace(
        read_sampler_config(folder), max_denoising_steps=arguments.steps, confidence_threshold=None
    )
    network = engine.network

    def generate(*prompts: Sequence[int]) -> None:
        torch.set_num_threads(threads)  # of which our engine leaves torch few
        for tokens in prompts:
            torch.manual_seed(0)
            reference.generate(
                torch.tensor([tokens]),
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
        torch.set_num_threads(left_to_torch)

    def ours(draw: Draw) -> Callable[[], None]:
        def run() -> None:
            cache = PrefixCache(network.config, dtype=network.dtype, device=network.device)
            with torch.inference_mode():
                encode_prefix(network, cache, prompt)
            plan = Plan(length=arguments.canvas, draw=draw)
            for _ in denoise(network, cache, sampler, plan, threading.Event()):
                pass

        return run

    if arguments.typing:
        asked = _Asked(engine)
        replay(asked, bundled_recording())
        prompts = [
            lay_out(prompt, engine.prefill.tokenizer, engine.prefill.prompts) for prompt in asked.prompts
        ]
        chosen = prompts[:: arguments.every]
        print(f"{len(prompts)} fills asked for, {len(chosen)} by transformers", file=sys.stderr)
        rows = {
            "transformers": lambda: generate(*chosen),
            "ours": _session(engine, None),
            "ours, denoising": _session(engine, Decoding.DENOISE),
        }
        share = {"transformers": len(prompts) / len(chosen)}
    else:
        rows = {
            "transformers": lambda: generate(prompt),
            "ours, its draws": ours(draw_like_reference),
            "ours": ours(draw_by_inversion),
        }
        share = {}
    wall: dict[str, list[float]] = {name: [] for name in rows}
    cpu: dict[str, list[float]] = {name: [] for name in rows}
    for turn in range(arguments.rounds + (not arguments.typing)):
        for name, row in rows.items():
            began, used = time.perf_counter(), time.process_time()
            row()
            if turn or arguments.typing:  # the first fill warms up; a session has been replayed before
                times = share.get(name, 1.0)
                wall[name].append(times * 1e3 * (time.perf_counter() - began))
                cpu[name].append(times * 1e3 * (time.process_time() - used))
                print(f"{name}: {cpu[name][-1]:.0f} ms of processor time", file=sys.stderr)
    print(json.dumps(_report(wall, cpu, vars(arguments) | {"threads": threads}, str(network.dtype))))


class _Asked:
    """An engine that notes the prompts it is asked for, and how to decode if it is told to."""

    def __init__(self, engine: Engine, decoding: Decoding | None = None) -> None:
        self._engine, self._decoding = engine, decoding
        self.prompts: list[Prompt] = []
        self.info, self.score, self.read = engine.info, engine.score, engine.read

    def denoise(self, request: DenoiseRequest, cancelled: threading.Event) -> Iterator[Step]:
        """Denoise, in the way that was asked for."""
        self.prompts.append(request.prompt)
        return self._engine.denoise(replace(request, decoding=self._decoding), cancelled)


def _session(engine: InProcessEngine, decoding: Decoding | None) -> Callable[[], object]:
    def run() -> None:
        engine.prefill.pool.clear()
        replay(_Asked(engine, decoding), bundled_recording())

    return run


def _report(
    wall: dict[str, list[float]], cpu: dict[str, list[float]], arguments: dict[str, int], dtype: str
) -> dict[str, object]:
    def faster(times: dict[str, list[float]], name: str) -> float:
        return statistics.median(a / b for a, b in zip(times["transformers"], times[name], strict=True))

    return {
        "benchmark": "against transformers",
        **arguments,
        "dtype": dtype,
        "wall_ms": {name: statistics.median(values) for name, values in wall.items()},
        "cpu_ms": {name: statistics.median(values) for name, values in cpu.items()},
        "times_faster_wall": {name: faster(wall, name) for name in wall},
        "times_faster_cpu": {name: faster(cpu, name) for name in cpu},
    }


if __name__ == "__main__":
    main()
