"""The models the service has in memory: loaded when first asked for, unloaded when nobody has for a while.

Which one counts where a client names none is the user's choice (`engine.checkpoints.store.Choice`), looked at
anew for every request: while a newly chosen model loads, the one before it goes on serving, and also where it
cannot be loaded, which is tried again after pauses that grow, and when the choice is written anew.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import threading
import time
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from engine.errors import EngineError
from engine.networks.heap import give_back_freed_memory
from engine.request import Engine, EngineInfo
from engine.service.lifecycle import Backoff

if TYPE_CHECKING:
    from collections.abc import Iterator

logger = logging.getLogger(__name__)

EMBEDDED = "embedded"
"""The name here of the model that ships with the package; a `Loader` knows it as None."""

_KEPT_FAILURES = 16
"""Of the models that could not be loaded, how many are remembered: anybody may ask for any name."""

_AGAIN_S, _LONGEST_S = 5.0, 600.0
"""The first pause and the longest before a chosen model that could not be loaded is tried again."""

Loader = Callable[[str | None, Callable[[str], None]], Engine]
"""Takes a model (None for the embedded one) and a function for progress lines; raises EngineError."""

Split = Callable[[Engine, int], list[Engine]]
"""An engine and a number of lanes -> an engine for each."""


class Chosen(Protocol):
    """Says which model the user has chosen (None: the embedded one), and when that was `written`."""

    def __call__(self) -> str | None: ...

    @property
    def written(self) -> object: ...


@dataclass(kw_only=True, eq=False)
class Loaded:
    """A model in memory: an engine for each lane, and how many requests use it now."""

    name: str
    info: EngineInfo
    engines: list[Engine]
    load_s: float
    users: int = 0
    used_at: float = field(default_factory=time.monotonic)

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """It stays in memory meanwhile."""
        self.users += 1
        try:
            yield
        finally:
            self.users -= 1
            self.used_at = time.monotonic()


class Models:
    """At most `most` models at once; all methods are for the event loop's thread."""

    def __init__(
        self,
        loader: Loader,
        split: Split,
        *,
        lanes: int,
        chosen: Chosen,
        most: int = 2,
    ) -> None:
        self._loader, self._split, self._lanes, self._chosen, self._most = loader, split, lanes, chosen, most
        self.loaded: dict[str, Loaded] = {}
        self._loads: dict[str, asyncio.Task[Loaded]] = {}
        self._listeners: list[tuple[str, Callable[[str], None]]] = []
        self._default = EMBEDDED
        self.failures: dict[str, str] = {}
        self._tried: tuple[str, object] = (EMBEDDED, None)
        self._pause = Backoff(first_s=_AGAIN_S, most_s=_LONGEST_S)

    async def get(self, name: str | None, on_progress: Callable[[str], None] | None = None) -> Loaded:
        """A model, loaded if it is not; None is the one the user has chosen.

        Raises:
            EngineError: it cannot be loaded.
        """
        wanted = (self._chosen() if name is None else name) or EMBEDDED
        if name is None and (serving := self._meanwhile(wanted)) is not None:
            return serving
        if (there := self.loaded.get(wanted)) is not None:
            there.used_at = time.monotonic()
            if name is None:
                self._default = wanted
            return there
        listener = (wanted, on_progress or (lambda _line: None))
        self._listeners.append(listener)
        try:
            # Shielded: others may wait for the same one.
            there = await asyncio.shield(self._load(wanted))
        finally:
            self._listeners.remove(listener)
        if name is None:
            self._default = wanted
        return there

    def serving(self, name: str | None) -> EngineInfo | None:
        """What answers a client that names `name` now; None where that is not in memory."""
        there = self.loaded.get(self._default if name is None else name)
        return there.info if there is not None else None

    def unload_idle(self, idle_s: float) -> None:
        """Forget what has not been used for so long."""
        now = time.monotonic()
        for there in list(self.loaded.values()):
            if not there.users and now - there.used_at >= idle_s:
                self._unload(there)

    def _meanwhile(self, wanted: str) -> Loaded | None:
        """The model that serves until the chosen one is there; None where that one is, or nothing else."""
        serving = self.loaded.get(self._default)
        if wanted == self._default or wanted in self.loaded or serving is None:
            return None
        if (choice := (wanted, self._chosen.written)) != self._tried:
            self._tried, self._pause = choice, Backoff(first_s=_AGAIN_S, most_s=_LONGEST_S)
        if not self._pause.wait_s:
            self._load(wanted)
        return serving

    def _load(self, name: str) -> asyncio.Task[Loaded]:
        if (task := self._loads.get(name)) is None:
            task = self._loads[name] = asyncio.get_running_loop().create_task(self._do_load(name))
            task.add_done_callback(lambda _: self._settled(name, task))
        return task

    def _settled(self, name: str, task: asyncio.Task[Loaded]) -> None:
        del self._loads[name]
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.warning("loading %s failed: %s", name, error)
            self.failures[name] = str(error)
            if name == self._tried[0]:
                self._pause.failed(str(error))
            for oldest in list(self.failures)[:-_KEPT_FAILURES]:
                del self.failures[oldest]

    async def _do_load(self, name: str) -> Loaded:
        began, loop = time.perf_counter(), asyncio.get_running_loop()
        self.failures.pop(name, None)
        outcome: asyncio.Future[tuple[EngineInfo, list[Engine]]] = loop.create_future()

        def report(line: str) -> None:
            loop.call_soon_threadsafe(self._report, name, line)

        def work() -> None:
            try:
                engine = self._loader(None if name == EMBEDDED else name, report)
                result = engine.info(), self._split(engine, self._lanes)
                _set_aside()
            except EngineError as error:
                loop.call_soon_threadsafe(outcome.set_exception, error)
            except Exception as error:
                logger.exception("loading failed")
                wrapped = EngineError(f"{type(error).__name__}: {error}")
                loop.call_soon_threadsafe(outcome.set_exception, wrapped)
            else:
                loop.call_soon_threadsafe(outcome.set_result, result)

        # A daemon: loading cannot be stopped, and must not keep the process from ending.
        threading.Thread(target=work, name="load", daemon=True).start()
        info, engines = await outcome
        there = Loaded(name=name, info=info, engines=engines, load_s=time.perf_counter() - began)
        self.loaded[name] = there
        logger.info("loaded %s in %.1f s", info.model, there.load_s)
        self._make_room(there)
        return there

    def _make_room(self, newest: Loaded) -> None:
        idle = [each for each in self.loaded.values() if each is not newest and not each.users]
        idle.sort(key=lambda each: each.used_at)
        for there in idle[: max(0, len(self.loaded) - self._most)]:
            self._unload(there)

    def _unload(self, there: Loaded) -> None:
        del self.loaded[there.name]
        logger.info("unloaded %s", there.info.model)
        there.engines.clear()
        gc.unfreeze()
        _set_aside()
        give_back_freed_memory()

    def _report(self, name: str, line: str) -> None:
        for wanted, listener in self._listeners:
            if wanted == name:
                listener(line)


def _set_aside() -> None:
    """Keep the garbage collector from looking at what stays: at a library and a model it looks for 90 ms,
    during which no request goes on."""
    gc.collect()
    gc.freeze()
