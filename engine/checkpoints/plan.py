"""What is to be read from where, decided from headers alone: no byte of the weights has been touched yet.

Everything that can be wrong with a checkpoint but truncated data is found here and refused by the name of
the tensor. The same plan tells how much memory a model will need (see `engine.checkpoints.memory`).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import torch

from engine.checkpoints.headers import StoredTensor
from engine.checkpoints.names import Part, Place, ignored, place, stored_name
from engine.checkpoints.schemes import Declared, Scheme
from engine.errors import BrokenCheckpoint, UnsupportedModel
from engine.quant.weight import Code, int4_group

PLAIN_DTYPES = (torch.float32, torch.bfloat16, torch.float16)

FORMS = ("stored", "bf16", "fp8", "int4")
"""What weights are held as: as they are stored, all of them plain, or quantised by us while they load
(`int4`: the experts; the other linear layers then become fp8)."""


@dataclass(frozen=True, kw_only=True)
class Piece:
    """One stored tensor and where it goes: `expert` of the parameter (None: all), `rows` of its output."""

    tensor: StoredTensor
    place: Place
    rows: tuple[int, int]


@dataclass(kw_only=True)
class Target:
    """A parameter of the model: its logical shape, the scheme it is stored in, and all its pieces."""

    param: str
    shape: tuple[int, ...]
    scheme: Scheme | None = None
    group: int = 0
    asymmetric: bool = False
    pieces: list[Piece] = field(default_factory=list)

    @property
    def quantisable(self) -> bool:
        """Whether it is a weight that may be quantised: embeddings, the router and norms may not."""
        return quantisable(self.param)

    @property
    def quantised(self) -> bool:
        """Whether it is stored so."""
        return self.scheme is not None

    @property
    def stored_as(self) -> frozenset[str]:
        """What it is stored as, for people: a scheme, or types."""
        if self.scheme is not None:
            return frozenset({self.scheme.value})
        return frozenset(str(piece.tensor.dtype).removeprefix("torch.") for piece in self.pieces)

    @property
    def stored_bytes(self) -> int:
        """Bytes it is stored in."""
        return sum(piece.tensor.nbytes for piece in self.pieces)

    @property
    def whole_bytes(self) -> int:
        """Bytes of it that the host reads at once; 0 where it is read a chunk at a time."""
        return 0

    def turning_bytes(self, form: str) -> int:
        """Bytes on the device, beside what it becomes, while it is brought into `form`."""
        return self.device_bytes("stored", 2) if self.quantised and self.held_as(form) != "stored" else 0

    def held_as(self, form: str) -> str:
        """What `form` (one of `FORMS`) makes of it: `stored`, `bf16` (that is, plain), `fp8` or `int4`."""
        if form == "stored" or not self.quantisable:
            return "stored"
        if form == "int4" and ".experts." not in self.param:
            return "fp8"
        return form

    def device_bytes(self, form: str, itemsize: int) -> int:
        """Bytes it will occupy, plain elements taking `itemsize` each."""
        held, count = self.held_as(form), math.prod(self.shape)
        rows = math.prod(self.shape[:-1])
        if held == "stored" and self.scheme is not None:
            return _stored_bytes(self, count, rows)
        if held == "fp8":
            return count + 4 * rows
        if held == "int4":
            return count // 2 + 2 * (count // int4_group(self.shape[-1]))
        return count * itemsize


def quantisable(param: str) -> bool:
    """Whether `param` is a linear layer's or the experts' weight, and not the router's."""
    return (".experts." in param or param.endswith("_proj.weight")) and ".router." not in param


def make_plan(
    shapes: Mapping[str, tuple[int, ...]],
    stored: Iterable[StoredTensor],
    schemes: frozenset[Declared],
    where: str,
) -> list[Target]:
    """A target for every one of `shapes` (parameter or buffer to logical shape), fully covered by `stored`.

    Raises:
        BrokenCheckpoint: a tensor is missing, unexpected, there twice, misshapen, or of a type its format
            does not have; the text names it.
        UnsupportedModel: something is quantised that we keep in full precision.
    """
    targets = {param: Target(param=param, shape=tuple(shape)) for param, shape in shapes.items()}
    for tensor in stored:
        if ignored(tensor.name):
            continue
        at = place(tensor.name)
        if at is None or at.param not in targets:
            raise BrokenCheckpoint(f"{where}: unexpected tensor {tensor.name}")
        _add(targets[at.param], tensor, at, schemes, where)
    for target in targets.values():
        _declare(target, schemes)
        _check(target, where)
    missing = sorted(name for target in targets.values() for name in _missing(target))
    if missing:
        raise BrokenCheckpoint(f"{where}: {len(missing)} tensors are missing, first {missing[0]}")
    return list(targets.values())


def _add(target: Target, tensor: StoredTensor, at: Place, schemes: frozenset[Declared], where: str) -> None:
    if any(piece.place == at for piece in target.pieces):
        raise BrokenCheckpoint(f"{where}: tensor {tensor.name} is there twice")
    if at.expert is not None and (len(target.shape) != 3 or at.expert >= target.shape[0]):
        raise BrokenCheckpoint(f"{where}: unexpected tensor {tensor.name}")
    values = at.part is Part.VALUES
    scheme = _scheme(tensor, at, schemes, where) if values else None
    if scheme is not None and not target.quantisable:
        raise UnsupportedModel(f"{where}: tensor {tensor.name} is quantised; we keep it in full precision")
    alike = {p.place.expert is None for p in target.pieces} <= {at.expert is None}
    same = not values or target.scheme is scheme or all(p.place.part is not at.part for p in target.pieces)
    if not alike or not same:
        raise BrokenCheckpoint(f"{where}: tensor {tensor.name} is stored unlike the rest of its weight")
    if values:
        target.scheme = scheme
    target.pieces.append(Piece(tensor=tensor, place=at, rows=_rows(target, at)))


def _scheme(tensor: StoredTensor, at: Place, schemes: frozenset[Declared], where: str) -> Scheme | None:
    """The scheme of which `tensor`, stored under `weight` or `weight_packed`, holds the values."""
    if at.suffix == "weight" and tensor.dtype in PLAIN_DTYPES:
        return None
    fits = {
        ("weight", torch.float8_e4m3fn): Scheme.FP8,
        ("weight", torch.uint8): Scheme.MODELOPT_NVFP4,
        ("weight_packed", torch.uint8): Scheme.NVFP4,
        ("weight_packed", torch.int32): Scheme.INT4,
    }.get((at.suffix, tensor.dtype))
    if fits is None or all(declared.scheme is not fits for declared in schemes):
        raise BrokenCheckpoint(
            f"{where}: tensor {tensor.name} is stored as {tensor.dtype}, which config.json does not explain"
        )
    return fits


def _rows(target: Target, at: Place) -> tuple[int, int]:
    out = target.shape[-2] if len(target.shape) > 1 else 1
    if at.half == "gate_proj":
        return 0, out // 2
    return (out // 2 if at.half == "up_proj" else 0), out


def _declare(target: Target, schemes: frozenset[Declared]) -> None:
    """Give `target` the group and the symmetry that are declared for its scheme.

    Layers may be declared differently: its scales and zero points then say which declaration is theirs.
    """
    width, groups = target.shape[-1] if target.shape else 1, 1
    for piece in target.pieces:
        if piece.place.part is Part.SCALE and len(piece.tensor.shape) > 1:
            groups = piece.tensor.shape[-1]
    asymmetric = any(piece.place.part is Part.ZERO for piece in target.pieces)

    def likeness(declared: Declared) -> tuple[bool, bool, int]:
        group = declared.group or width
        return groups * group == width, declared.symmetric is not asymmetric, group

    fitting = [declared for declared in schemes if declared.scheme is target.scheme]
    if fitting:
        best = max(fitting, key=likeness)
        target.group, target.asymmetric = best.group or width, not best.symmetric


def _check(target: Target, where: str) -> None:
    """Raises unless every piece is one its scheme has, of a type it has there, and of the one shape."""
    if target.group and target.shape[-1] % target.group:
        raise UnsupportedModel(
            f"{where}: rows of {target.shape[-1]} in {target.param} are no groups of {target.group}"
        )
    for piece in target.pieces:
        name, dtype = piece.tensor.name, piece.tensor.dtype
        dtypes = _parts(target).get(piece.place.suffix)
        if dtypes is None:
            raise BrokenCheckpoint(f"{where}: unexpected tensor {name}")
        if dtype not in dtypes:
            raise BrokenCheckpoint(
                f"{where}: tensor {name} is stored as {dtype}, its format calls for "
                f"{' or '.join(map(str, dtypes))}"
            )
        shape, expected = piece.tensor.shape, _expected(target, piece)
        if shape != expected and not (expected == () and math.prod(shape) == 1):
            raise BrokenCheckpoint(f"{where}: tensor {name} is {shape}, the config calls for {expected}")


def _expected(target: Target, piece: Piece) -> tuple[int, ...]:
    """The shape a piece should have; () for a single number, however it is wrapped."""
    if target.scheme is None and piece.place.expert is None:
        return target.shape
    count, width = piece.rows[1] - piece.rows[0], target.shape[-1]
    experts = target.shape[:1] if piece.place.expert is None and len(target.shape) == 3 else ()
    packing = {Scheme.NVFP4: 2, Scheme.MODELOPT_NVFP4: 2, Scheme.INT4: 8}
    groups = width // target.group if target.group else 1
    if target.scheme is Scheme.FP8 and math.prod(piece.tensor.shape) == 1:
        groups, count = 1, count if piece.place.part is Part.VALUES else 1
    single = piece.place.part is Part.GLOBAL or (
        target.scheme is Scheme.FP8 and piece.place.part is Part.SCALE and count == 1
    )
    if single:
        return ()
    return {
        Part.VALUES: (*experts, count, width // packing.get(target.scheme, 1) if target.scheme else width),
        Part.SCALE: (*experts, count, groups),
        Part.ZERO: (-(-count // 8), groups),
        Part.SHAPE: (2,),
    }[piece.place.part]


_PARTS: dict[Scheme | None, dict[str, tuple[torch.dtype, ...]]] = {
    None: {"weight": PLAIN_DTYPES},
    Scheme.FP8: {"weight": (torch.float8_e4m3fn,), "weight_scale": PLAIN_DTYPES},
    Scheme.NVFP4: {
        "weight_packed": (torch.uint8,),
        "weight_scale": (torch.float8_e4m3fn,),
        "weight_global_scale": PLAIN_DTYPES,
    },
    Scheme.MODELOPT_NVFP4: {
        "weight": (torch.uint8,),
        "weight_scale": (torch.float8_e4m3fn,),
        "weight_scale_2": PLAIN_DTYPES,
    },
    Scheme.INT4: {
        "weight_packed": (torch.int32,),
        "weight_scale": PLAIN_DTYPES,
        "weight_shape": (torch.int64, torch.int32),
    },
}
"""What a scheme stores a weight as, and what each part may be stored as: other types mean other numbers."""

_ZERO_POINTS: dict[str, tuple[torch.dtype, ...]] = {"weight_zero_point": (torch.int32,)}


def _parts(target: Target) -> dict[str, tuple[torch.dtype, ...]]:
    """The suffixes of what `target` is stored as, and the types each may have."""
    return _PARTS[target.scheme] | (_ZERO_POINTS if target.asymmetric else {})


def _missing(target: Target) -> list[str]:
    """Names of the tensors that `target` still lacks."""
    have = {(p.place.suffix, p.place.expert, p.place.half) for p in target.pieces}
    suffixes = _parts(target)
    if any(expert is not None for _, expert, _ in have):
        halves = [""]
        if target.param.endswith("gate_up_proj") and any(half for _, _, half in have):
            halves = ["gate_proj", "up_proj"]
        regions = [(expert, half) for expert in range(target.shape[0]) for half in halves]
    else:
        regions = [(None, "")]  # type: ignore[list-item]
    return [
        stored_name(target.param, suffix, expert, half)
        for suffix in suffixes
        for expert, half in regions
        if (suffix, expert, half) not in have
    ]


def code_of(scheme: Scheme) -> Code:
    """How the elements of `scheme` are coded."""
    if scheme in (Scheme.NVFP4, Scheme.MODELOPT_NVFP4):
        return Code.FP4
    return Code.FP8 if scheme is Scheme.FP8 else Code.INT4


def _stored_bytes(target: Target, count: int, rows: int) -> int:
    if target.scheme is Scheme.FP8:
        return count + 4 * rows
    groups = count // target.group
    if target.scheme is Scheme.INT4:
        return count // 2 + (6 if target.asymmetric else 2) * groups
    return count // 2 + groups + 4 * rows
