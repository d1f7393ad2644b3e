"""`python -m engine.service`: the service's process, as clients start it; the log goes to standard error."""

from __future__ import annotations

import argparse
import logging
import sys

from engine.service.models import Loader
from engine.service.place import find_place
from engine.service.run import ServiceOptions, run


def main(loader: Loader | None = None) -> int:
    """Parse the arguments and serve; `loader` stands in for the real one."""
    parser = argparse.ArgumentParser(prog="python -m engine.service")
    parser.add_argument("--port", type=int)
    parser.add_argument("--linger-s", type=float, default=60.0)
    parser.add_argument("--idle-s", type=float, default=1800.0)
    parser.add_argument("--stay", action="store_true")
    parser.add_argument("--version", default="")
    arguments = parser.parse_args()
    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s: %(message)s", level=logging.INFO)
    options = ServiceOptions(
        port=arguments.port,
        linger_s=None if arguments.stay else arguments.linger_s,
        idle_s=arguments.idle_s,
        version=arguments.version,
    )
    return run(find_place(), options, loader)


if __name__ == "__main__":
    sys.exit(main())
