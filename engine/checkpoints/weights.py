"""Checkpoints in the Hugging Face layout: safetensors in, a model out, and back.

A checkpoint is used whole or not at all: every tensor the config calls for must be there, in its shape,
and nothing else may be, apart from the vision tower, which this engine does not run. All of that is checked
from the files' headers; then the weights go to their device a few rows at a time, so that a load never
holds more than a chunk of them in host memory. Knows nothing of where a folder comes from (see
`engine.checkpoints.hub`) or of how quantised weights are stored (see `engine.quant`).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, BinaryIO

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from engine.checkpoints.config_json import VISION_STUB, read_json, read_model_config
from engine.checkpoints.fill import Filler, Held
from engine.checkpoints.headers import StoredTensor, read_header, read_rows
from engine.checkpoints.names import stored_name
from engine.checkpoints.plan import FORMS, Piece, Target, make_plan
from engine.checkpoints.schemes import read_schemes
from engine.config import ModelConfig
from engine.errors import BrokenCheckpoint, ModelNotFound, UnsupportedModel
from engine.networks.linear import QuantisedLinear
from engine.networks.model import DiffusionGemma

_DECODER = "model.decoder."
_VISION = ("model.encoder.vision_tower.", "model.encoder.embed_vision.")

CHUNK_BYTES = 64 << 20
"""How much of a tensor is read at once."""


def load_model(
    folder: Path,
    *,
    dtype: torch.dtype | None = None,
    device: str = "cpu",
    form: str = "stored",
    adapter: Path | None = None,
    on_progress: Callable[[str], None] | None = None,
) -> DiffusionGemma:
    """Read the model in `folder`, in `dtype` (default: as stored) on `device`, ready to run.

    `form` is one of `engine.checkpoints.plan.FORMS`; `adapter` is the folder of a LoRA adapter to be merged.
    What is never quantised (embeddings, router, norms) is held in `dtype`.

    Raises:
        UnsupportedModel: another architecture, or a variant or a quantisation we do not compute.
        BrokenCheckpoint: files missing, truncated or corrupt; tensors missing, unexpected or misshapen.
        ModelNotFound: there is no such adapter.
    """
    if form not in FORMS:
        raise UnsupportedModel(f"form {form!r} is not known; choose one of {', '.join(FORMS)}")
    model = empty_model(read_model_config(folder))
    if adapter is not None and not adapter.is_dir():
        raise ModelNotFound(f"there is no adapter {adapter}; an adapter is a directory")
    report = on_progress or (lambda _line: None)
    gguf = gguf_file(folder)
    if gguf is not None:
        from engine.checkpoints.gguf import read_gguf

        held = read_gguf(gguf, state_shapes(model), form, dtype, torch.device(device), report)
    else:
        held = _read_safetensors(folder, model, form, dtype, torch.device(device), report)
    lora = None
    if adapter is not None:
        from engine.checkpoints.adapters import Adapter

        lora = Adapter(adapter, state_shapes(model))
    for name, value in held:
        put(model, name, lora.merged(name, value, dtype) if lora else value)
    return model.eval().requires_grad_(False)


def empty_model(config: ModelConfig) -> DiffusionGemma:
    """The model on the meta device: shapes without memory."""
    with torch.device("meta"), _Uninitialised():
        return DiffusionGemma(config)


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


def state_shapes(model: nn.Module) -> dict[str, tuple[int, ...]]:
    """Every parameter and buffer of `model` and its shape."""
    return {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}


def plan_of(folder: Path, shapes: dict[str, tuple[int, ...]]) -> list[Target]:
    """What is to be read from the safetensors in `folder`, from their headers alone.

    Raises:
        BrokenCheckpoint, UnsupportedModel: see `load_model`.
    """
    schemes = read_schemes(folder)
    stored = [tensor for name in weight_file_names(folder) for tensor in read_header(folder / name)]
    return make_plan(shapes, stored, schemes, str(folder))


def gguf_file(folder: Path) -> Path | None:
    """The GGUF file in `folder`, where that is what its weights are in.

    Raises:
        BrokenCheckpoint: there are several.
    """
    if (folder / "model.safetensors").exists() or (folder / "model.safetensors.index.json").exists():
        return None
    found = sorted(folder.glob("*.gguf"))
    if len(found) > 1:
        raise BrokenCheckpoint(f"{folder} has {len(found)} GGUF files; which one is meant is not clear")
    return found[0] if found else None


def put(model: nn.Module, name: str, value: Held) -> None:
    """Make `value` the parameter or buffer `name` of `model`; a quantised one brings its own module."""
    path, _, leaf = name.rpartition(".")
    owner = model.get_submodule(path)
    if isinstance(value, Tensor):
        if leaf in owner._buffers:
            owner._buffers[leaf] = value
        else:
            owner._parameters[leaf] = nn.Parameter(value, requires_grad=False)
    elif isinstance(owner, nn.Linear):
        above, _, own = path.rpartition(".")
        setattr(model.get_submodule(above), own, QuantisedLinear(value))
    else:
        delattr(owner, leaf)
        owner.add_module(leaf, value)


def _read_safetensors(
    folder: Path,
    model: DiffusionGemma,
    form: str,
    dtype: torch.dtype | None,
    device: torch.device,
    report: Callable[[str], None],
) -> Iterator[tuple[str, Held]]:
    """Every parameter of the model in turn, as soon as all of its pieces have been read."""
    targets = plan_of(folder, state_shapes(model))
    fillers = {target.param: Filler(target, form, dtype, device) for target in targets}
    pieces = [piece for target in targets for piece in target.pieces]
    total, done, shown = sum(piece.tensor.nbytes for piece in pieces) or 1, 0, 0
    for piece, first, last, rows in _chunks(folder, pieces):
        done += rows.nbytes
        if fillers[piece.place.param].put(piece, first, last, rows):
            yield piece.place.param, fillers.pop(piece.place.param).result()
        if 100 * done // total > shown:
            shown = 100 * done // total
            report(f"reading the weights {shown}%")


def _chunks(folder: Path, pieces: list[Piece]) -> Iterator[tuple[Piece, int, int, Tensor]]:
    """(piece, first row, last row, rows), file after file in the order they lie there."""

    def place_of(piece: Piece) -> tuple[str, int]:
        return piece.tensor.file, piece.tensor.start

    with ExitStack() as stack:
        files: dict[str, BinaryIO] = {}
        for piece in sorted(pieces, key=place_of):
            tensor: StoredTensor = piece.tensor
            if tensor.file not in files:
                stack.close()
                files = {tensor.file: stack.enter_context((folder / tensor.file).open("rb", buffering=0))}
            for first, last, rows in read_rows(files[tensor.file], tensor, CHUNK_BYTES):
                yield piece, first, last, rows


def save_model(model: DiffusionGemma, folder: Path) -> None:
    """Write the weights as one `model.safetensors` that we and `transformers` load.

    The configs are written by `engine.checkpoints.config_json.write_configs`.
    """
    tensors = {stored_name(name): t.detach().cpu().contiguous() for name, t in model.state_dict().items()}
    dtype = tensors[_DECODER + "embed_tokens.weight"].dtype
    tensors.update(
        {name: torch.zeros(shape, dtype=dtype) for name, shape in _vision_stub(model.config).items()}
    )
    path = folder / "model.safetensors"
    save_file(tensors, path, metadata={"format": "pt"})
    path.chmod(0o644)  # the library writes it for the owner alone; packages are read by others


def weight_file_names(folder: Path) -> list[str]:
    """The names of the safetensors in `folder` that make up the model.

    Raises:
        BrokenCheckpoint: there are none, one is missing, or the index makes no sense.
    """
    index = folder / "model.safetensors.index.json"
    if not index.exists():
        single = folder / "model.safetensors"
        if not single.exists():
            raise BrokenCheckpoint(f"{folder} has no model.safetensors, nor a GGUF file")
        return [single.name]
    weight_map = read_json(index).get("weight_map")
    if not isinstance(weight_map, dict):
        raise BrokenCheckpoint(f"{index} has no weight_map")
    if not all(isinstance(name, str) for name in weight_map.values()):
        raise BrokenCheckpoint(f"{index} names files by something else than their names")
    names = sorted(set(weight_map.values()))
    for path in [folder / name for name in names]:
        if path.parent != folder:
            raise BrokenCheckpoint(f"{index} names a file outside its folder: {path.name}")
        if not os.path.exists(path):  # the path's own method raises where a name is too long to be one
            raise BrokenCheckpoint(f"{path} is missing")
    return names


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
