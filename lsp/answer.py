"""Around every request for a suggestion: one line in the log, one reason, and no exception to the client."""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

from lsprotocol import types

from engine.errors import EngineError
from lsp.session import InfillServer
from lsp.snapshot import CANCELLED, Empty
from lsp.suggest import Work, ms_since, name_of

logger = logging.getLogger(__name__)

Item = TypeVar("Item")


async def answering(
    server: InfillServer,
    what: str,
    uri: str,
    items: Callable[[Work], Awaitable[list[Item] | Empty]],
) -> list[Item]:
    """The items of a request, none where it fails; however it ends, the log and the status say so.

    Raises:
        CancelledError: the client no longer wants an answer.
    """
    began, work = time.perf_counter(), Work()
    outcome: list[Item] | Empty = CANCELLED
    try:
        outcome = await items(work)
    except EngineError as error:
        outcome = Empty(reason=str(error))
        server.tell_once(str(error), types.MessageType.Error)
    except Exception as error:
        logger.exception("a suggestion could not be made")
        outcome = Empty(reason=f"internal error ({type(error).__name__})")
        server.tell_once(f"internal error ({type(error).__name__}); the log has the details")
    finally:
        nothing = outcome if isinstance(outcome, Empty) else None
        server.status.conclude(uri, nothing)
        server.log(
            f"{what} {server.protocol.msg_id}: {name_of(uri)} "
            f"version {work.version}, prompt {work.prompt_chars} characters{_and_snippets(work)}, "
            f"{work.steps} steps, "
            f"{ms_since(began):.0f} ms ({work.queued_ms:.0f} queued): "
            + _result(outcome)
            + (", from memory" if work.reused else "")
        )
    return [] if isinstance(outcome, Empty) else outcome


def _and_snippets(work: Work) -> str:
    return f" and {work.snippets} snippets" if work.snippets else ""


def _result(outcome: list[Item] | Empty) -> str:
    if isinstance(outcome, Empty):
        return f"nothing: {outcome.reason}"
    return "1 item" if len(outcome) == 1 else f"{len(outcome)} items"
