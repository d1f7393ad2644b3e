"""Every published format, written by its own library, loads to what that library says it holds."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from engine.caches.prefix import PrefixCache, encode_prefix, over_cache
from engine.checkpoints.weights import load_model
from engine.errors import BrokenCheckpoint, EngineError, UnsupportedModel
from engine.networks.linear import QuantisedLinear
from engine.networks.model import DiffusionGemma
from engine.quant.weight import Code, QuantisedWeight
from tests.engine.quantised import Values, write_compressed, write_modelopt, write_plain

WRITERS: dict[str, tuple[Callable[[Path], Values], Code]] = {
    "compressed-tensors FP8, a scale a row": (lambda f: write_compressed(f, "fp8"), Code.FP8),
    "compressed-tensors FP8, a scale a tensor": (lambda f: write_compressed(f, "fp8 tensor"), Code.FP8),
    "compressed-tensors NVFP4": (lambda f: write_compressed(f, "nvfp4"), Code.FP4),
    "compressed-tensors w4a16": (lambda f: write_compressed(f, "int4"), Code.INT4),
    "compressed-tensors w4a16, a scale a row": (lambda f: write_compressed(f, "int4 channel"), Code.INT4),
    "compressed-tensors w4a16, zero points": (lambda f: write_compressed(f, "int4 zero"), Code.INT4),
    "compressed-tensors NVFP4, experts only": (
        lambda f: write_compressed(f, "nvfp4", experts_only=True),
        Code.FP4,
    ),
    "modelopt NVFP4": (write_modelopt, Code.FP4),
}


def _held(model: DiffusionGemma, name: str) -> QuantisedWeight:
    path, _, leaf = name.rpartition(".")
    owner = model.get_submodule(path)
    held = getattr(owner, leaf)
    assert isinstance(held, QuantisedWeight)
    return held


def _logits(model: DiffusionGemma) -> torch.Tensor:
    prompt, canvas = torch.arange(20), torch.arange(30, 46)[None]
    dtype = model.embed_tokens.weight.dtype
    with torch.no_grad():
        cache = PrefixCache(model.config, dtype=dtype, device=torch.device("cpu"))
        encode_prefix(model, cache, prompt.tolist())
        states = model.denoise(canvas, torch.arange(20, 36)[None], over_cache(cache), None)
        return model.logits(states)


@pytest.mark.parametrize("name", WRITERS)
def test_a_format_loads_as_its_own_library_reads_it(tmp_path: Path, name: str) -> None:
    write, code = WRITERS[name]
    expected = write(tmp_path)
    model = load_model(tmp_path, dtype=torch.float32)
    assert any(".experts." in param for param in expected)
    for param, values in expected.items():
        held = _held(model, param)
        assert held.code is code
        # compressed-tensors computes in bfloat16 what we compute in float32.
        torch.testing.assert_close(held.dequantise(), values, rtol=2**-7, atol=1e-6)
    assert model.layers[0].router.proj.weight.dtype == torch.float32
    plain = load_model(tmp_path, dtype=torch.float32, form="bf16")
    assert not any(isinstance(module, QuantisedWeight) for module in plain.modules())
    torch.testing.assert_close(_logits(model), _logits(plain), atol=1e-4, rtol=0)


def test_modelopts_fp8_is_a_scale_a_tensor(tmp_path: Path) -> None:
    """It stores what compressed-tensors does and declares it otherwise."""
    expected = write_compressed(tmp_path, "fp8 tensor")
    path = tmp_path / "config.json"
    raw = json.loads(path.read_text())
    raw["quantization_config"] = {"quant_method": "modelopt", "quant_algo": "FP8"}
    path.write_text(json.dumps(raw))
    name = "layers.0.experts.gate_up_proj"
    torch.testing.assert_close(
        _held(load_model(tmp_path), name).dequantise(), expected[name], rtol=2**-7, atol=1e-6
    )


@pytest.mark.parametrize(("form", "code", "bound"), [("fp8", Code.FP8, 0.04), ("int4", Code.INT4, 0.15)])
def test_our_own_quantisation_while_loading(tmp_path: Path, form: str, code: Code, bound: float) -> None:
    stored = write_plain(tmp_path)
    model = load_model(tmp_path, form=form)
    gate_up = _held(model, "layers.0.experts.gate_up_proj")
    assert gate_up.code is code
    query = model.layers[1].self_attn.q_proj
    assert isinstance(query, QuantisedLinear)
    assert query.weight.code is Code.FP8  # 4 bits are for the experts alone
    original = stored["model.decoder.layers.0.experts.gate_up_proj"].float()
    error = (gate_up.dequantise() - original).norm() / original.norm()
    assert 0 < error < bound
    assert model.embed_tokens.weight.dtype == torch.bfloat16
    assert model.layers[0].router.proj.weight.dtype == torch.bfloat16
    assert torch.isfinite(_logits(model)).all()


def test_rows_are_quantised_alike_however_they_are_cut(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_plain(tmp_path)
    whole = load_model(tmp_path, form="int4").state_dict()
    monkeypatch.setattr("engine.checkpoints.weights.CHUNK_BYTES", 1000)
    cut = load_model(tmp_path, form="int4").state_dict()
    assert whole.keys() == cut.keys()
    for name, tensor in whole.items():
        assert torch.equal(tensor.view(torch.uint8), cut[name].view(torch.uint8)), name


def test_a_quantised_checkpoint_can_be_quantised_otherwise(tmp_path: Path) -> None:
    values = write_compressed(tmp_path, "fp8")
    model = load_model(tmp_path, form="int4")
    name = "layers.1.experts.down_proj"
    held = _held(model, name)
    assert held.code is Code.INT4
    assert (held.dequantise() - values[name]).norm() / values[name].norm() < 0.15


def _declare(folder: Path, **weights: Any) -> None:
    """Change what config.json says of the weights."""
    path = folder / "config.json"
    raw = json.loads(path.read_text())
    raw["quantization_config"]["config_groups"]["group_0"]["weights"].update(weights)
    path.write_text(json.dumps(raw))


def test_layers_may_be_declared_in_groups_of_different_sizes(tmp_path: Path) -> None:
    """The tensors say which declaration is theirs."""
    expected = write_compressed(tmp_path, "int4")
    path = tmp_path / "config.json"
    raw = json.loads(path.read_text())
    groups = raw["quantization_config"]["config_groups"]
    for name, other in (("group_1", {"group_size": 16}), ("group_2", {"symmetric": False})):
        groups[name] = {**groups["group_0"], "weights": {**groups["group_0"]["weights"], **other}}
    path.write_text(json.dumps(raw))
    held = _held(load_model(tmp_path, dtype=torch.float32), "layers.0.experts.down_proj")
    assert held.group == 32
    torch.testing.assert_close(
        held.dequantise(), expected["layers.0.experts.down_proj"], rtol=2**-7, atol=1e-6
    )


def test_a_group_too_small_for_a_scale_in_fp8_is_zero(tmp_path: Path) -> None:
    write_compressed(tmp_path, "nvfp4")
    path = tmp_path / "model.safetensors"
    tensors = load_file(path)
    tensors[QUERY + "weight_scale"].view(torch.uint8)[3, 1] = 0
    save_file(tensors, path)
    values = _held(load_model(tmp_path), "layers.0.self_attn.q_proj.weight").dequantise()
    assert not values[3, 16:32].any()
    assert values[3, :16].any()


@pytest.mark.parametrize(
    ("kind", "declared", "words"),
    [
        ("int4", {"group_size": 64}, "weight_scale is"),
        ("int4", {"strategy": "channel", "group_size": None}, "weight_scale is"),
        ("int4", {"symmetric": False}, "weight_zero_point"),
        ("int4 zero", {"symmetric": True}, "unexpected tensor .*weight_zero_point"),
        ("int4 channel", {"strategy": "group", "group_size": 32}, "weight_scale is"),
    ],
)
def test_groups_and_zero_points_are_those_that_are_declared(
    tmp_path: Path, kind: str, declared: dict[str, Any], words: str
) -> None:
    write_compressed(tmp_path, kind)
    _declare(tmp_path, **declared)
    with pytest.raises(BrokenCheckpoint, match=words):
        load_model(tmp_path)


Change = Callable[[dict[str, torch.Tensor]], object]
EXPERT = "model.decoder.layers.0.experts.2.up_proj."
QUERY = "model.decoder.layers.0.self_attn.q_proj."
ROUTER = "model.decoder.layers.0.router.proj."
DAMAGE: dict[str, tuple[str, Change, type[EngineError], str]] = {
    "an expert's scale is missing": (
        "nvfp4",
        lambda t: t.pop(EXPERT + "weight_scale"),
        BrokenCheckpoint,
        EXPERT + "weight_scale",
    ),
    "a whole expert is missing": (
        "nvfp4",
        lambda t: [t.pop(n) for n in list(t) if n.startswith(EXPERT)],
        BrokenCheckpoint,
        EXPERT + "weight_global_scale",
    ),
    "a scale too many": (
        "fp8",
        lambda t: t.update({QUERY + "weight_scale_2": torch.tensor(1.0)}),
        BrokenCheckpoint,
        QUERY + "weight_scale_2",
    ),
    "a scale of another shape": (
        "fp8",
        lambda t: t.update({QUERY + "weight_scale": torch.ones(3, 1)}),
        BrokenCheckpoint,
        QUERY + "weight_scale",
    ),
    "an expert too many": (
        "fp8",
        lambda t: t.update({EXPERT.replace(".2.", ".9.") + "weight": t[EXPERT + "weight"].clone()}),
        BrokenCheckpoint,
        "experts.9",
    ),
    "a quantised router": (
        "fp8",
        lambda t: t.update({ROUTER + "weight": t[ROUTER + "weight"].to(torch.float8_e4m3fn)}),
        UnsupportedModel,
        ROUTER + "weight",
    ),
    "groups in an order of their own": (
        "int4",
        lambda t: t.update({QUERY + "weight_g_idx": torch.zeros(64, dtype=torch.int32)}),
        BrokenCheckpoint,
        QUERY + "weight_g_idx",
    ),
    "an NVFP4 scale that is no FP8": (
        "nvfp4",
        lambda t: t.update({QUERY + "weight_scale": t[QUERY + "weight_scale"].view(torch.uint8)}),
        BrokenCheckpoint,
        QUERY + "weight_scale",
    ),
    "an NVFP4 scale for the whole row": (
        "nvfp4",
        lambda t: t.update({QUERY + "weight_scale": t[QUERY + "weight_scale"][:, :1].contiguous()}),
        BrokenCheckpoint,
        QUERY + "weight_scale",
    ),
    "a tensor's scale of 0": (
        "nvfp4",
        lambda t: t.update({QUERY + "weight_global_scale": torch.zeros(1)}),
        BrokenCheckpoint,
        QUERY + "weight_global_scale",
    ),
    "a tensor's scale that is an integer": (
        "nvfp4",
        lambda t: t.update({QUERY + "weight_global_scale": t[QUERY + "weight_global_scale"].int()}),
        BrokenCheckpoint,
        QUERY + "weight_global_scale",
    ),
    "an FP8 scale that is true or false": (
        "fp8",
        lambda t: t.update({QUERY + "weight_scale": t[QUERY + "weight_scale"].bool()}),
        BrokenCheckpoint,
        QUERY + "weight_scale",
    ),
    "a row's scale of 0": (
        "fp8",
        lambda t: t[QUERY + "weight_scale"][5].zero_(),
        BrokenCheckpoint,
        QUERY + "weight_scale",
    ),
    "a scale that is no number": (
        "fp8",
        lambda t: t[QUERY + "weight_scale"][5].fill_(float("nan")),
        BrokenCheckpoint,
        QUERY + "weight_scale",
    ),
    "an infinite scale": (
        "int4",
        lambda t: t[EXPERT + "weight_scale"][5, 0].fill_(float("inf")),
        BrokenCheckpoint,
        EXPERT + "weight_scale",
    ),
    "a w4a16 scale that is an integer": (
        "int4",
        lambda t: t.update({QUERY + "weight_scale": t[QUERY + "weight_scale"].to(torch.uint8)}),
        BrokenCheckpoint,
        QUERY + "weight_scale",
    ),
    "one group a row": (
        "int4",
        lambda t: t.update({QUERY + "weight_scale": t[QUERY + "weight_scale"][:, :1].contiguous()}),
        BrokenCheckpoint,
        QUERY + "weight_scale",
    ),
    "one group an element": (
        "int4",
        lambda t: t.update({QUERY + "weight_scale": t[QUERY + "weight_scale"][:, :1].repeat(1, 64)}),
        BrokenCheckpoint,
        QUERY + "weight_scale",
    ),
    "zero points that are not packed": (
        "int4 zero",
        lambda t: t.update({QUERY + "weight_zero_point": t[QUERY + "weight_zero_point"].to(torch.int8)}),
        BrokenCheckpoint,
        QUERY + "weight_zero_point",
    ),
    "zero points that are no integers": (
        "int4 zero",
        lambda t: t.update({QUERY + "weight_zero_point": t[QUERY + "weight_zero_point"].float()}),
        BrokenCheckpoint,
        QUERY + "weight_zero_point",
    ),
    "another weight's shape": (
        "int4",
        lambda t: t[QUERY + "weight_shape"].mul_(3),
        BrokenCheckpoint,
        QUERY + "weight_shape",
    ),
    "values the config does not explain": (
        "fp8",
        lambda t: t.update({QUERY + "weight": t[QUERY + "weight"].view(torch.uint8)}),
        BrokenCheckpoint,
        "does not explain",
    ),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_a_broken_quantised_checkpoint_is_refused_by_name(tmp_path: Path, name: str) -> None:
    kind, change, error, words = DAMAGE[name]
    write_compressed(tmp_path, kind)
    tensors = load_file(tmp_path / "model.safetensors")
    change(tensors)
    save_file(tensors, tmp_path / "model.safetensors")
    with pytest.raises(error, match=words.replace(".", r"\.")):
        load_model(tmp_path)


def _compressed(**weights: Any) -> dict[str, Any]:
    groups = {"group_0": {"weights": weights}}
    return {"quantization_config": {"quant_method": "compressed-tensors", "config_groups": groups}}


@pytest.mark.parametrize(
    ("declared", "words"),
    [
        ({"quantization_config": {"quant_method": "gptq"}}, "gptq"),
        ({"quantization_config": {"quant_method": "modelopt", "quant_algo": "W4A8_AWQ"}}, "W4A8_AWQ"),
        (
            {
                "quantization_config": {
                    "quant_method": "modelopt",
                    "quant_algo": "NVFP4",
                    "group_size": 32,
                }
            },
            "groups of 32",
        ),
        ({"quantization": {"bits": 4, "group_size": 64}}, "MLX"),
        (_compressed(num_bits=4, type="int", strategy="group"), "group size None"),
        (_compressed(num_bits=8, type="int"), "8-bit int"),
        (_compressed(num_bits=8, type="float", strategy="block", block_structure=[128, 128]), "block"),
    ],
)
def test_a_format_we_do_not_read_is_refused_by_name(
    tmp_path: Path, declared: dict[str, Any], words: str
) -> None:
    write_plain(tmp_path)
    path = tmp_path / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **declared}))
    with pytest.raises(UnsupportedModel, match=words):
        load_model(tmp_path)


def test_quantised_tensors_without_a_declaration_are_refused(tmp_path: Path) -> None:
    write_compressed(tmp_path, "fp8")
    path = tmp_path / "config.json"
    raw = json.loads(path.read_text())
    del raw["quantization_config"]
    path.write_text(json.dumps(raw))
    with pytest.raises(BrokenCheckpoint, match=r"config\.json does not explain|unexpected tensor"):
        load_model(tmp_path)
