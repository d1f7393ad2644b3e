"""`infill/fillHoles`: the edit that fills holes of a document, for clients that preview it or apply it.

With `position` it is the hole there, with `ranges` those stretches, with neither all markers.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from engine.errors import EngineError
from infill.marked.markers import Marker
from lsp.convert import offset_of
from lsp.documents import OpenDocument
from lsp.holes import Edit, fill_at, fill_markers
from lsp.plain import plain, position_of, range_in
from lsp.session import InfillServer
from lsp.snapshot import Empty

METHOD = "infill/fillHoles"


def register(server: InfillServer) -> None:
    """Connect the method to a server."""

    @server.feature(METHOD)
    async def fill_holes(params: Any) -> dict[str, Any]:
        try:
            found = await _fill(server, plain(params))
        except (EngineError, ValueError) as error:
            return {"edit": None, "reason": str(error)}
        if isinstance(found, Empty):
            return {"edit": None, "reason": found.reason}
        answer: dict[str, Any] = {"edit": found.edit}
        return {**answer, "reason": found.reason} if found.reason is not None else answer


async def _fill(server: InfillServer, given: Any) -> Edit | Empty:
    """The edit for the parameters of a request.

    Raises:
        ValueError: they are not what they should be.
    """
    named = given.get("textDocument") if isinstance(given, dict) else None
    opened = server.documents.get(str(named.get("uri"))) if isinstance(named, dict) else None
    if opened is None:
        return Empty(reason="the document is not open")
    if given.get("position") is not None:
        offset = offset_of(opened.lines, position_of(given), server.documents.encoding)
        return await fill_at(server, opened, offset)
    ranges = given.get("ranges")
    if ranges is None:
        return await fill_markers(server, opened, opened.markers())
    return await fill_markers(server, opened, _stretches(server, opened, ranges))


def _stretches(server: InfillServer, opened: OpenDocument, ranges: object) -> list[Marker]:
    """Ranges as holes, in order.

    Raises:
        ValueError: they are no ranges, or overlap.
    """
    if not isinstance(ranges, list):
        raise ValueError("ranges should be a list")
    encoding = server.documents.encoding
    spans = sorted(
        tuple(offset_of(opened.lines, place, encoding) for place in (span.start, span.end))
        for span in (range_in({"range": one}) for one in ranges)
    )
    for (_, before), (after, _) in pairwise(spans):
        if after < before:
            raise ValueError("the ranges overlap")
    return [Marker(start=start, end=end) for start, end in spans]
