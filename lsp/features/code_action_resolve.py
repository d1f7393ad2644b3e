"""`codeAction/resolve`: the edit of the code action that was chosen."""

from __future__ import annotations

import logging

from lsprotocol import types

from engine.errors import EngineError
from lsp.actions import disabled, resolve
from lsp.features.code_action import PROVIDERS
from lsp.session import InfillServer

logger = logging.getLogger(__name__)


def register(server: InfillServer) -> None:
    """Connect the method to a server."""

    @server.feature(types.CODE_ACTION_RESOLVE)
    async def code_action_resolve(params: types.CodeAction) -> types.CodeAction:
        try:
            return await resolve(PROVIDERS, server, params)
        except EngineError as error:
            server.tell_once(str(error), types.MessageType.Error)
            return disabled(params, str(error))
        except Exception as error:
            logger.exception("a code action could not be resolved")
            server.tell_once(f"internal error ({type(error).__name__}); the log has the details")
            return disabled(params, f"internal error ({type(error).__name__})")
