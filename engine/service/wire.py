"""What crosses between a client and the service, as JSON: the dataclasses of `engine.request`, unchanged.

Unknown fields are ignored, since the other side may be newer. Knows nothing of HTTP.
"""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec

from engine.errors import InvalidRequest

T = TypeVar("T")


def to_json(value: Any) -> Any:
    """A dataclass, and whatever it holds, as what `json.dumps` takes."""
    return msgspec.to_builtins(value)


def encode(value: Any) -> bytes:
    """A dataclass as JSON; its texts can be UTF-8, which is so of all that a tokenizer has written."""
    return msgspec.json.encode(value)


def from_json(kind: type[T], data: Any) -> T:
    """The inverse of `to_json` for a dataclass `kind`.

    Raises:
        InvalidRequest: a field is missing, of the wrong type or out of its range; it is named.
    """
    try:
        return msgspec.convert(data, kind)
    except msgspec.ValidationError as error:
        raise InvalidRequest(f"{kind.__name__}: {error}") from None


def decode(kind: type[T], data: bytes) -> T:
    """The inverse of `encode` for a dataclass `kind`.

    Raises:
        InvalidRequest: this is no JSON of such a thing; what is wrong is named.
    """
    try:
        return msgspec.json.decode(data, type=kind)
    except msgspec.DecodeError as error:
        raise InvalidRequest(f"{kind.__name__}: {error}") from None
