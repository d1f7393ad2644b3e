"""`codeAction/resolve`: the edit of the code action that was chosen.

Editors show nothing of an action that turns out to be disabled, so whoever chose it is told why, every time.
"""

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
        action, kind = params, types.MessageType.Info
        try:
            action = await resolve(PROVIDERS, server, params)
        except EngineError as error:
            action, kind = disabled(params, str(error)), types.MessageType.Error
        except Exception as error:
            logger.exception("a code action could not be resolved")
            reason = f"internal error ({type(error).__name__}); the log has the details"
            action, kind = disabled(params, reason), types.MessageType.Warning
        if action.disabled is not None:
            server.tell(f"{action.title}: {action.disabled.reason}", kind)
        return action
