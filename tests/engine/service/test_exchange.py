"""One request to an engine and its answer: from a process that has much open, and one that has to wait."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress

import pytest

from engine.service.exchange import Exchange, Overdue
from engine.service.place import Address

ANSWER = b'HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n{"pid": 1}'


@contextmanager
def answering(answer: bytes, wait: threading.Event) -> Iterator[Address]:
    """A server that gives one request an answer, once it need not wait."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(10)

        def serve() -> None:
            link, _ = listening.accept()
            link.settimeout(10)
            with link, suppress(OSError):
                link.recv(65536)
                wait.wait(timeout=10)
                link.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        host, port = listening.getsockname()
        try:
            yield Address(pid=0, host=host, port=port, token="key")
        finally:
            wait.set()
            thread.join()


def test_descriptors_may_have_any_number() -> None:
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < 1200:
        pytest.skip("no more than a thousand files may be open")
    now = threading.Event()
    now.set()
    with ExitStack() as stack:
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 1200), hard))
        stack.callback(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
        while stack.enter_context(open(os.devnull)).fileno() < 1024:
            pass
        address = stack.enter_context(answering(ANSWER, now))
        with Exchange(address, "/v1/status", None, 10.0) as exchange:
            assert exchange.body(threading.Event()) == {"pid": 1}


def test_one_that_does_not_answer_is_given_up() -> None:
    with (
        answering(b"", threading.Event()) as address,
        Exchange(address, "/v1/status", None, 0.1) as exchange,
        pytest.raises(Overdue),
    ):
        exchange.body(threading.Event())


def test_one_that_is_no_longer_wanted_ends() -> None:
    cancelled = threading.Event()
    with (
        answering(b"", threading.Event()) as address,
        Exchange(address, "/v1/status", None, 60.0) as exchange,
    ):
        timer = threading.Timer(0.1, cancelled.set)
        timer.start()
        assert exchange.body(cancelled) is None
        timer.join()
