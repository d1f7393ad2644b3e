"""The commands of `workspace/executeCommand`, by name; what each does is elsewhere."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from lsprotocol import types

from lsp.offers import ACCEPTED, REJECTED, id_of

if TYPE_CHECKING:
    from lsp.server import InfillServer

Arguments = list[Any]
Token = types.ProgressToken | None
Command = Callable[["InfillServer", Arguments, Token], Awaitable[Any]]


async def _accepted(server: InfillServer, arguments: Arguments, _token: Token) -> None:
    if (name := id_of(arguments)) is not None:
        server.offers.accepted(name)


async def _rejected(server: InfillServer, arguments: Arguments, _token: Token) -> None:
    if (name := id_of(arguments)) is not None:
        server.offers.rejected(name)


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


COMMANDS: dict[str, Command] = {
    ACCEPTED: _accepted,
    REJECTED: _rejected,
    "infill.explainNoSuggestion": _explain,
    "infill.status": _status,
    "infill.restartEngine": _restart,
}
