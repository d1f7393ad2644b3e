"""The commands of `workspace/executeCommand`, by name; what each does is elsewhere."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from lsprotocol import types

from lsp.convert import offset_of
from lsp.documents import OpenDocument
from lsp.holes import apply, fill_at, fill_markers, rewrite
from lsp.offers import ACCEPTED, REJECTED, id_of
from lsp.plain import position_of, range_in
from lsp.session import InfillServer

Arguments = list[Any]
Token = types.ProgressToken | None
Command = Callable[["InfillServer", Arguments, Token], Awaitable[Any]]


async def _accepted(server: InfillServer, arguments: Arguments, _token: Token) -> None:
    if (name := id_of(arguments)) is not None:
        server.offers.accepted(name)


async def _rejected(server: InfillServer, arguments: Arguments, _token: Token) -> None:
    if (name := id_of(arguments)) is not None:
        server.offers.rejected(name)


async def _fill_hole(server: InfillServer, arguments: Arguments, token: Token) -> dict[str, object]:
    opened, first = _document(server, arguments)
    position = position_of(first)
    offset = offset_of(opened.lines, position, server.documents.encoding)
    found = await fill_at(server, opened, offset, token)
    return await apply(server, "Fill the hole", found)


async def _fill_all(server: InfillServer, arguments: Arguments, token: Token) -> dict[str, object]:
    opened, _ = _document(server, arguments)
    found = await fill_markers(server, opened, opened.markers(), token)
    return await apply(server, "Fill all holes", found)


async def _rewrite(server: InfillServer, arguments: Arguments, _token: Token) -> dict[str, object]:
    opened, first = _document(server, arguments)
    span = range_in(first)
    encoding = server.documents.encoding
    start, end = (offset_of(opened.lines, place, encoding) for place in (span.start, span.end))
    return await apply(server, "Rewrite the selection", await rewrite(server, opened, start, end))


async def _explain(server: InfillServer, arguments: Arguments, _token: Token) -> dict[str, str]:
    return server.status.explain(_uri(arguments))


async def _status(server: InfillServer, _arguments: Arguments, _token: Token) -> dict[str, Any]:
    return server.describe()


async def _restart(server: InfillServer, _arguments: Arguments, _token: Token) -> None:
    server.restart_engine()


def _uri(arguments: Arguments) -> str:
    """The document a command is about.

    Raises:
        ValueError: the arguments do not say.
    """
    first = arguments[0] if arguments else None
    uri = first.get("uri") if isinstance(first, dict) else None
    if not isinstance(uri, str):
        raise ValueError("the first argument should be an object with a uri")
    return uri


def _document(server: InfillServer, arguments: Arguments) -> tuple[OpenDocument, dict[str, Any]]:
    """The open document a command is about, and its argument.

    Raises:
        ValueError: the arguments do not say, or it is not open.
    """
    opened = server.documents.get(_uri(arguments))
    if opened is None:
        raise ValueError("the document is not open")
    return opened, arguments[0]


COMMANDS: dict[str, Command] = {
    ACCEPTED: _accepted,
    REJECTED: _rejected,
    "infill.fillHole": _fill_hole,
    "infill.fillAllHoles": _fill_all,
    "infill.rewriteSelection": _rewrite,
    "infill.explainNoSuggestion": _explain,
    "infill.status": _status,
    "infill.restartEngine": _restart,
}
