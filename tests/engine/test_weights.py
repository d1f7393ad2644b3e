"""Files in, model out, and every way in which files can be wrong."""

from __future__ import annotations

import json
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from engine.caches.prefix import PrefixCache, encode_prefix, over_cache
from engine.checkpoints.config_json import read_model_config, read_prompt_config, read_sampler_config
from engine.checkpoints.weights import load_model
from engine.errors import BrokenCheckpoint, EngineError, UnsupportedModel
from tests.engine.checkpoints import write_own_checkpoint, write_reference_checkpoint


def test_our_checkpoint_loads_in_the_reference_and_computes_the_same(tmp_path: Path) -> None:
    from transformers import DiffusionGemmaForBlockDiffusion

    ours = write_own_checkpoint(tmp_path)
    reference, report = DiffusionGemmaForBlockDiffusion.from_pretrained(tmp_path, output_loading_info=True)
    assert not report["missing_keys"]
    assert not report["unexpected_keys"]
    assert not report["mismatched_keys"]
    reference.eval()
    config = read_sampler_config(tmp_path)
    assert reference.generation_config.max_denoising_steps == config.max_denoising_steps
    assert reference.generation_config.sampler_config.entropy_bound == config.entropy_bound

    prompt, canvas = torch.arange(20, 60)[None], torch.arange(100, 132)[None]
    with torch.no_grad():
        expected = reference(input_ids=prompt, decoder_input_ids=canvas)
        cache = PrefixCache(ours.config, dtype=torch.float32, device=torch.device("cpu"))
        states = encode_prefix(ours, cache, prompt[0].tolist())
        logits = ours.logits(ours.denoise(canvas, torch.arange(40, 72)[None], over_cache(cache), None))
    torch.testing.assert_close(states, expected.encoder_last_hidden_state, atol=1e-4, rtol=0)
    torch.testing.assert_close(logits, expected.logits, atol=1e-4, rtol=0)


def test_configs_survive_writing_and_reading(tmp_path: Path) -> None:
    model = write_own_checkpoint(tmp_path)
    assert read_model_config(tmp_path) == model.config
    assert read_sampler_config(tmp_path).max_denoising_steps == 6
    assert read_prompt_config(tmp_path).prefix_tokens == 224


def test_published_shape_of_full_layers_is_read(tmp_path: Path) -> None:
    """The 26B's file names the full layers' shape once; newer files list it layer by layer."""
    write_reference_checkpoint(tmp_path)
    path = tmp_path / "config.json"
    raw = json.loads(path.read_text())
    expected = read_model_config(tmp_path)
    del raw["text_config"]["per_layer_config"]
    raw["text_config"].update(global_head_dim=32, num_global_key_value_heads=1)
    path.write_text(json.dumps(raw))
    assert read_model_config(tmp_path) == expected
    load_model(tmp_path)


def _tensors(change: Callable[[dict[str, torch.Tensor]], object]) -> Callable[[Path], None]:
    def apply(folder: Path) -> None:
        tensors = load_file(folder / "model.safetensors")
        change(tensors)
        save_file(tensors, folder / "model.safetensors")

    return apply


def _config(**values: Any) -> Callable[[Path], None]:
    def apply(folder: Path) -> None:
        raw = json.loads((folder / "config.json").read_text())
        raw.update({key: value for key, value in values.items() if key in raw})
        raw["text_config"].update({key: value for key, value in values.items() if key not in raw})
        (folder / "config.json").write_text(json.dumps(raw))

    return apply


def _rope(**values: Any) -> Callable[[Path], None]:
    """Changes how the full layers are rotated."""

    def apply(folder: Path) -> None:
        raw = json.loads((folder / "config.json").read_text())
        raw["text_config"]["rope_parameters"]["full_attention"].update(values)
        (folder / "config.json").write_text(json.dumps(raw))

    return apply


def _truncate(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1000])


def _garbage_header(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", 20) + b"this is not json....")


def _write(name: str, text: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).write_text(text) and None


def _remove(name: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).unlink()


NORM = "model.decoder.norm.weight"
SCALAR = "model.encoder.language_model.layers.1.layer_scalar"
BROKEN: dict[str, tuple[Callable[[Path], None], type[EngineError], str]] = {
    "missing tensor": (_tensors(lambda t: t.pop(NORM)), BrokenCheckpoint, NORM),
    "missing encoder scalar": (_tensors(lambda t: t.pop(SCALAR)), BrokenCheckpoint, SCALAR),
    "unexpected tensor": (
        _tensors(lambda t: t.update({"model.decoder.extra.weight": torch.ones(1)})),
        BrokenCheckpoint,
        "model.decoder.extra.weight",
    ),
    "misshapen tensor": (_tensors(lambda t: t.update({NORM: torch.ones(3)})), BrokenCheckpoint, NORM),
    "integer tensor": (
        _tensors(lambda t: t.update({NORM: torch.ones(64, dtype=torch.int8)})),
        BrokenCheckpoint,
        "int8",
    ),
    "truncated file": (_truncate, BrokenCheckpoint, "truncated or corrupt"),
    "corrupt header": (_garbage_header, BrokenCheckpoint, "truncated or corrupt"),
    "no weights": (_remove("model.safetensors"), BrokenCheckpoint, "no model.safetensors"),
    "no config": (_remove("config.json"), BrokenCheckpoint, "config.json is missing"),
    "config is not JSON": (_write("config.json", "{"), BrokenCheckpoint, "JSON"),
    "config is nothing but brackets": (_write("config.json", "[" * 200_000), BrokenCheckpoint, "JSON"),
    "index is nothing but brackets": (
        _write("model.safetensors.index.json", "[" * 200_000),
        BrokenCheckpoint,
        "JSON",
    ),
    "index names a shard too long": (
        _write("model.safetensors.index.json", '{"weight_map": {"a": "%s"}}' % ("x" * 5000)),
        BrokenCheckpoint,
        "is missing",
    ),
    "index names a missing shard": (
        _write("model.safetensors.index.json", '{"weight_map": {"a": "gone.safetensors"}}'),
        BrokenCheckpoint,
        "gone.safetensors",
    ),
    "index points outside": (
        _write("model.safetensors.index.json", '{"weight_map": {"a": "../x.safetensors"}}'),
        BrokenCheckpoint,
        "outside",
    ),
    "another architecture": (_config(model_type="llama"), UnsupportedModel, "llama"),
    "another activation": (_config(hidden_activation="silu"), UnsupportedModel, "silu"),
    "fewer layers than the file has": (_config(num_hidden_layers=1), BrokenCheckpoint, "layer_types"),
    "unknown RoPE": (
        _config(
            rope_parameters={
                "sliding_attention": {"rope_type": "yarn", "rope_theta": 1.0},
                "full_attention": {"rope_type": "yarn", "rope_theta": 1.0},
            }
        ),
        UnsupportedModel,
        "yarn",
    ),
    "index names no names": (
        _write("model.safetensors.index.json", '{"weight_map": {"a": 5}}'),
        BrokenCheckpoint,
        "index",
    ),
    "negative size": (_config(hidden_size=-4), BrokenCheckpoint, "hidden_size"),
    "no KV heads": (_config(num_key_value_heads=0), BrokenCheckpoint, "num_key_value_heads"),
    "no window": (_config(sliding_window=0), BrokenCheckpoint, "sliding_window"),
    "no experts": (_config(top_k_experts=0), BrokenCheckpoint, "top_k_experts"),
    "no layers": (_config(num_hidden_layers=0, layer_types=None), BrokenCheckpoint, "num_hidden_layers"),
    "no layer types": (_config(num_hidden_layers=0, layer_types=[]), BrokenCheckpoint, "num_hidden_layers"),
    **{
        f"{part} of a head rotated": (_rope(partial_rotary_factor=part), BrokenCheckpoint, "rotary")
        for part in (float("nan"), -1, 0, 7)
    },
    "default RoPE of a part": (
        _rope(rope_type="default", partial_rotary_factor=0.5),
        UnsupportedModel,
        "default RoPE",
    ),
    "half a layer": (_config(num_hidden_layers=2.5), BrokenCheckpoint, "layer_types"),
    "layer without a value": (_config(vocab_size=None), BrokenCheckpoint, "config.json"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_checkpoint_is_refused_by_name(tmp_path: Path, name: str) -> None:
    damage, error, words = BROKEN[name]
    write_reference_checkpoint(tmp_path)
    load_model(tmp_path)  # sound before the damage
    damage(tmp_path)
    with pytest.raises(error, match=words.replace(".", r"\.")):
        load_model(tmp_path)


@pytest.mark.parametrize(
    ("text", "error", "words"),
    [
        ('{"t_min": 0.9, "t_max": 0.2}', BrokenCheckpoint, "t_min"),
        ('{"sampler_config": {"_cls_name": "Other"}}', UnsupportedModel, "Other"),
        ('{"sampler_config": [1]}', BrokenCheckpoint, "sampler_config"),
        ('{"sampler_config": {"entropy_bound": 0}}', BrokenCheckpoint, "entropy_bound"),
        ('{"max_denoising_steps": 3.5}', BrokenCheckpoint, "max_denoising_steps"),
        ('{"stability_threshold": 1.5}', BrokenCheckpoint, "stability_threshold"),
        ('{"confidence_threshold": "x"}', BrokenCheckpoint, "confidence_threshold"),
        ("[]", BrokenCheckpoint, "object"),
    ],
)
def test_sampler_settings_that_make_no_sense_are_refused(
    tmp_path: Path, text: str, error: type[EngineError], words: str
) -> None:
    (tmp_path / "generation_config.json").write_text(text)
    with pytest.raises(error, match=words):
        read_sampler_config(tmp_path)


@pytest.mark.parametrize(
    ("text", "error", "words"),
    [
        ('{"format": "chatty"}', UnsupportedModel, "chatty"),
        ('{"colour": 1}', BrokenCheckpoint, "colour"),
        ('{"prefix_tokens": "a"}', BrokenCheckpoint, "prefix_tokens"),
        ('{"suffix_tokens": -1}', BrokenCheckpoint, "suffix_tokens"),
        ('{"chars_per_token": 0}', BrokenCheckpoint, "chars_per_token"),
    ],
)
def test_prompt_settings_that_make_no_sense_are_refused(
    tmp_path: Path, text: str, error: type[EngineError], words: str
) -> None:
    (tmp_path / "infill.json").write_text(text)
    with pytest.raises(error, match=words):
        read_prompt_config(tmp_path)


def test_loading_does_not_import_torchs_compiler() -> None:
    """Nor a computer algebra system with it: they take seconds and 200 MB."""
    code = (
        "import sys, threading\n"
        "from engine.inprocess import load_engine\n"
        "from engine.request import DenoiseRequest, Prompt\n"
        "engine = load_engine(None)\n"
        "request = DenoiseRequest(prompt=Prompt(prefix='x = '), canvas_tokens=32, max_steps=2)\n"
        "list(engine.denoise(request, threading.Event()))\n"
        "print(sorted({'torch._dynamo', 'torch._inductor', 'sympy'} & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
