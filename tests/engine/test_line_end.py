"""Where the rest of a line ends, on the embedded model's tokens."""

from __future__ import annotations

from pathlib import Path

import pytest

import engine
from engine.causal.line_end import LineEnd
from engine.text.tokenizer import Tokenizer

TOKENIZER = Tokenizer(Path(engine.__file__).parent / "models" / "embedded")


@pytest.mark.parametrize(
    ("typed", "middle", "line"),
    [
        ("", "x = 1\n    y = 2", "x = 1"),
        ("", "x = 1", None),
        ("", "f(\n    1,\n)\ny", "f(\n    1,\n)"),
        ("", "1)\n", "1)"),
        ("", "1))\n(", "1))"),
        ("\n    ", "\n    return 1\n    x", "\n    return 1"),
        ("\n", "\n        return 1\n", "\n        return 1"),
        ("(", "(\n    1)\nx", "(\n    1)"),
    ],
)
def test_line(typed: str, middle: str, line: str | None) -> None:
    ids = TOKENIZER.encode(middle)
    end = LineEnd(typed, TOKENIZER)(ids)
    assert (None if end is None else TOKENIZER.decode(ids[:end])) == line
