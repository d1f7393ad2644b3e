"""`textDocument/codeAction`: what Infill could do with a range; computed only once it is chosen.

`PROVIDERS` is where a new kind of action is added.
"""

from __future__ import annotations

from lsprotocol import types

from lsp.actions import Provider, offer
from lsp.quick_fixes import QuickFixes
from lsp.rewriting import Rewriting
from lsp.session import InfillServer

PROVIDERS: tuple[Provider, ...] = (QuickFixes(), Rewriting())


def register(server: InfillServer) -> None:
    """Connect the method to a server."""
    kinds = sorted({kind for provider in PROVIDERS for kind in provider.kinds})
    options = types.CodeActionOptions(code_action_kinds=kinds, resolve_provider=True)

    @server.feature(types.TEXT_DOCUMENT_CODE_ACTION, options)
    def code_action(params: types.CodeActionParams) -> list[types.CodeAction]:
        return offer(PROVIDERS, server, params)
