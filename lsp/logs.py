"""Where log lines go: standard error or a file, never standard output, which belongs to the protocol."""

from __future__ import annotations

import logging
import sys
from pathlib import Path

_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"


def set_up_logging(log_file: Path | None, level: int) -> None:
    """Log to a file, or to standard error without one, from `level` up.

    pygls puts whole payloads, which are the user's code, into its lines, errors included: it is silent
    above DEBUG.

    Raises:
        OSError: the file cannot be written.
    """
    if log_file is None:
        handler: logging.Handler = logging.StreamHandler(sys.stderr)
    else:
        handler = logging.FileHandler(log_file, encoding="utf-8")
    handler.setFormatter(logging.Formatter(_FORMAT))
    logging.basicConfig(handlers=[handler], level=level, force=True)
    logging.getLogger("pygls").setLevel(level if level <= logging.DEBUG else logging.CRITICAL + 1)
