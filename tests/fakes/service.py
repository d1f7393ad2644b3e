"""`python -m tests.fakes.service`: the real service with an engine that needs no model."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Event

from engine.errors import InvalidRequest, ModelNotFound
from engine.request import DenoiseRequest, Engine, Step
from engine.service.__main__ import main
from tests.fakes.server import WaitingEngine

FULL = "full"
"""A file of this name in the engine's folder says that nothing can be written there."""


class ServiceEngine(WaitingEngine):
    """Answers, waits where there is `WAIT`, dies where there is `DIE`, and refuses where there is `NO`.

    Where there is `STUCK`, its first step takes until it is cancelled.
    """

    def denoise(self, request: DenoiseRequest, cancelled: Event) -> Iterator[Step]:
        """See the class."""
        before = request.prompt.prefix + request.prompt.typed
        if "DIE" in before:
            os._exit(9)
        if "STUCK" in before:
            cancelled.wait()
            return iter(())
        if "NO" in before:
            raise InvalidRequest("no such hole")
        for engine in (self.answering, self.waiting):  # nobody asks for them here, and they would pile up
            engine.requests.clear()
            engine.stops.clear()
        return super().denoise(request, cancelled)


ENGINES: dict[str | None, Engine] = {}


def load(model: str | None, on_progress: Callable[[str], None]) -> Engine:
    """A new engine for each model; there is none whose name begins with `missing`."""
    if model is not None and model.startswith("missing"):
        raise ModelNotFound("there is no model here")
    on_progress("half of it is there")
    return ServiceEngine()


if __name__ == "__main__":
    if Path(FULL).exists():
        import resource

        resource.setrlimit(resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
    sys.exit(main(load))
