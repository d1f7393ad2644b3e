"""The rest of a statement somebody stopped typing: what would fill the place where they stopped.

It proposes; whether that parses and how it compares with other fixes is decided elsewhere.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator

from engine.request import Engine
from infill.code.document import Document
from infill.code.lines import line_end
from infill.fixes.edit import Edit
from infill.fixes.pieces import Piece
from infill.pipeline import fill_all
from infill.request import FillRequest, Rejected

_WAITS = re.compile(
    r"(?:[-+*/%@&|^=<>.,(\[{~!]"
    r"|\b(?:and|or|not|in|is|if|elif|while|for|with|import|from|as|lambda|await|assert|del|class|def|case))$"
)
"""What no statement ends with."""


def rests(
    engine: Engine, document: Document, piece: Piece, cancelled: threading.Event, seed: int
) -> Iterator[Edit]:
    """What may follow where a line the parser stumbled over, or the one before, ends in the middle.

    The edits are in the document's offsets.

    Raises:
        EngineError: the engine cannot serve it.
    """
    for line in dict.fromkeys(max(0, first + by) for first in piece.faulty_lines[:2] for by in (0, -1)):
        start = 0
        for _ in range(line):
            start = piece.text.find("\n", start) + 1
        code = piece.text[start : line_end(piece.text, start)].rstrip()
        if cancelled.is_set() or not _WAITS.search(code):
            continue
        at = piece.start + start + len(code)
        request = FillRequest(
            text=document.text,
            language=document.language,
            offset=at,
            seed=seed,
            repair=False,
            inside_word=True,
        )
        found = fill_all(engine, document, request, cancelled=cancelled)
        for suggestion in () if isinstance(found, Rejected) else found:
            added = suggestion.text[at - suggestion.start :].split("\n")[0].rstrip()
            if added:
                yield Edit(start=at, end=at, text=added, how="rest")
