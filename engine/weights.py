"""Checkpoints in the Hugging Face layout: safetensors in, a model out, and back.

A checkpoint is used whole or not at all: every tensor the config calls for must be there, in its shape,
and nothing else may be, apart from the vision tower, which this engine does not run. Knows nothing of
where a folder comes from (see `engine.hub`).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor
from torch.overrides import TorchFunctionMode

from engine.config import ModelConfig
from engine.config_json import VISION_STUB, read_model_config
from engine.errors import BrokenCheckpoint
from engine.model import DiffusionGemma

_DECODER = "model.decoder."
_ENCODER_LAYER = "model.encoder.language_model.layers."
_VISION = ("model.encoder.vision_tower.", "model.encoder.embed_vision.")
_DTYPES = (torch.float32, torch.bfloat16, torch.float16)


def load_model(folder: Path, *, dtype: torch.dtype | None = None, device: str = "cpu") -> DiffusionGemma:
    """Read the model in `folder`, in `dtype` (default: as stored) on `device`, ready to run.

    Raises:
        UnsupportedModel: another architecture, or a variant we do not compute.
        BrokenCheckpoint: files missing, truncated or corrupt; tensors missing, unexpected or misshapen.
    """
    config = read_model_config(folder)
    with torch.device("meta"), _Uninitialised():
        model = DiffusionGemma(config)
    wanted = {stored_name(name): (name, tensor.shape) for name, tensor in model.state_dict().items()}
    found: dict[str, Tensor] = {}
    for stored, tensor in _read_tensors(folder):
        if stored.startswith(_VISION):
            continue
        if stored not in wanted:
            raise BrokenCheckpoint(f"{folder}: unexpected tensor {stored}")
        name, shape = wanted[stored]
        if name in found:
            raise BrokenCheckpoint(f"{folder}: tensor {stored} is there twice")
        if tensor.shape != shape:
            raise BrokenCheckpoint(
                f"{folder}: tensor {stored} is {tuple(tensor.shape)}, the config calls for {tuple(shape)}"
            )
        if tensor.dtype not in _DTYPES:
            raise BrokenCheckpoint(f"{folder}: tensor {stored} is stored as {tensor.dtype}")
        found[name] = tensor.to(device=device, dtype=dtype)
    missing = sorted(stored for stored, (name, _) in wanted.items() if name not in found)
    if missing:
        raise BrokenCheckpoint(f"{folder}: {len(missing)} tensors are missing, first {missing[0]}")
    model.load_state_dict(found, assign=True)
    return model.eval().requires_grad_(False)


class _Uninitialised(TorchFunctionMode):
    """Leaves out the random first values of parameters that a file is about to give.

    On the meta device torch would import its compiler for them: seconds, and 200 MB that stay.
    """

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if getattr(func, "__module__", None) == "torch.nn.init":
            return args[0] if args else kwargs["tensor"]
        return func(*args, **kwargs)


def save_model(model: DiffusionGemma, folder: Path) -> None:
    """Write the weights as one `model.safetensors` that we and `transformers` load.

    The configs are written by `engine.config.write_configs`.
    """
    tensors = {stored_name(name): t.detach().cpu().contiguous() for name, t in model.state_dict().items()}
    dtype = tensors[_DECODER + "embed_tokens.weight"].dtype
    tensors.update(
        {name: torch.zeros(shape, dtype=dtype) for name, shape in _vision_stub(model.config).items()}
    )
    path = folder / "model.safetensors"
    save_file(tensors, path, metadata={"format": "pt"})
    path.chmod(0o644)  # the library writes it for the owner alone; packages are read by others


def stored_name(name: str) -> str:
    """The checkpoint's name of the model's parameter or buffer `name`."""
    layers, dot, rest = name.partition(".")
    index, _, leaf = rest.partition(".")
    if layers == "layers" and dot and leaf == "encoder_layer_scalar":
        return f"{_ENCODER_LAYER}{index}.layer_scalar"
    return _DECODER + name


def _read_tensors(folder: Path) -> Iterator[tuple[str, Tensor]]:
    for path in _weight_files(folder):
        try:
            with safe_open(path, framework="pt") as file:
                for name in file.keys():  # noqa: SIM118 - safe_open is not a mapping
                    yield name, file.get_tensor(name)
        except (SafetensorError, OSError, ValueError) as error:
            raise BrokenCheckpoint(f"{path} is truncated or corrupt: {error}") from error


def _weight_files(folder: Path) -> list[Path]:
    index = folder / "model.safetensors.index.json"
    if not index.exists():
        single = folder / "model.safetensors"
        if not single.exists():
            raise BrokenCheckpoint(f"{folder} has no model.safetensors (other formats are not read)")
        return [single]
    try:
        names = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        raise BrokenCheckpoint(f"{index} cannot be read: {error}") from error
    if not all(isinstance(name, str) for name in names):
        raise BrokenCheckpoint(f"{index} names files by something else than their names")
    files = [folder / name for name in names]
    for path in files:
        if path.parent != folder:
            raise BrokenCheckpoint(f"{index} names a file outside its folder: {path.name}")
        if not path.exists():
            raise BrokenCheckpoint(f"{path} is missing")
    return files


def _vision_stub(config: ModelConfig) -> dict[str, tuple[int, ...]]:
    """Names and shapes of the zeros that let `transformers` load a text-only model without complaint."""
    size, patch = VISION_STUB["hidden_size"], VISION_STUB["patch_size"]
    layer = f"{_VISION[0]}encoder.layers.0."
    shapes: dict[str, tuple[int, ...]] = {
        f"{_VISION[1]}embedding_projection.weight": (config.hidden_size, size),
        f"{_VISION[0]}patch_embedder.input_proj.weight": (size, 3 * patch * patch),
        f"{_VISION[0]}patch_embedder.position_embedding_table": (
            2,
            VISION_STUB["position_embedding_size"],
            size,
        ),
    }
    for norm in ("input", "post_attention", "pre_feedforward", "post_feedforward"):
        shapes[f"{layer}{norm}_layernorm.weight"] = (size,)
    for norm in ("q", "k"):
        shapes[f"{layer}self_attn.{norm}_norm.weight"] = (VISION_STUB["head_dim"],)
    for projection in ("q", "k", "v", "o"):
        shapes[f"{layer}self_attn.{projection}_proj.linear.weight"] = (size, size)
    for projection in ("gate", "up", "down"):
        shapes[f"{layer}mlp.{projection}_proj.linear.weight"] = (size, size)
    return shapes
