"""The measurements: kernels against float32, attention, whole steps, and the reference implementation."""

from __future__ import annotations

import gc
import itertools
import math
import threading
from functools import partial
from typing import Any

import torch
from torch import Tensor

from benchmarks.gpu.clock import milliseconds
from benchmarks.gpu.shapes import Size, random_model, step_operations, weight_bytes
from engine.caches.prefix import PrefixCache, over_cache
from engine.checkpoints.fill import requantised
from engine.config import SamplerConfig
from engine.denoising.denoiser import Plan, denoise
from engine.kernels import choice
from engine.kernels.grouped import grouped_matmul
from engine.networks.graphs import GraphedGemma, attention_by_products, fused_attention
from engine.networks.moe import Groups, Weight, run_experts
from engine.networks.network import Network
from engine.quant.weight import Code, QuantisedWeight, pack_nibbles

KERNELS = ("bf16", "fp8", "int4", "nvfp4")
STEPS = ("stored", "fp8", "int4")

Rates = dict[str, Any]
"""What `clock.machine` measured."""


def kernel(form: str, size: Size, device: torch.device, rates: Rates) -> dict[str, Any]:
    """The experts' first product in `form`: its error against float32, its time and its floor."""
    config = size.model
    generator = torch.Generator(device=device).manual_seed(1)
    shape = (config.num_experts, 2 * config.moe_intermediate_size, config.hidden_size)
    weight = expert_weight(form, shape, generator)
    x = torch.randn(size.canvas, config.hidden_size, generator=generator, device=device).bfloat16()
    chosen = torch.rand(size.canvas, config.num_experts, generator=generator, device=device)
    groups = Groups.of(chosen.topk(config.top_k_experts).indices, config.num_experts)
    found = grouped_matmul(x, weight, groups, gather=True)
    error = relative_error(found, _exact(weight, x, groups))
    size_bytes = weight.nbytes + x.nbytes + found.nbytes
    out: dict[str, Any] = {"relative_error": error, "floor_ms": 1e3 * size_bytes / rates["bytes_per_s"]}
    repeats = 20 if device.type == "cuda" else 2
    out |= milliseconds(lambda: grouped_matmul(x, weight, groups, gather=True), device, repeats)
    if isinstance(weight, Tensor):
        offsets, rows, turned = groups.offsets[1:], x[groups.token], weight.transpose(1, 2)
        other = milliseconds(lambda: torch._grouped_mm(rows, turned, offs=offsets), device, repeats)
        out["grouped_mm_ms"] = other["ms"]
        library = torch._grouped_mm(rows, turned, offs=offsets)
        out["grouped_mm_relative_error"] = relative_error(library, _exact(weight, x, groups))
    return out


def experts(form: str, size: Size, device: torch.device) -> dict[str, Any]:
    """A layer's whole mixture in `form` by our kernels against the loop in float32."""
    config = size.model
    generator = torch.Generator(device=device).manual_seed(2)
    few = min(16, config.num_experts)  # float32 of all of them would only take time
    gate_up = expert_weight(form, (few, 2 * config.moe_intermediate_size, config.hidden_size), generator)
    down = expert_weight(form, (few, config.hidden_size, config.moe_intermediate_size), generator)
    x = torch.randn(size.canvas, config.hidden_size, generator=generator, device=device).bfloat16()
    scores = torch.rand(size.canvas, few, generator=generator, device=device)
    weights, chosen = scores.topk(min(config.top_k_experts, few))
    exact = run_experts(_float(gate_up), _float(down), x.float(), weights, chosen, "loop")
    found = run_experts(gate_up, down, x, weights, chosen, "triton")
    return {"relative_error": relative_error(found, exact)}


def attention(size: Size, device: torch.device) -> dict[str, Any]:
    """Both ways to attend, for both kinds of layer: error against float32 and time."""
    out: dict[str, Any] = {}
    for kind, layer in (("sliding", size.model.layers[0]), ("full", size.model.layers[5])):
        keys = min(size.prefix, size.model.sliding_window - 1) if layer.sliding else size.prefix
        heads, d = size.model.num_attention_heads, layer.head_dim
        q = torch.randn(1, heads, size.canvas, d, device=device).bfloat16() * d**-0.5
        k, v = torch.randn(2, 1, layer.kv_heads, keys + size.canvas, d, device=device).bfloat16()
        mask = torch.arange(keys + size.canvas, device=device) != 1
        exact = attention_by_products(q.float(), k.float(), v.float(), mask)
        for name, way in (("fused", fused_attention), ("products", attention_by_products)):
            run = partial(way, q, k, v, mask)
            out[f"{kind}_{name}_relative_error"] = relative_error(run(), exact)
            out[f"{kind}_{name}_ms"] = milliseconds(run, device, 10)["ms"]
    return out


def choices(size: Size, device: torch.device, rates: Rates) -> dict[str, Any]:
    """A canvas's choices by our kernels: their error against plain operations, their time and its floor."""
    shape, cooler = (size.canvas, size.model.vocab_size), 1 / 0.6
    logits = torch.randn(shape, device=device) * 4
    uniform = torch.rand(size.canvas, device=device)
    exact = (logits * cooler).softmax(-1)
    probabilities = logits.clone()
    _, confidence, entropy = choice.choose(probabilities, cooler)
    copy_ms = milliseconds(logits.clone, device, 10)["ms"]

    def run() -> None:
        made = logits.clone()
        choice.choose(made, cooler)
        choice.draw(made, uniform)

    return {
        "probabilities_relative_error": relative_error(probabilities, exact),
        "confidence_relative_error": relative_error(confidence, logits.softmax(-1).amax(-1)),
        "entropy_relative_error": relative_error(entropy, torch.special.entr(exact).sum(-1)),
        # Read for the sums, read and written for the probabilities, read for the draw.
        "floor_ms": 1e3 * 4 * logits.nbytes / rates["bytes_per_s"],
        "ms": milliseconds(run, device, 10)["ms"] - copy_ms,
    }


def step(form: str, size: Size, device: torch.device, rates: Rates) -> dict[str, Any]:
    """A denoising step of the whole model in `form`: time, floor and memory."""
    free_memory(device)
    model = random_model(size.model, form, device)
    network = GraphedGemma(model)
    cache = _filled(network, size.prefix)
    attend = over_cache(cache)
    canvas = torch.randint(0, size.model.vocab_size, (1, size.canvas), device=device)
    soft = model.embed(canvas)
    positions = torch.arange(size.prefix, size.prefix + size.canvas, device=device)[None]
    reads = weight_bytes(model)
    floor_s = max(reads / rates["bytes_per_s"], step_operations(size) / rates["operations_per_s"])
    repeats = 10 if device.type == "cuda" else 2
    with torch.inference_mode():
        plain = model.logits(model.denoise(canvas, positions, attend, soft))
        apart = _middle_difference(model.logits(network.denoise(canvas, positions, attend, soft)), plain)
        if not math.isfinite(apart):
            raise ValueError("a recorded step computes what is no number")
        eager = milliseconds(
            lambda: model.logits(model.denoise(canvas, positions, attend, soft)), device, repeats
        )
        graphed = milliseconds(
            lambda: model.logits(network.denoise(canvas, positions, attend, soft)), device, repeats
        )
        whole = milliseconds(lambda: _denoise(network, cache, size), device, 3)
    return {
        "step_ms": graphed["ms"],
        "slowest_step_ms": graphed["slowest_ms"],
        "eager_step_ms": eager["ms"],
        "recorded_differs_by": apart,
        "floor_ms": 1e3 * floor_s,
        "times_the_floor": graphed["ms"] / (1e3 * floor_s),
        "weights_gb": reads / 1e9,
        "peak_gb": _peak_gb(device),
        "steps": size.steps,
        "tokens_per_s": 1e3 * size.canvas / whole["ms"],
    }


def resident(form: str, size: Size, device: torch.device) -> dict[str, Any]:
    """What a canvas takes at most behind a prefix four times as long, in bfloat16 and in fp8."""
    out: dict[str, Any] = {}
    for name, kept in (("bf16", torch.bfloat16), ("fp8", torch.float8_e4m3fn)):
        free_memory(device)
        network = GraphedGemma(random_model(size.model, form, device), kept)
        cache = _filled(network, 4 * size.prefix)
        _denoise(network, cache, size)
        out[f"{name}_prefix_gb"] = cache.bytes / 1e9
        out[f"{name}_peak_gb"] = _peak_gb(device)
    return out


def reference(size: Size, device: torch.device) -> dict[str, Any]:
    """The same step by `transformers`, in bfloat16 with random weights."""
    from benchmarks.gpu.reference import reference_step

    free_memory(device)
    return reference_step(size, device)


def expert_weight(form: str, shape: tuple[int, ...], generator: torch.Generator) -> Weight:
    """Random experts in `form`."""
    device = generator.device
    if form == "nvfp4":
        codes = torch.randint(0, 16, shape, generator=generator, dtype=torch.uint8, device=device)
        scale = torch.rand(*shape[:-1], shape[-1] // 16, generator=generator, device=device) + 0.5
        outer = torch.full(shape[:-1], 0.3 * shape[-1] ** -0.5, device=device)
        return QuantisedWeight(
            Code.FP4, pack_nibbles(codes), scale=scale.to(torch.float8_e4m3fn), outer=outer
        )
    plain = torch.empty(shape, dtype=torch.bfloat16, device=device)
    plain.normal_(0, shape[-1] ** -0.5, generator=generator)
    return plain if form == "bf16" else requantised(plain, form)


def relative_error(found: Tensor, exact: Tensor) -> float:
    """The norm of the difference by the norm of what is exact."""
    return float((found.float() - exact.float()).norm() / exact.float().norm())


def _middle_difference(found: Tensor, plain: Tensor) -> float:
    """The median over rows (…, vocab) of how far one lies from the other, relative to its norm.

    To be looked at, not judged: rounded otherwise, tokens of random weights go to other experts, and what
    comes of them is another thing. That recorded steps are the plain ones is tested in float32.
    """
    return float(((found - plain).norm(dim=-1) / plain.norm(dim=-1)).median())


def free_memory(device: torch.device) -> None:
    """Gives back what the last measurement held."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()


def _float(weight: Weight) -> Tensor:
    return weight.dequantise() if isinstance(weight, QuantisedWeight) else weight.float()


def _exact(weight: Weight, x: Tensor, groups: Groups) -> Tensor:
    bounds = groups.offsets.tolist()
    rows = x[groups.token].float()
    parts = [
        rows[first:last] @ _float(weight[expert]).T
        for expert, (first, last) in enumerate(itertools.pairwise(bounds))
    ]
    return torch.cat(parts)


def _filled(network: Network, tokens: int) -> PrefixCache:
    """A cache with random keys and values, as if a prefix of so many tokens had been read."""
    cache = PrefixCache(network.config, dtype=network.dtype, device=network.device, kept=network.kept_dtype)
    cache.reserve(tokens)
    for index, layer in enumerate(network.config.layers):
        shape = (2, 1, layer.kv_heads, tokens, layer.head_dim)
        k, v = torch.randn(shape, device=network.device).bfloat16() * layer.head_dim**-0.5
        cache.write(index, 0, k, v)
    cache.tokens.extend([0] * tokens)
    return cache


def _peak_gb(device: torch.device) -> float | None:
    return torch.cuda.max_memory_allocated() / 1e9 if device.type == "cuda" else None


def _denoise(network: Network, cache: PrefixCache, size: Size) -> None:
    """A canvas's steps as the engine takes them, with no stop before the last."""
    config = SamplerConfig(
        max_denoising_steps=size.steps, stability_threshold=None, confidence_threshold=None
    )
    for _ in denoise(network, cache, config, Plan(length=size.canvas), threading.Event()):
        pass
