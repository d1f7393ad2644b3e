"""What crosses between a client and the service, as JSON: the dataclasses of `engine.request`, unchanged.

Fields are found by their types, so that a field added there crosses too. Unknown fields are ignored, since
the other side may be newer. Knows nothing of HTTP.

A fill is thousands of tokens, each a dataclass: what a type needs is worked out once, and kept as a function.
"""

from __future__ import annotations

import types
import typing
from collections.abc import Callable
from dataclasses import MISSING, fields, is_dataclass
from enum import Enum
from functools import cache
from typing import Any, TypeVar

from engine.errors import InvalidRequest

T = TypeVar("T")
Reader = Callable[[Any], Any]
"""What JSON has -> the value; raises _Wrong."""

_PLAIN = (str, int, float, bool)


class _Wrong(Exception):
    """What is wrong with a value, and where it lies within what is being read: `.field`, `[index]`."""

    def __init__(self, said: str, where: str = "") -> None:
        super().__init__(said)
        self.said, self.where = said, where

    def within(self, where: str) -> _Wrong:
        """The same, seen from a level further out."""
        return _Wrong(self.said, where + self.where)


def to_json(value: Any) -> Any:
    """A dataclass, and whatever it holds, as what `json.dumps` takes; for reading only, and at once."""
    if is_dataclass(value):
        inner = _deep(value.__class__)
        data = value.__dict__
        return {**data, **{name: to_json(data[name]) for name in inner}} if inner else data
    if isinstance(value, tuple | list):
        return [to_json(item) for item in value]
    return value.value if isinstance(value, Enum) else value


def from_json(kind: type[T], data: Any) -> T:
    """The inverse of `to_json` for a dataclass `kind`.

    Raises:
        InvalidRequest: a field is missing, of the wrong type or out of its range; it is named.
    """
    try:
        value: T = _reader(typing.cast("Any", kind))(data)
    except _Wrong as wrong:
        raise InvalidRequest(f"{kind.__name__}{wrong.where} {wrong.said}") from None
    return value


@cache
def _deep(kind: type) -> tuple[str, ...]:
    """The fields that are not JSON as they are."""
    hints = typing.get_type_hints(kind)
    return tuple(field.name for field in fields(kind) if not _is_plain(hints[field.name]))


def _is_plain(kind: Any) -> bool:
    parts = typing.get_args(kind) if typing.get_origin(kind) in (types.UnionType, typing.Union) else (kind,)
    return all(part in _PLAIN or part is types.NoneType for part in parts)


@cache
def _reader(kind: Any) -> Reader:
    """How a value of a type is read."""
    origin = typing.get_origin(kind)
    if origin in (types.UnionType, typing.Union):  # `X | None`, which is all there is
        [inner] = (_reader(part) for part in typing.get_args(kind) if part is not types.NoneType)
        return lambda data: None if data is None else inner(data)
    if origin is tuple:
        return _tuple_reader(_reader(typing.get_args(kind)[0]))
    if is_dataclass(kind):
        return _dataclass_reader(kind)
    if issubclass(kind, Enum):
        return _enum_reader(kind)
    return _plain_reader(kind)


def _plain_reader(kind: type) -> Reader:
    def read(data: Any) -> Any:
        if type(data) is kind:  # in particular, true is no number
            return data
        if kind is float and type(data) is int:
            return float(data)
        raise _Wrong(f"should be of type {kind.__name__}, not {type(data).__name__}")

    return read


def _enum_reader(kind: type[Enum]) -> Reader:
    def read(data: Any) -> Any:
        try:
            return kind(data)
        except ValueError:
            raise _Wrong(f"is {str(data)[:40]!r}, which is none of its values") from None

    return read


def _tuple_reader(inner: Reader) -> Reader:
    def read(data: Any) -> Any:
        if type(data) is not list:
            raise _Wrong(f"should be a list, not {type(data).__name__}")
        out: list[Any] = []
        try:
            for item in data:
                out.append(inner(item))
        except _Wrong as wrong:
            raise wrong.within(f"[{len(out)}]") from None
        return tuple(out)

    return read


def _dataclass_reader(kind: Any) -> Reader:
    hints = typing.get_type_hints(kind)
    needed = {f.name for f in fields(kind) if f.default is MISSING and f.default_factory is MISSING}
    readers = [(field.name, _reader(hints[field.name])) for field in fields(kind)]

    def read(data: Any) -> Any:
        if type(data) is not dict:
            raise _Wrong(f"should be an object, not {type(data).__name__}")
        values: dict[str, Any] = {}
        for name, inner in readers:
            if name in data:
                try:
                    values[name] = inner(data[name])
                except _Wrong as wrong:
                    raise wrong.within(f".{name}") from None
            elif name in needed:
                raise _Wrong("is missing", f".{name}")
        return kind(**values)

    return read
