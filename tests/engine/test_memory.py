"""What a model needs is known before it is loaded, and is what it then takes."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from engine.caches.prefix import PrefixCache
from engine.checkpoints import hub
from engine.checkpoints.headers import read_header
from engine.checkpoints.memory import Holding, cache_bytes, examine, holding_for
from engine.checkpoints.plan import FORMS
from engine.checkpoints.weights import load_model
from engine.errors import BrokenCheckpoint, ModelNotFound, UnsupportedModel
from tests.engine.checkpoints import write_reference_checkpoint
from tests.engine.quantised import write_compressed, write_modelopt, write_plain

WRITERS = {
    "plain": write_plain,
    "modelopt": write_modelopt,
    **{
        kind: lambda folder, kind=kind: write_compressed(folder, kind)
        for kind in ("fp8", "nvfp4", "int4", "int4 zero")
    },
}


@pytest.mark.parametrize("name", WRITERS)
def test_a_loaded_model_takes_what_was_foretold(tmp_path: Path, name: str) -> None:
    WRITERS[name](tmp_path)
    report = examine(str(tmp_path), prefix_tokens=512)
    for need in report.needs:
        model = load_model(tmp_path, dtype=torch.bfloat16, form=need.form)
        assert sum(tensor.nbytes for tensor in model.state_dict().values()) == need.weights, need.form
    assert [need.form for need in report.needs] == list(FORMS)
    cache = PrefixCache(model.config, dtype=torch.bfloat16, device=torch.device("cpu"))
    cache.reserve(512)
    assert sum(t.nbytes for t in (*cache._keys, *cache._values)) == cache_bytes(model.config, 512)


def test_the_best_form_for_a_device_is_the_least_lossy_that_fits(tmp_path: Path) -> None:
    """A prefix in fp8 is given up before any of the weights."""
    write_plain(tmp_path)
    needs = {need.form: need for need in examine(str(tmp_path), prefix_tokens=16).needs}

    def best(room: int) -> Holding | None:
        return examine(str(tmp_path), prefix_tokens=16, device=("a GPU", room + (1 << 30))).best

    for form in ("stored", "fp8"):
        assert best(needs[form].device) == Holding(form=form)
        assert best(needs[form].device - 1) == Holding(form=form, fp8_prefixes=True)
        assert best(needs[form].least) == Holding(form=form, fp8_prefixes=True)
    assert best(needs["int4"].device) == Holding(form="int4", fp8_prefixes=True)
    assert best(needs["int4"].device - 1) is None
    assert examine(str(tmp_path)).best is None


def test_a_model_is_held_in_the_best_form_that_fits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_plain(tmp_path)
    assert holding_for(tmp_path) == Holding()  # no GPU here
    least = min(need.least for need in examine(str(tmp_path)).needs)
    monkeypatch.setattr("engine.checkpoints.memory.this_device", lambda: ("a GPU", least + (1 << 30)))
    assert holding_for(tmp_path) == Holding(form="int4", fp8_prefixes=True)
    monkeypatch.setattr("engine.checkpoints.memory.this_device", lambda: ("a GPU", 1 << 20))
    with pytest.raises(UnsupportedModel, match="GB of GPU memory; a GPU has"):
        holding_for(tmp_path)


@pytest.mark.parametrize("shards", [False, True])
def test_of_a_hub_model_only_headers_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shards: bool
) -> None:
    write_reference_checkpoint(tmp_path, shards=shards)
    fetched = 0

    def fetch(model: str, name: str, first: int | None = None, end: int | None = None) -> bytes | None:
        nonlocal fetched
        assert model == "owner/name"
        path = tmp_path / name
        if not path.exists():
            return None
        found = path.read_bytes()[slice(first, end)]
        fetched += len(found) if name.endswith(".safetensors") else 0
        return found

    monkeypatch.setattr(hub, "read_remote", fetch)
    remote, local = examine("owner/name"), examine(str(tmp_path))
    assert remote.needs == local.needs
    assert remote.stored_bytes == local.stored_bytes
    headers = sum(min(t.start for t in read_header(path)) for path in tmp_path.glob("*.safetensors"))
    assert fetched == headers


def test_a_hub_model_without_a_config_is_no_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub, "read_remote", lambda *_: None)
    with pytest.raises(ModelNotFound, match="owner/name"):
        examine("owner/name")


def test_a_truncated_checkpoint_is_found_out_from_its_header(tmp_path: Path) -> None:
    write_reference_checkpoint(tmp_path)
    path = tmp_path / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(BrokenCheckpoint, match="truncated"):
        examine(str(tmp_path))


def test_the_26b_with_4_bit_experts_and_a_prefix_of_8k(tmp_path: Path) -> None:
    """The published config, and headers as they would be: what the issue of fitting on a GPU is about."""
    from engine.checkpoints.config_json import model_config
    from engine.checkpoints.headers import StoredTensor
    from engine.checkpoints.memory import _need
    from engine.checkpoints.names import stored_name
    from engine.checkpoints.plan import make_plan
    from engine.checkpoints.weights import empty_model, state_shapes

    config = model_config(PUBLISHED, "published")
    shapes, end, stored = state_shapes(empty_model(config)), 0, []
    for name, shape in shapes.items():
        start, end = end, end + 2 * torch.Size(shape).numel()
        stored.append(
            StoredTensor(
                name=stored_name(name), file="x", dtype=torch.bfloat16, shape=shape, start=start, end=end
            )
        )
    plan = make_plan(shapes, stored, frozenset(), "published")
    assert 50e9 < end < 51.7e9  # the vision tower is the rest
    needs = {form: _need(config, plan, form, 8192) for form in FORMS}
    assert needs["int4"].device < 17.5e9 < needs["fp8"].least < needs["fp8"].device
    assert needs["stored"].cache == 8192 * 220 * 1024


PUBLISHED = {
    "model_type": "diffusion_gemma",
    "canvas_length": 256,
    "text_config": {
        "vocab_size": 262144,
        "hidden_size": 2816,
        "intermediate_size": 2112,
        "num_hidden_layers": 30,
        "num_attention_heads": 16,
        "num_key_value_heads": 8,
        "head_dim": 256,
        "global_head_dim": 512,
        "num_global_key_value_heads": 2,
        "num_experts": 128,
        "top_k_experts": 8,
        "moe_intermediate_size": 704,
        "sliding_window": 1024,
        "max_position_embeddings": 262144,
    },
}
"""`config.json` of google/diffusiongemma-26B-A4B-it, as far as it bears on shapes."""
