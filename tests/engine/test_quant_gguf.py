"""GGUF files, written and dequantised by the `gguf` package."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
import torch
from gguf import GGMLQuantizationType, GGUFWriter

from engine.checkpoints.config_json import read_model_config
from engine.checkpoints.gguf import gguf_name
from engine.checkpoints.memory import examine
from engine.checkpoints.plan import FORMS
from engine.checkpoints.weights import empty_model, load_model, state_shapes
from engine.errors import BrokenCheckpoint, UnsupportedModel
from engine.networks.model import DiffusionGemma
from engine.quant.blocks import BLOCKS, unpack
from engine.quant.weight import QuantisedWeight
from tests.engine.quantised import write_plain

WIDE: dict[str, Any] = {"hidden_size": 256, "intermediate_size": 64, "moe_intermediate_size": 32}
"""Hidden states as wide as a K block; experts and dense MLP narrower, as the 26B's are: 704 and 2112."""


def _raw(kind: str, shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    """Random blocks: any bytes are valid codes, only the half floats must be tame."""
    size, per_block = BLOCKS[kind][0], 256 if kind.endswith("K") else 32
    rng = np.random.default_rng(seed)
    blocks = rng.integers(0, 256, (*shape[:-1], shape[-1] // per_block, size), dtype=np.uint8)
    halves = {"Q4_K": (0, 2), "Q5_K": (0, 2), "Q6_K": (208,), "Q4_1": (0, 2), "Q5_1": (0, 2)}
    for at in halves.get(kind, (0,)):
        value = rng.uniform(0.001, 0.01, blocks.shape[:-1]).astype(np.float16)
        blocks[..., at : at + 2] = value[..., None].view(np.uint8)
    return blocks.reshape(*shape[:-1], -1)


@pytest.mark.parametrize("kind", BLOCKS)
def test_a_block_type_means_what_the_package_says(kind: str) -> None:
    raw = _raw(kind, (3, 5, 512))
    expected = torch.from_numpy(gguf.quants.dequantize(raw, GGMLQuantizationType[kind]))
    weight = unpack(kind, torch.from_numpy(raw))
    assert weight.shape == (3, 5, 512)
    error = (weight.dequantise() - expected).norm() / expected.norm()
    # K blocks' scales are products, held as float16; the rest is exact.
    assert error < 3e-4 if kind.endswith("_K") else error == 0


def _kind(param: str, shape: tuple[int, ...]) -> str:
    """What Q4_K_M makes of a tensor, as llama.cpp chooses: rows too narrow for K blocks take others."""
    if len(shape) < 2 or ".router." in param:
        return "F32"
    if "embed" in param or param.endswith("v_proj.weight"):
        return "Q6_K"
    if shape[-1] % 256 == 0:
        return "Q4_K"
    return "Q5_0" if "experts" in param else "Q8_0"


def _write(folder: Path, *, architecture: str = "diffusion-gemma", **change: Any) -> dict[str, torch.Tensor]:
    """A Q4_K_M file beside the configs; returns what `gguf` says is in it. `change` renames or drops."""
    write_plain(folder, **WIDE)
    (folder / "model.safetensors").unlink()
    writer = GGUFWriter(folder / "model-Q4_K_M.gguf", architecture)
    writer.add_tensor("rope_freqs.weight", np.ones(8, dtype=np.float32))
    values = {}
    for seed, (param, shape) in enumerate(state_shapes(empty_model(read_model_config(folder))).items()):
        kind, name = _kind(param, shape), gguf_name(param)
        name = change.get(name, name)
        if kind == "F32":
            data = np.random.default_rng(seed).uniform(0.5, 1.5, shape).astype(np.float32)
            writer.add_tensor(name, data)
            values[param] = torch.from_numpy(data)
        elif name:
            data = _raw(kind, shape, seed)
            writer.add_tensor(name, data, raw_dtype=GGMLQuantizationType[kind])
            values[param] = torch.from_numpy(gguf.quants.dequantize(data, GGMLQuantizationType[kind]))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return values


def _value(model: DiffusionGemma, param: str) -> torch.Tensor:
    path, _, leaf = param.rpartition(".")
    held = getattr(model.get_submodule(path), leaf)
    return held.dequantise() if isinstance(held, QuantisedWeight) else held.float()


def test_a_q4_k_m_file_loads_as_the_package_reads_it(tmp_path: Path) -> None:
    values = _write(tmp_path)
    model = load_model(tmp_path, dtype=torch.float32)
    for param, expected in values.items():
        found = _value(model, param)
        assert (found - expected).norm() / expected.norm() < 3e-4, param
    assert isinstance(model.layers[0].experts.gate_up_proj, QuantisedWeight)
    assert isinstance(model.embed_tokens.weight, torch.Tensor)  # never held quantised


def test_a_gguf_file_can_be_held_in_our_own_form(tmp_path: Path) -> None:
    values = _write(tmp_path)
    model = load_model(tmp_path, form="int4")
    held = model.layers[0].experts.gate_up_proj
    assert isinstance(held, QuantisedWeight)
    expected = values["layers.0.experts.gate_up_proj"]
    assert held.bias is None
    assert (held.dequantise() - expected).norm() / expected.norm() < 0.15


def test_a_loaded_gguf_takes_what_was_foretold(tmp_path: Path) -> None:
    _write(tmp_path)
    report = examine(str(tmp_path), prefix_tokens=512)
    assert report.stored_as == "Q4_K, Q5_0, Q6_K, Q8_0"
    file_bytes = (tmp_path / "model-Q4_K_M.gguf").stat().st_size
    assert 0.9 * file_bytes < report.stored_bytes < file_bytes
    assert [need.form for need in report.needs] == list(FORMS)
    for need in report.needs:
        model = load_model(tmp_path, dtype=torch.bfloat16, form=need.form)
        assert sum(tensor.nbytes for tensor in model.state_dict().values()) == need.weights, need.form


def test_another_architecture_is_refused_by_name(tmp_path: Path) -> None:
    _write(tmp_path, architecture="gemma4")
    with pytest.raises(UnsupportedModel, match="gemma4"):
        load_model(tmp_path)


@pytest.mark.parametrize(
    ("name", "words"), [("", "missing, first blk.0.attn_q"), ("other.weight", "unexpected")]
)
def test_missing_and_unexpected_tensors_are_refused_by_name(tmp_path: Path, name: str, words: str) -> None:
    _write(tmp_path, **{"blk.0.attn_q.weight": name})
    with pytest.raises(BrokenCheckpoint, match=words):
        load_model(tmp_path)


def test_a_truncated_file_is_refused(tmp_path: Path) -> None:
    _write(tmp_path)
    path = tmp_path / "model-Q4_K_M.gguf"
    path.write_bytes(path.read_bytes()[:-5000])
    with pytest.raises(BrokenCheckpoint, match="truncated or corrupt"):
        load_model(tmp_path)


def test_two_files_are_one_too_many(tmp_path: Path) -> None:
    _write(tmp_path)
    (tmp_path / "model-Q8_0.gguf").write_bytes(b"")
    with pytest.raises(BrokenCheckpoint, match="2 GGUF files"):
        load_model(tmp_path)
