"""`python -m tests.fakes.service`: the real service with an engine that needs no model."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from threading import Event

from engine.errors import InvalidRequest, ModelNotFound
from engine.request import DenoiseRequest, Engine, Step
from engine.service.__main__ import main
from tests.fakes.server import WaitingEngine


class ServiceEngine(WaitingEngine):
    """Answers, waits where there is `WAIT`, dies where there is `DIE`, and refuses where there is `NO`."""

    def denoise(self, request: DenoiseRequest, cancelled: Event) -> Iterator[Step]:
        """See the class."""
        if "DIE" in request.prompt.prefix:
            os._exit(9)
        if "NO" in request.prompt.prefix:
            raise InvalidRequest("no such hole")
        return super().denoise(request, cancelled)


ENGINES: dict[str | None, Engine] = {}


def load(model: str | None, on_progress: Callable[[str], None]) -> Engine:
    """A new engine for each model; there is none called `missing`."""
    if model == "missing":
        raise ModelNotFound("there is no model here")
    on_progress("half of it is there")
    return ServiceEngine()


if __name__ == "__main__":
    sys.exit(main(load))
