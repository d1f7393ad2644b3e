"""LoRA adapters, written and merged by PEFT itself."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from engine.checkpoints.weights import load_model
from engine.errors import BrokenCheckpoint, EngineError, ModelNotFound, UnsupportedModel
from engine.networks.linear import QuantisedLinear
from tests.engine.checkpoints import write_reference_checkpoint

TARGETS = r"model\.decoder\..*(q_proj|o_proj|gate_proj|down_proj)"


def _write(base: Path, adapter: Path, **settings: Any) -> dict[str, torch.Tensor]:
    """A random adapter of the checkpoint in `base`; returns the merged weights as PEFT computes them.

    It reads what it has written: it writes patterns in another order than it was given them in.
    """
    from peft import LoraConfig, PeftModel, get_peft_model

    reference = write_reference_checkpoint(base)
    warnings.simplefilter("ignore", FutureWarning)  # PEFT uses what the reference is about to rename
    config = LoraConfig(r=4, lora_alpha=6, target_modules=TARGETS, **settings)
    tuned = get_peft_model(reference, config)
    torch.manual_seed(1)
    with torch.no_grad():
        for name, parameter in tuned.named_parameters():
            if "lora_" in name:
                parameter.normal_(0, 0.1)
    tuned.save_pretrained(adapter)
    merged = PeftModel.from_pretrained(tuned.unload(), adapter).merge_and_unload()
    prefix = "model.decoder."
    return {n.removeprefix(prefix): p for n, p in merged.state_dict().items() if n.startswith(prefix)}


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"use_rslora": True},
        {"rank_pattern": {"q_proj": 2}, "alpha_pattern": {"q_proj": 9}},
        # Patterns are regular expressions, and the first that matches counts.
        {"alpha_pattern": {r"layers\.[01]\..*_proj": 9, "q_proj": 3, "0.self_attn.q_proj": 2}},
        {"rank_pattern": {"(q|o)_proj": 2, "q_proj": 3}, "alpha_pattern": {".*self_attn.*": 9, "q_proj": 5}},
    ],
)
def test_an_adapter_is_merged_as_peft_does(tmp_path: Path, settings: dict[str, Any]) -> None:
    expected = _write(tmp_path / "base", tmp_path / "adapter", **settings)
    plain, tuned = load_model(tmp_path / "base"), load_model(tmp_path / "base", adapter=tmp_path / "adapter")
    before, found = dict(plain.named_parameters()), dict(tuned.named_parameters())
    changed = 0
    for name, parameter in found.items():
        torch.testing.assert_close(parameter, expected[name], atol=1e-6, rtol=0, msg=name)
        changed += not torch.equal(parameter, before[name])
    assert changed == 3 * 4 + 2  # three layers, and the self-conditioning's gate and down projections


def test_a_quantised_weight_is_held_plain_once_it_is_changed(tmp_path: Path) -> None:
    _write(tmp_path / "base", tmp_path / "adapter")
    tuned = load_model(tmp_path / "base", form="fp8", adapter=tmp_path / "adapter")
    layer = tuned.layers[0]
    assert isinstance(layer.self_attn.k_proj, QuantisedLinear)
    assert isinstance(layer.self_attn.q_proj, torch.nn.Linear)


Damage = Callable[[dict[str, Any], dict[str, torch.Tensor]], object]
QUERY = "base_model.model.model.decoder.layers.0.self_attn.q_proj.lora_"
DAMAGE: dict[str, tuple[Damage, type[EngineError], str]] = {
    "another type": (lambda c, _: c.update(peft_type="IA3"), UnsupportedModel, "IA3"),
    "DoRA": (lambda c, _: c.update(use_dora=True), UnsupportedModel, "use_dora"),
    "half": (lambda _, t: t.pop(QUERY + "B.weight"), BrokenCheckpoint, "half"),
    "shape": (
        lambda _, t: t.update({QUERY + "A.weight": torch.ones(4, 5)}),
        BrokenCheckpoint,
        "does not fit",
    ),
    "no dimensions": (
        lambda _, t: t.update({QUERY + "A.weight": torch.tensor(1.0)}),
        BrokenCheckpoint,
        "does not fit",
    ),
    "three dimensions": (
        lambda _, t: t.update({n: t[n][:, None] for n in (QUERY + "A.weight", QUERY + "B.weight")}),
        BrokenCheckpoint,
        "does not fit",
    ),
    "rank 0": (
        lambda c, t: (
            c.update(r=0),
            t.update(
                {
                    QUERY + "A.weight": t[QUERY + "A.weight"][:0].clone(),
                    QUERY + "B.weight": t[QUERY + "B.weight"][:, :0].clone(),
                }
            ),
        ),
        BrokenCheckpoint,
        "rank 0",
    ),
    "another rank than it says": (
        lambda c, _: c.update(rank_pattern={r".*q_proj": 3}),
        BrokenCheckpoint,
        "rank 3",
    ),
    "nothing": (lambda _, t: t.clear(), BrokenCheckpoint, "no tensors"),
    "no number": (
        lambda _, t: t[QUERY + "A.weight"][1].fill_(float("nan")),
        BrokenCheckpoint,
        "no numbers",
    ),
    "integers": (
        lambda _, t: t.update({QUERY + "A.weight": t[QUERY + "A.weight"].to(torch.int8)}),
        BrokenCheckpoint,
        "no numbers",
    ),
    "alpha": (lambda c, _: c.update(lora_alpha=float("nan")), BrokenCheckpoint, "lora_alpha .* nan"),
    "alpha too large": (lambda c, _: c.update(lora_alpha=10**400), BrokenCheckpoint, "lora_alpha"),
    "a list of patterns": (lambda c, _: c.update(alpha_pattern=["q"]), BrokenCheckpoint, "alpha_pattern"),
    "no pattern": (lambda c, _: c.update(alpha_pattern={"(": 3}), BrokenCheckpoint, "no pattern"),
    "a tensor of another kind": (
        lambda _, t: t.update({"base_model.model.lm_head.weight": torch.ones(1)}),
        UnsupportedModel,
        "lm_head",
    ),
    "the router": (
        lambda _, t: t.update(
            {QUERY.replace("self_attn.q_proj", "router.proj") + "A.weight": torch.ones(4, 64)}
        ),
        UnsupportedModel,
        "router",
    ),
    "the encoder otherwise": (
        lambda _, t: t.update(
            {
                QUERY.replace("decoder", "encoder.language_model") + f"{half}.weight": 2
                * t[QUERY + f"{half}.weight"]
                for half in "AB"
            }
        ),
        UnsupportedModel,
        "alone",
    ),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_what_is_not_understood_is_refused_by_name(tmp_path: Path, name: str) -> None:
    damage, error, words = DAMAGE[name]
    _write(tmp_path / "base", tmp_path / "adapter")
    config_path, path = (
        tmp_path / "adapter/adapter_config.json",
        tmp_path / "adapter/adapter_model.safetensors",
    )
    config, tensors = json.loads(config_path.read_text()), load_file(path)
    damage(config, tensors)
    config_path.write_text(json.dumps(config))
    save_file(tensors, path)
    with pytest.raises(error, match=words):
        load_model(tmp_path / "base", adapter=tmp_path / "adapter")


def test_an_adapter_that_is_not_there(tmp_path: Path) -> None:
    write_reference_checkpoint(tmp_path)
    with pytest.raises(ModelNotFound, match="no adapter"):
        load_model(tmp_path, adapter=tmp_path / "gone")
