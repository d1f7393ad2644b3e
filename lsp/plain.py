"""Parameters of methods that are not the protocol's own, as plain dicts and lists; what is read from them.

pygls makes named tuples of them.
"""

from __future__ import annotations

from typing import Any, TypeVar

from lsprotocol import types
from lsprotocol.converters import get_converter

T = TypeVar("T")
_CONVERTER = get_converter()


def plain(value: Any) -> Any:
    """The JSON a value was made from."""
    if isinstance(value, tuple) and hasattr(value, "_asdict"):
        return {name: plain(part) for name, part in value._asdict().items()}
    if isinstance(value, list | tuple):
        return [plain(part) for part in value]
    if isinstance(value, dict):
        return {name: plain(part) for name, part in value.items()}
    return value


def position_of(given: dict[str, Any]) -> types.Position:
    """The `position` among parameters.

    Raises:
        ValueError: it is missing or none.
    """
    return _structured(given.get("position"), types.Position, "a position")


def range_in(given: dict[str, Any]) -> types.Range:
    """The `range` among parameters.

    Raises:
        ValueError: it is missing or none.
    """
    return _structured(given.get("range"), types.Range, "a range")


def _structured(value: object, kind: type[T], name: str) -> T:
    try:
        return _CONVERTER.structure(value, kind)
    except Exception as error:  # cattrs raises groups of whatever went wrong
        raise ValueError(f"there should be {name}") from error
