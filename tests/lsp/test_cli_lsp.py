"""`infill lsp`: how arguments become server options. The server itself has tests of its own."""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import pytest

from lsp.early import Met
from lsp.session import ServerOptions
from tests.lsp.cli_harness import run_cli

MET = Met(pipe=io.BytesIO(), received=b"")


@pytest.fixture(autouse=True)
def client() -> Iterator[None]:
    """Nobody is met on the tests' own standard input, and the tests' own log stays as it is."""
    with mock.patch("lsp.arguments.server.meet", return_value=MET), mock.patch("lsp.logs.set_up_logging"):
        yield


def test_stdio_is_the_default_and_its_exit_code_is_ours() -> None:
    with mock.patch("lsp.server.serve_stdio", return_value=1) as serve:
        assert run_cli(["lsp"]).code == 1
    serve.assert_called_once_with(
        ServerOptions(model=None, log_file=None, log_level=logging.WARNING), met=MET
    )


@pytest.mark.parametrize(
    ("address", "host", "port"), [("127.0.0.1:2087", "127.0.0.1", 2087), ("[::1]:0", "::1", 0)]
)
def test_tcp_and_the_other_options(address: str, host: str, port: int) -> None:
    options = ["--tcp", address, "--model", "some/model", "--log-file", "x.log", "--log-level", "debug"]
    with mock.patch("lsp.server.serve_tcp", return_value=0) as serve:
        assert run_cli(["lsp", *options]).code == 0
    wanted = ServerOptions(model="some/model", log_file=Path("x.log"), log_level=logging.DEBUG)
    serve.assert_called_once_with(wanted, host, port)


@pytest.mark.parametrize("address", ["2087", "localhost", ":2087", "localhost:http", "localhost:65536"])
def test_a_bad_address_is_a_usage_error(address: str) -> None:
    run = run_cli(["lsp", "--tcp", address])
    assert run.code == 2
    assert "is not HOST:PORT" in run.errors


def test_a_server_that_cannot_start_says_why() -> None:
    with mock.patch("lsp.server.serve_stdio", side_effect=PermissionError(13, "Permission denied", "x.log")):
        run = run_cli(["lsp", "--log-file", "x.log"])
    assert run.code == 2
    assert "x.log" in run.errors
    assert run.errors.count("\n") == 1
