"""What was offered to the client, until it says what became of it: shown, accepted, in part, turned down.

Clients say so by the command each item carries and by the notifications that others' servers know; an item
is known by the command's one argument.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING

from lsprotocol import types

from infill.request import Suggestion
from lsp.snapshot import Asked

if TYPE_CHECKING:
    from lsp.server import InfillServer

ACCEPTED = "infill.accepted"
REJECTED = "infill.rejected"
_KEPT = 16


@dataclass(frozen=True, kw_only=True)
class _Offer:
    """A suggestion and the text it is for."""

    asked: Asked
    suggestion: Suggestion


class Offers:
    """The last few suggestions that were sent, by the id their command carries."""

    def __init__(self, server: InfillServer) -> None:
        self._server = server
        self._offers: OrderedDict[str, _Offer] = OrderedDict()
        self._ids = count(1)

    def command(self, asked: Asked, suggestion: Suggestion) -> types.Command:
        """The command an item carries, which an editor runs once the item is accepted as a whole."""
        self._server.status.counts.offered += 1
        name = str(next(self._ids))
        self._offers[name] = _Offer(asked=asked, suggestion=suggestion)
        while len(self._offers) > _KEPT:
            self._offers.popitem(last=False)
        return types.Command(title="Accepted", command=ACCEPTED, arguments=[{"id": name}])

    def shown(self, name: str) -> None:
        """The user got to see it."""
        if name in self._offers:
            self._server.status.counts.shown += 1

    def accepted(self, name: str) -> None:
        """It is in the text now; what will be asked for next is worked out."""
        offer = self._offers.pop(name, None)
        if offer is None:
            return
        counts, suggestion = self._server.status.counts, offer.suggestion
        counts.accepted += 1
        counts.accepted_chars += len(suggestion.text) - (offer.asked.offset - suggestion.start)
        if self._server.documents.get(offer.asked.opened.uri) is offer.asked.opened:
            after = offer.asked.document.filled(suggestion.start, suggestion.end, suggestion.text)
            end = suggestion.start + len(suggestion.text)
            self._server.prefetch.start(offer.asked.opened, after, end)

    def partly_accepted(self, name: str, length: int) -> None:
        """`length` UTF-16 units of it are in the text; the rest is still in the memory."""
        if name in self._offers:
            counts = self._server.status.counts
            counts.partially_accepted += 1
            counts.accepted_chars += max(0, length)

    def rejected(self, name: str) -> None:
        """The user dismissed it: it is not offered again as long as it is remembered."""
        if (offer := self._offers.pop(name, None)) is not None:
            self._server.status.counts.rejected += 1
            offer.asked.opened.memory.reject(offer.suggestion.text)


def offer_id(item: object) -> str | None:
    """The id in an item as the client sends it back; None where there is none."""
    if not isinstance(item, dict):
        return None
    command = item.get("command")
    arguments = command.get("arguments") if isinstance(command, dict) else None
    return id_of(arguments)


def id_of(arguments: object) -> str | None:
    """The id in a command's arguments; None where there is none."""
    first = arguments[0] if isinstance(arguments, list) and arguments else None
    name = first.get("id") if isinstance(first, dict) else None
    return name if isinstance(name, str) else None
