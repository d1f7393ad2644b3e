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

from engine.audience import Audience, Fate
from infill.request import Suggestion
from lsp.snapshot import Asked

if TYPE_CHECKING:
    from lsp.session import InfillServer

ACCEPTED = "infill.accepted"
REJECTED = "infill.rejected"
_KEPT = 16


@dataclass(frozen=True, kw_only=True)
class Offer:
    """A suggestion and the text it is for."""

    asked: Asked
    suggestion: Suggestion


class Offers:
    """The last few suggestions that were sent, by the id their command carries."""

    def __init__(self, server: InfillServer) -> None:
        self._server = server
        self._offers: OrderedDict[str, Offer] = OrderedDict()
        self._ids = count(1)

    def add(self, asked: Asked, suggestion: Suggestion) -> str:
        """Keep a suggestion that is about to be sent; its id."""
        self._server.status.counts.offered += 1
        self._tell(Fate.OFFERED)
        name = str(next(self._ids))
        self._offers[name] = Offer(asked=asked, suggestion=suggestion)
        while len(self._offers) > _KEPT:
            self._offers.popitem(last=False)
        return name

    def get(self, name: str) -> Offer | None:
        """An offer by its id; None if it is too long ago."""
        return self._offers.get(name)

    def shown(self, name: str) -> None:
        """The user got to see it."""
        if name in self._offers:
            self._server.status.counts.shown += 1
            self._tell(Fate.SHOWN)

    def accepted(self, name: str) -> None:
        """It is in the text now; what will be asked for next is worked out."""
        offer = self._offers.pop(name, None)
        if offer is None:
            return
        counts, suggestion = self._server.status.counts, offer.suggestion
        counts.accepted += 1
        self._tell(Fate.ACCEPTED)
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
            self._tell(Fate.PARTLY_ACCEPTED)
            counts.accepted_chars += max(0, length)

    def rejected(self, name: str) -> None:
        """The user dismissed it: it is not offered again as long as it is remembered."""
        if (offer := self._offers.pop(name, None)) is not None:
            self._server.status.counts.rejected += 1
            self._tell(Fate.REJECTED)
            offer.asked.opened.memory.reject(offer.suggestion.text)

    def _tell(self, fate: Fate) -> None:
        """Only a shared engine, which has something to show them in, wants to know; no code goes along."""
        if isinstance(engine := self._server.loading.engine, Audience):
            engine.tell(fate)


def command_for(name: str) -> types.Command:
    """The command an item carries, which an editor runs once the item is accepted as a whole."""
    return types.Command(title="Accepted", command=ACCEPTED, arguments=[{"id": name}])


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
