"""The service's process: takes the lock, listens, serves, and ends when nobody needs it any more.

It ends by itself when no client has been there for `linger_s`, when its files are taken away from under it,
and when it is told to. Models are loaded when first asked for.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import logging
import os
import signal
import socket
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from types import FrameType

import uvicorn

from engine.checkpoints.store import Choice
from engine.request import Engine
from engine.service.app import Endpoints
from engine.service.core import Service
from engine.service.lanes import lanes_of
from engine.service.locks import try_lock
from engine.service.models import Loader, Models
from engine.service.place import Address, Place
from engine.service.scheduler import Scheduler

logger = logging.getLogger(__name__)

_LOOK_S = 1.0
_SWITCH_S = 0.0005
"""How long a thread may keep the others waiting: a lane must not hold up those who wait for its steps."""
_LANES_END_S = 2.0
"""How long lanes have to end; with the server's second, less than what `lifecycle.stop` waits for."""
_MOST_LANES = 8
_KEPT_SHAPES = "64"
"""How many prepared products torch keeps for each thread: of its own choice, 1,024, eight lanes would make
hundreds of megabytes."""
_M_ARENA_MAX = -8  # mallopt's name for it
_LOCK_S = 10.0
"""How long an engine may take to end before the next one gives up waiting for its place."""


@dataclass(frozen=True, kw_only=True)
class ServiceOptions:
    """How a service behaves; None for `linger_s` or `idle_s` is for ever.

    `linger_s` is how long it stays without a client, `idle_s` how long a model stays in memory unused,
    `port` a loopback port to listen on besides the socket (0: any), None for none. `lanes` is how many
    requests are served at once: more than two for each core help nobody, and each has memory of its own.
    """

    port: int | None = None
    linger_s: float | None = 60.0
    idle_s: float | None = 1800.0
    lanes: int = field(default_factory=lambda: min(_MOST_LANES, 2 * (os.cpu_count() or 1)))
    version: str = ""


def load_in_process(model: str | None, on_progress: Callable[[str], None]) -> Engine:
    """The real loader; torch is imported here."""
    from engine.inprocess import load_engine

    os.environ.setdefault("LRU_CACHE_CAPACITY", _KEPT_SHAPES)  # read when it is first used
    return load_engine(model, on_progress)


def run(place: Place, options: ServiceOptions, loader: Loader | None = None) -> int:
    """Serve until it is over; returns the exit code: 0, also where another one is there already.

    Raises:
        OSError: nothing can listen there.
    """
    until = time.monotonic() + _LOCK_S
    while (descriptor := try_lock(place.lock)) is None and time.monotonic() < until:
        time.sleep(_LOOK_S / 50)  # somebody may just be looking whether it is held
    if descriptor is None:
        logger.warning("an engine is running already")
        return 0
    place.forget_address()  # what a dead one left there is not ours
    sys.setswitchinterval(_SWITCH_S)
    _use_one_heap()
    try:
        asyncio.run(_serve(place, options, loader or load_in_process))
    finally:
        place.forget_address()
        os.close(descriptor)
    logging.shutdown()
    # A model that is being loaded cannot be stopped, and its thread would hold us up.
    os._exit(0)


def _use_one_heap() -> None:
    """Not one for each lane, which keeps what it once needed; lanes take turns in computing anyway."""
    with contextlib.suppress(AttributeError, OSError, TypeError):  # glibc has it
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 1)


async def _serve(place: Place, options: ServiceOptions, loader: Loader) -> None:
    sockets, address = _listen(place, options)
    models = Models(loader, lanes_of, lanes=options.lanes, chosen=Choice())
    service = Service(models, Scheduler(options.lanes))
    endpoints = Endpoints(
        service=service, stop=lambda: server.handle_exit(signal.SIGTERM, None), version=options.version
    )
    config = uvicorn.Config(
        endpoints.app(address.token),
        http="httptools",
        ws="none",
        loop="asyncio",
        lifespan="off",
        proxy_headers=False,
        log_config=None,
        access_log=False,
        timeout_graceful_shutdown=1,
    )
    server = _Server(config, service, place)
    watching = asyncio.create_task(_watch(place, options, service, server))
    try:
        place.write_address(address)
        logger.info("listening, pid %d", os.getpid())
        await server.serve(sockets=sockets)
    finally:
        watching.cancel()
        service.scheduler.close(_LANES_END_S)


class _Server(uvicorn.Server):
    """Tells the clients before it goes: those who stay would hold it up, and take it for dead after.

    A signal ends it and nothing more: the base would raise it again once it has served, and so end the
    process before the lanes have ended, with the signal for a status.
    """

    def __init__(self, config: uvicorn.Config, service: Service, place: Place) -> None:
        super().__init__(config)
        self._place = place
        self._service, self._loop = service, asyncio.get_running_loop()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """A signal, or whatever else ends us."""
        self.force_exit |= self.should_exit and sig == signal.SIGINT
        self.should_exit = True
        self._place.forget_address()  # from now on nobody should come
        self._loop.call_soon_threadsafe(self._dismiss)

    def _dismiss(self) -> None:
        self._service.closing.set()
        self._service.scheduler.close(0.0)  # whoever waits or is served is told while there is a server


async def _watch(place: Place, options: ServiceOptions, service: Service, server: uvicorn.Server) -> None:
    """Unload models nobody uses, and end when nobody is there or can come."""
    while not server.should_exit:
        await asyncio.sleep(_LOOK_S)
        if options.idle_s is not None:
            service.models.unload_idle(options.idle_s)
        found = place.read_address()
        gone = found is None or found.pid != os.getpid()
        if gone or (found is not None and found.socket and not os.path.exists(found.socket)):
            logger.warning("our files are gone, and so are we")
            server.handle_exit(signal.SIGTERM, None)
        if options.linger_s is not None and service.idle_s >= options.linger_s:
            logger.info("nobody has been here for %.0f s", service.idle_s)
            server.handle_exit(signal.SIGTERM, None)


def _listen(place: Place, options: ServiceOptions) -> tuple[list[socket.socket], Address]:
    """The sockets, and how others find them. Only the lock's holder comes here, and nothing lies there."""
    sockets = []
    path, host, port = "", "", 0
    if place.has_unix_socket:
        unix = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        unix.bind(str(place.socket))
        os.chmod(place.socket, 0o600)
        unix.listen(128)
        sockets.append(unix)
        path = str(place.socket)
    if options.port is not None or not sockets:
        tcp = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        if sys.platform != "win32":
            tcp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        tcp.bind(("127.0.0.1", options.port or 0))
        tcp.listen(128)
        sockets.append(tcp)
        host, port = tcp.getsockname()
    with contextlib.suppress(OSError):
        for each in sockets:
            each.setblocking(False)
    address = Address(
        pid=os.getpid(), socket=path, host=host, port=port, token=place.token(), version=options.version
    )
    return sockets, address
