"""Code actions: who offers them, and how an offered one becomes an edit once it is chosen.

A provider is asked twice. `offer` runs on the event loop at every move of the cursor, so it looks at what is
there and asks no model; `resolve` computes the edit of the one action that was chosen. In between an action
is only its `data`, which `Place` writes and reads.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Any, Protocol

from lsprotocol import types

from lsp.documents import OpenDocument
from lsp.session import InfillServer


class Provider(Protocol):
    """Offers code actions and resolves its own."""

    @property
    def name(self) -> str:
        """What is in `Place.provider` of this one's actions; no two are alike."""
        ...

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds of its actions, for the server's capabilities."""
        ...

    def offer(
        self, server: InfillServer, document: OpenDocument, params: types.CodeActionParams
    ) -> list[types.CodeAction]:
        """The actions for a range, without edits, in the order they are to be shown.

        Runs on the event loop: a millisecond is long, and there is no model. `lsp.actions` has already
        looked at `params.context.only` as far as `kinds` goes.
        """
        ...

    async def resolve(
        self, server: InfillServer, action: types.CodeAction, place: Place, cancelled: threading.Event
    ) -> types.CodeAction:
        """The action with its edit; without one, and with `disabled` saying why, where there is none.

        It begins on the event loop, where the document is to be looked at before the first await; the model
        is to be asked through `server.worker.run`, under a key of the provider's own. `cancelled` is set
        when the client gives up.

        Raises:
            EngineError: the engine cannot serve it.
        """
        ...


@dataclass(frozen=True, kw_only=True)
class Place:
    """What an action remembers until it is resolved: offsets in code points, and the text they belong to.

    `more` is the provider's own and has to be JSON.
    """

    provider: str
    uri: str
    version: int
    start: int
    end: int
    more: dict[str, Any] | None = None

    def data(self) -> dict[str, Any]:
        """As it goes into `CodeAction.data`."""
        return {
            "provider": self.provider,
            "uri": self.uri,
            "version": self.version,
            "start": self.start,
            "end": self.end,
            "more": self.more,
        }

    @classmethod
    def read(cls, data: object) -> Place | None:
        """The way back; None where the data is not ours."""
        if not isinstance(data, dict):
            return None
        texts = [data.get(key) for key in ("provider", "uri")]
        numbers = [data.get(key) for key in ("version", "start", "end")]
        if not all(isinstance(t, str) for t in texts) or not all(type(n) is int for n in numbers):
            return None
        more = data.get("more")
        return cls(
            provider=data["provider"],
            uri=data["uri"],
            version=data["version"],
            start=data["start"],
            end=data["end"],
            more=more if isinstance(more, dict) else None,
        )


def offer(
    providers: tuple[Provider, ...], server: InfillServer, params: types.CodeActionParams
) -> list[types.CodeAction]:
    """What all providers offer for a range of an open document."""
    document = server.documents.get(params.text_document.uri)
    if document is None or server.why_not(params.text_document.uri) is not None:
        return []
    wanted = [p for p in providers if _is_wanted(p.kinds, params.context.only)]
    return [action for provider in wanted for action in provider.offer(server, document, params)]


async def resolve(
    providers: tuple[Provider, ...], server: InfillServer, action: types.CodeAction
) -> types.CodeAction:
    """The action with its edit; as it was where its text is not what it was offered for any more.

    Raises:
        CancelledError: the client no longer wants it.
        EngineError: the engine cannot serve it.
    """
    place = Place.read(action.data)
    provider = next((p for p in providers if place is not None and p.name == place.provider), None)
    if place is None or provider is None:
        return disabled(action, "it is not one of Infill's")
    document = server.documents.get(place.uri)
    if document is None or document.version != place.version:
        return disabled(action, "the text changed meanwhile")
    cancelled = threading.Event()
    try:
        return await provider.resolve(server, action, place, cancelled)
    finally:
        cancelled.set()


def disabled(action: types.CodeAction, reason: str) -> types.CodeAction:
    """The action, which cannot be done, and why."""
    action.disabled = types.CodeActionDisabled(reason=reason)
    return action


def tag_generated(action: types.CodeAction, server: InfillServer) -> types.CodeAction:
    """The action, tagged as a model's work where the client knows such a tag."""
    document = server.client_capabilities.text_document
    support = document.code_action.tag_support if document and document.code_action else None
    if support is not None and types.CodeActionTag.LlmGenerated in support.value_set:
        action.tags = [types.CodeActionTag.LlmGenerated]
    return action


def _is_wanted(kinds: tuple[str, ...], only: object) -> bool:
    """Whether who wants `only` some kinds may want one of `kinds`; a kind stands for those under it."""
    if not isinstance(only, list | tuple):
        return True
    wanted = [str(getattr(kind, "value", kind)) for kind in only]
    return any(
        not w or kind == w or kind.startswith(w + ".") or w.startswith(kind + ".")
        for w in wanted
        for kind in kinds
    )
