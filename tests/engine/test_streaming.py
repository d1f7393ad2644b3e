"""A sharded checkpoint goes to its device a piece at a time."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import torch

from engine.checkpoints.weights import load_model
from tests.engine.checkpoints import write_reference_checkpoint

EXPERTS = 128
PROBE = """
import resource, sys
from pathlib import Path
import torch
import engine.checkpoints.weights as weights
weights.CHUNK_BYTES = 1 << 20
folder = Path(sys.argv[1])
weights.load_model(Path(sys.argv[2]), device="meta")  # what is imported and warmed up is not what is measured
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
weights.load_model(folder, device="meta")
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


def test_the_host_never_holds_more_than_a_chunk(tmp_path: Path) -> None:
    """The 26B's layout in miniature: 128 experts, several shards, one tensor of most of a shard.

    The device is `meta`, which takes tensors and keeps nothing, as a GPU does to the host's memory.
    """
    small, large = tmp_path / "small", tmp_path / "large"
    write_reference_checkpoint(small)
    write_reference_checkpoint(
        large, num_experts=EXPERTS, top_k_experts=8, hidden_size=256, moe_intermediate_size=64, shards=True
    )
    index = json.loads((large / "model.safetensors.index.json").read_text())
    assert len(set(index["weight_map"].values())) >= 11
    size = sum(path.stat().st_size for path in large.glob("*.safetensors"))
    assert size > 70e6
    found = subprocess.run(
        [sys.executable, "-c", PROBE, str(large), str(small)], capture_output=True, text=True, check=True
    )
    assert int(found.stdout) * (1 if sys.platform == "darwin" else 1024) < size / 8


def test_128_experts_top_8_compute_what_the_reference_does(tmp_path: Path) -> None:
    from engine.caches.prefix import PrefixCache, encode_prefix, over_cache

    reference = write_reference_checkpoint(
        tmp_path, num_experts=EXPERTS, top_k_experts=8, moe_intermediate_size=16, shards=True
    )
    model = load_model(tmp_path)
    prompt, canvas = torch.arange(12)[None], torch.arange(40, 56)[None]
    with torch.no_grad():
        expected = reference(input_ids=prompt, decoder_input_ids=canvas).logits
        cache = PrefixCache(model.config, dtype=torch.float32, device=torch.device("cpu"))
        encode_prefix(model, cache, prompt[0].tolist())
        states = model.denoise(canvas, torch.arange(12, 28)[None], over_cache(cache), None)
    torch.testing.assert_close(model.logits(states), expected, atol=1e-4, rtol=0)
    # The one thing the two directions do not share is read for each.
    layer = model.layers[1]
    assert layer.layer_scalar != layer.encoder_layer_scalar
