"""What crosses between a client and the service, as JSON: the dataclasses of `engine.request`, unchanged.

Fields are found by their types, so that a field added there crosses too. Unknown fields are ignored, since
the other side may be newer. Knows nothing of HTTP.
"""

from __future__ import annotations

import types
import typing
from dataclasses import MISSING, fields, is_dataclass
from enum import Enum
from functools import cache
from typing import Any, TypeVar

from engine.errors import InvalidRequest

T = TypeVar("T")


def to_json(value: Any) -> Any:
    """A dataclass, and whatever it holds, as what `json.dumps` takes."""
    if is_dataclass(value):
        return {name: to_json(getattr(value, name)) for name in _names(value.__class__)}
    if isinstance(value, tuple | list):
        return [to_json(item) for item in value]
    return value.value if isinstance(value, Enum) else value


def from_json(kind: type[T], data: Any) -> T:
    """The inverse of `to_json` for a dataclass `kind`.

    Raises:
        InvalidRequest: a field is missing, of the wrong type or out of its range; it is named.
    """
    value: T = _read(kind, data, kind.__name__)
    return value


@cache
def _names(kind: type) -> tuple[str, ...]:
    return tuple(field.name for field in fields(kind))


@cache
def _schema(kind: type) -> tuple[tuple[str, Any, bool], ...]:
    """Each field's name, its type and whether it must be there."""
    hints = typing.get_type_hints(kind)
    return tuple(
        (field.name, hints[field.name], field.default is MISSING and field.default_factory is MISSING)
        for field in fields(kind)
    )


def _read(kind: Any, data: Any, where: str) -> Any:
    origin = typing.get_origin(kind)
    if origin in (types.UnionType, typing.Union):
        return _read_union(kind, data, where)
    if origin is tuple:
        return _read_tuple(kind, data, where)
    if is_dataclass(kind):
        return _read_dataclass(kind, data, where)
    if isinstance(kind, type) and issubclass(kind, Enum):
        try:
            return kind(data)
        except ValueError:
            raise InvalidRequest(f"{where}: {str(data)[:40]!r} is none of its values") from None
    if kind is float and isinstance(data, int) and not isinstance(data, bool):
        return float(data)
    if not isinstance(data, kind) or (isinstance(data, bool) and kind is not bool):
        raise InvalidRequest(f"{where} should be of type {kind.__name__}, not {type(data).__name__}")
    return data


def _read_union(kind: Any, data: Any, where: str) -> Any:
    """`X | None`, which is all there is."""
    if data is None:
        return None
    [inner] = (part for part in typing.get_args(kind) if part is not types.NoneType)
    return _read(inner, data, where)


def _read_tuple(kind: Any, data: Any, where: str) -> tuple[Any, ...]:
    if not isinstance(data, list):
        raise InvalidRequest(f"{where} should be a list, not {type(data).__name__}")
    inner = typing.get_args(kind)[0]
    return tuple(_read(inner, item, f"{where}[{index}]") for index, item in enumerate(data))


def _read_dataclass(kind: Any, data: Any, where: str) -> Any:
    if not isinstance(data, dict):
        raise InvalidRequest(f"{where} should be an object, not {type(data).__name__}")
    values = {}
    for name, inner, needed in _schema(kind):
        if name in data:
            values[name] = _read(inner, data[name], f"{where}.{name}")
        elif needed:
            raise InvalidRequest(f"{where}.{name} is missing")
    return kind(**values)
