"""Settings that change while the server runs: asked for, taken, and what follows from a change.

What a client's configuration leaves out keeps the value of its `initializationOptions`; what is null there
does not, or a setting that was there when the client began could never be taken back.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace

from lsprotocol import types
from pygls.exceptions import JsonRpcException

from lsp.plain import plain
from lsp.session import InfillServer
from lsp.settings import read_settings
from lsp.workspace import read_options

logger = logging.getLogger(__name__)

SECTION = "infill"
_PATIENCE_S = 5.0


async def pull(server: InfillServer, patience_s: float = _PATIENCE_S) -> bool:
    """Ask the client for its configuration and take it; False if the client cannot be asked."""
    workspace = server.client_capabilities.workspace
    if workspace is None or not workspace.configuration:
        return False
    params = types.ConfigurationParams(items=[types.ConfigurationItem(section=SECTION)])
    try:
        async with asyncio.timeout(patience_s):
            answer = await server.workspace_configuration_async(params)
    except (TimeoutError, JsonRpcException):
        logger.warning("the client does not answer what its configuration is")
        return True
    take(server, plain(answer[0]) if answer else None)
    return True


def take(server: InfillServer, section: object) -> None:
    """Have the settings of a configuration count from now on; a new model is loaded."""
    given = section if isinstance(section, dict) else {}
    if section is not None and not isinstance(section, dict):
        server.tell_once(f"the configuration's section {SECTION!r} should be an object")
    merged = {**server.initial_options, **given}
    before = server.settings
    of_folders, others, wrong = read_options(merged)
    # A workspace's own configuration must not be what makes it trusted.
    restricted = of_folders.restricted or server.folders.options.restricted
    server.folders.options = replace(of_folders, restricted=restricted)
    server.settings, problems = read_settings(others, f"the section {SECTION!r}")
    for problem in (*wrong, *problems):
        server.tell_once(problem)
    if not server.loading.begun:
        return
    if server.settings.diagnostics != before.diagnostics:
        server.refresh_diagnostics()
    if server.settings.model != before.model:
        server.restart_engine()
    elif server.settings.automatic != before.automatic and server.loading.engine is not None:
        model = server.loading.engine.info().model
        server.status.loaded(model, automatic=server.settings.automatic)


async def watch(server: InfillServer) -> None:
    """Have the client say when its configuration changes, where it waits to be asked to."""
    workspace = server.client_capabilities.workspace
    changes = workspace.did_change_configuration if workspace is not None else None
    if changes is None or not changes.dynamic_registration:
        return
    registration = types.Registration(
        id="infill.configuration",
        method=types.WORKSPACE_DID_CHANGE_CONFIGURATION,
        register_options=types.DidChangeConfigurationRegistrationOptions(section=SECTION),
    )
    try:
        await server.client_register_capability_async(types.RegistrationParams(registrations=[registration]))
    except JsonRpcException as error:
        logger.warning("the client will not say when its configuration changes: %s", error)
