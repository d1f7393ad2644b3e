"""The headers of safetensors files: which tensors there are and where, without a byte of the weights.

A file is eight bytes of length, that much JSON, then the tensors. Reading it ourselves, and not through a
memory map, keeps what a load holds in host memory at one chunk. Knows nothing of models.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import Tensor

from engine.errors import BrokenCheckpoint

DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "F8_E4M3": torch.float8_e4m3fn,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}

_LONGEST_HEADER = 100_000_000
"""The format's own limit, in bytes."""


@dataclass(frozen=True, kw_only=True)
class StoredTensor:
    """One tensor of a file: its bytes are `start` to `end` (exclusive), counted from the file's."""

    name: str
    file: str
    dtype: torch.dtype
    shape: tuple[int, ...]
    start: int
    end: int

    @property
    def nbytes(self) -> int:
        """Bytes it is stored in."""
        return self.end - self.start


def read_header(path: Path) -> list[StoredTensor]:
    """The tensors of `path`, in the file's order.

    Raises:
        BrokenCheckpoint: the file is truncated or corrupt.
    """
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            length = header_length(file.read(8), path.name)
            return parse_header(file.read(length), path.name, size)
    except OSError as error:
        raise BrokenCheckpoint(f"{path} cannot be read: {error}") from error


def header_length(first: bytes, name: str) -> int:
    """The header's length in bytes from a file's first eight.

    Raises:
        BrokenCheckpoint: they make no sense.
    """
    length: int = struct.unpack("<Q", first)[0] if len(first) == 8 else 0
    if not 2 <= length <= _LONGEST_HEADER:
        raise BrokenCheckpoint(f"{name} is truncated or corrupt: its header would be {length} bytes long")
    return length


def parse_header(text: bytes, name: str, file_bytes: int | None = None) -> list[StoredTensor]:
    """The tensors of the header `text`; `file_bytes` is the whole file's size, where it is known.

    Raises:
        BrokenCheckpoint: not JSON, or tensors that lie outside the file or do not fill it.
    """
    try:
        raw = json.loads(text)
        if not isinstance(raw, dict):
            raise ValueError("its header is no object")
        found = [
            _entry(key, value, name, 8 + len(text)) for key, value in raw.items() if key != "__metadata__"
        ]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise BrokenCheckpoint(f"{name} is truncated or corrupt: {error}") from error
    found.sort(key=lambda tensor: tensor.start)
    end = 8 + len(text)
    for tensor in found:
        if tensor.start != end:
            raise BrokenCheckpoint(f"{name} is truncated or corrupt: tensor {tensor.name} is out of place")
        end = tensor.end
    if file_bytes is not None and end != file_bytes:
        raise BrokenCheckpoint(f"{name} is truncated or corrupt: {file_bytes} bytes where {end} belong")
    return found


def _entry(key: str, value: Mapping[str, Any], file: str, offset: int) -> StoredTensor:
    if value["dtype"] not in DTYPES:
        raise ValueError(f"tensor {key} is stored as {value['dtype']}")
    dtype = DTYPES[value["dtype"]]
    shape = tuple(value["shape"])
    start, end = value["data_offsets"]
    if not all(isinstance(n, int) and n >= 0 for n in (*shape, start, end)):
        raise ValueError(f"tensor {key} has a shape or a place that is no number")
    if end - start != math.prod(shape) * dtype.itemsize:
        raise ValueError(f"tensor {key} has {end - start} bytes for a shape of {shape}")
    return StoredTensor(name=key, file=file, dtype=dtype, shape=shape, start=offset + start, end=offset + end)


def read_rows(file: BinaryIO, tensor: StoredTensor, most_bytes: int) -> Iterator[tuple[int, int, Tensor]]:
    """(first, last, rows) of `tensor` in pieces of at most about `most_bytes`, cut along its first dimension.

    Raises:
        BrokenCheckpoint: the file ends early.
    """
    rows = tensor.shape[0] if tensor.shape else 1
    if not tensor.nbytes:
        return
    per_row = tensor.nbytes // rows
    step = max(1, most_bytes // per_row)
    for first in range(0, rows, step):
        last = min(rows, first + step)
        buffer = bytearray((last - first) * per_row)
        file.seek(tensor.start + first * per_row)
        if file.readinto(buffer) != len(buffer):  # type: ignore[attr-defined]
            raise BrokenCheckpoint(f"{tensor.file} is truncated or corrupt: tensor {tensor.name} ends early")
        part = torch.frombuffer(buffer, dtype=tensor.dtype)
        yield first, last, part.view(last - first, *tensor.shape[1:]) if tensor.shape else part.view(())
