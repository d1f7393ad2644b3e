"""`workspace/executeCommand`: what an editor's user, or an accepted item, sets going."""

from __future__ import annotations

import logging
from typing import Any

from lsprotocol import types
from pygls.exceptions import JsonRpcInvalidParams

from engine.errors import EngineError
from infill.errors import InfillError
from lsp.editor_commands import COMMANDS
from lsp.plain import plain
from lsp.session import InfillServer

logger = logging.getLogger(__name__)


def register(server: InfillServer) -> None:
    """Connect the method to a server."""
    options = types.ExecuteCommandOptions(commands=list(COMMANDS), work_done_progress=True)

    @server.feature(types.WORKSPACE_EXECUTE_COMMAND, options)
    async def execute_command(params: types.ExecuteCommandParams) -> Any:
        command = COMMANDS.get(params.command)
        if command is None:
            raise JsonRpcInvalidParams(f"there is no command {params.command[:60]!r}")
        arguments = plain(params.arguments or [])
        try:
            return await command(server, arguments, params.work_done_token)
        except ValueError as error:
            raise JsonRpcInvalidParams(f"{params.command}: {error}") from error
        except (EngineError, InfillError) as error:
            server.tell_once(str(error), types.MessageType.Error)
            return {"reason": str(error)}
        except Exception as error:
            logger.exception("a command failed")
            server.tell_once(f"internal error ({type(error).__name__}); the log has the details")
            return {"reason": f"internal error ({type(error).__name__})"}
