"""Runs the command line in this process, on standard streams of our own and with a scripted engine."""

from __future__ import annotations

import io
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from unittest import mock

from engine.request import Engine
from lsp.cli import main


class _Stream(io.TextIOWrapper):
    def __init__(self, data: bytes = b"", *, terminal: bool = False) -> None:
        super().__init__(io.BytesIO(data), encoding="utf-8", newline="\n", write_through=True)
        self._terminal = terminal

    def isatty(self) -> bool:
        return self._terminal

    def written(self) -> bytes:
        assert isinstance(self.buffer, io.BytesIO)
        return self.buffer.getvalue()


@dataclass(frozen=True, kw_only=True)
class Run:
    """What a command left behind."""

    code: int
    out: bytes
    errors: str


def run_cli(
    arguments: Sequence[str],
    engine: Engine | Exception | None = None,
    *,
    stdin: bytes = b"",
    terminal: bool = False,
) -> Run:
    """Run `infill` with these arguments and this engine.

    An exception for an engine is raised by loading it; with None the real thing is loaded.
    """
    load = mock.Mock(side_effect=engine) if isinstance(engine, Exception) else mock.Mock(return_value=engine)
    out, errors = _Stream(terminal=terminal), _Stream(terminal=terminal)
    with ExitStack() as patches:
        if engine is not None:
            patches.enter_context(mock.patch("engine.inprocess.load_engine", load))
        for name, stream in (("stdin", _Stream(stdin)), ("stdout", out), ("stderr", errors)):
            patches.enter_context(mock.patch(f"sys.{name}", stream))
        patches.enter_context(mock.patch.dict("os.environ", TERM="xterm-256color", COLUMNS="100", LINES="40"))
        try:
            code = main(arguments)
        except SystemExit as leaving:  # argparse, for usage, help and version
            code = leaving.code if isinstance(leaving.code, int) else 1
        return Run(code=code, out=out.written(), errors=errors.written().decode("utf-8"))
