"""A recorded typing session: what a user typed into a file, key by key, with a fill asked for after each.

Knows nothing of how fast an engine should be.
"""

from __future__ import annotations

import json
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from engine.request import Engine
from infill.code.document import Document
from infill.pipeline import fill
from infill.request import FillRequest

_RECORDING = Path(__file__).with_name("typing.json")
_BACKSPACE = "\b"


@dataclass(frozen=True, kw_only=True)
class Recording:
    """`keys` are typed one after the other into `text` from `offset` on.

    A key is what it inserts (an editor's indentation comes in one piece), or a backspace.
    """

    language: str
    text: str
    offset: int
    keys: tuple[str, ...]


def bundled_recording() -> Recording:
    """Fifty keystrokes in the middle of a Python file, a mistake and its correction among them."""
    values = json.loads(_RECORDING.read_text(encoding="utf-8"))
    return Recording(
        language=values["language"],
        text=values["text"],
        offset=values["offset"],
        keys=tuple(values["keys"]),
    )


def replay(engine: Engine, recording: Recording) -> list[float]:
    """Type the recording, asking for a fill after every key: the milliseconds each took.

    Raises:
        EngineError: the engine cannot serve a request.
    """
    document = Document(recording.text, recording.language)
    offset = recording.offset
    took_ms = []
    for key in recording.keys:
        began = time.perf_counter()
        if key == _BACKSPACE:
            document.edit(offset - 1, offset, "")
            offset -= 1
        else:
            document.edit(offset, offset, key)
            offset += len(key)
        request = FillRequest(text=document.text, language=recording.language, offset=offset, repair=False)
        fill(engine, document, request, cancelled=threading.Event())
        took_ms.append(1e3 * (time.perf_counter() - began))
    return took_ms
