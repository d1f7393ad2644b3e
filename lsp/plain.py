"""Parameters of methods that are not the protocol's own, as plain dicts and lists.

pygls makes named tuples of them.
"""

from __future__ import annotations

from typing import Any


def plain(value: Any) -> Any:
    """The JSON a value was made from."""
    if isinstance(value, tuple) and hasattr(value, "_asdict"):
        return {name: plain(part) for name, part in value._asdict().items()}
    if isinstance(value, list | tuple):
        return [plain(part) for part in value]
    if isinstance(value, dict):
        return {name: plain(part) for name, part in value.items()}
    return value
