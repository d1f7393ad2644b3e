"""Messages that are wrong, early, late or unknown: each request gets exactly one answer."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from lsp.framing import MAX_BODY_BYTES, Framer
from tests.lsp.session import URI, connect, frame


async def test_a_request_before_initialize_is_refused_and_initialize_works_after() -> None:
    async with connect(initialize=False) as session:
        session.open("x = ")  # a notification, which is dropped
        answer = await session.answer_to(session.ask_inline(0, 0))
        assert answer["error"]["code"] == -32002
        assert (await session.request("shutdown"))["error"]["code"] == -32002
        await session.initialize()
        assert await session.inline(0, 0) == []
    assert "not open" in session.log[-1]


async def test_after_shutdown_requests_are_refused_and_exit_ends_with_0() -> None:
    async with connect() as session:
        assert (await session.request("shutdown"))["result"] is None
        assert (await session.answer_to(session.ask_inline(0, 0)))["error"]["code"] == -32600
        assert (await session.request("shutdown"))["error"]["code"] == -32600
        session.open("x = ")
        session.notify("exit")
        assert await asyncio.wait_for(session.connection.ended(), 5) == 0


@pytest.mark.parametrize("initialize", [True, False])
async def test_exit_without_shutdown_ends_with_1(initialize: bool) -> None:
    async with connect(initialize=initialize) as session:
        session.notify("exit")
        assert await asyncio.wait_for(session.connection.ended(), 5) == 1


async def test_initialize_is_for_once() -> None:
    async with connect() as session:
        answer = await session.request("initialize", {"processId": None, "capabilities": {}})
    assert answer["error"]["code"] == -32600


async def test_an_unknown_method_is_named() -> None:
    async with connect() as session:
        session.notify("textDocument/sparkle", {"a": 1})
        answer = await session.request("textDocument/twinkle")
        assert answer["error"]["code"] == -32601
        assert "twinkle" in answer["error"]["message"]
        assert (await session.request("$/sparkle"))["error"]["code"] == -32601


@pytest.mark.parametrize(
    "params",
    [None, {}, [], "text", {"textDocument": {"uri": URI}, "position": "here", "context": {}}],
)
async def test_parameters_that_do_not_fit_are_refused(params: object) -> None:
    async with connect() as session:
        answer = await session.request("textDocument/inlineCompletion", params)
        assert answer["error"]["code"] == -32602
        session.open("x = ")
        assert len(await session.inline(0, 4)) == 1


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"{", -32700),
        (b"\xff\xfe\x00", -32700),
        (b'"\xe9"', -32700),
        (b"[" * 100_000, -32700),
        (b"[]", -32600),
        (b"null", -32600),
        (b"7", -32600),
        (b'{"id": null, "method": "shutdown"}', -32600),
        (b'{"jsonrpc": "1.0", "method": "x"}', -32600),
        (b'[{"jsonrpc": "2.0", "id": 9, "method": "shutdown"}]', -32600),
    ],
)
async def test_a_body_that_is_no_message_gets_an_error_and_the_next_works(body: bytes, code: int) -> None:
    async with connect() as session:
        session.connection.feed(frame(body))
        assert (await session.answer_to(None))["error"]["code"] == code
        session.open("x = ")
        assert len(await session.inline(0, 4)) == 1


@pytest.mark.parametrize(
    "message",
    [
        {"jsonrpc": "2.0"},
        {"jsonrpc": "2.0", "id": 99, "result": {"a": 1}},
        {"jsonrpc": "2.0", "id": 99, "error": {"code": 1, "message": "no"}},
        {"jsonrpc": "2.0", "id": 99, "error": "no"},
        {"jsonrpc": "2.0", "id": {"a": 1}, "result": None},
        {"jsonrpc": "2.0", "method": 7},
        {"jsonrpc": "2.0", "method": "textDocument/didChange", "params": 7},
        {"jsonrpc": "2.0", "method": "textDocument/didOpen"},
        {"jsonrpc": "2.0", "method": "$/cancelRequest", "params": {"id": 12345}},
        {"jsonrpc": "2.0", "method": "$/cancelRequest"},
    ],
)
async def test_a_broken_notification_or_answer_does_no_harm(message: dict[str, Any]) -> None:
    async with connect() as session:
        before = len(session.received)
        session.connection.feed(frame(message))
        session.open("x = ")
        assert len(await session.inline(0, 4)) == 1
        # Nothing but the answer, its line in the log and the status: it must not pop up in the editor.
        methods = [m.get("method") for m in session.received[before:]]
        assert set(methods) == {None, "window/logMessage", "infill/status"}
        assert methods.count(None) == methods.count("window/logMessage") == 1


@pytest.mark.parametrize("broken_id", [None, 1.5, True, [1]])
async def test_an_id_that_is_none_is_answered_with_null(broken_id: object) -> None:
    async with connect() as session:
        session.connection.feed(frame({"jsonrpc": "2.0", "id": broken_id, "method": "shutdown"}))
        assert "error" in await session.answer_to(None)
        assert "result" in await session.request("shutdown")


async def test_capabilities_from_the_future_do_not_keep_the_server_from_starting() -> None:
    capabilities = {
        "general": {"positionEncodings": ["utf-64", "utf-8"]},
        "window": {"workDoneProgress": True},
        "textDocument": {"completion": {"completionItemKind": {"valueSet": ["sparkle"]}}},
        "workspace": 7,
    }
    async with connect(capabilities=capabilities) as session:
        session.open("é = ")
        [item] = await session.inline(0, 5)
        assert item["range"]["end"] == {"line": 0, "character": 5}
        assert any(m.get("method") == "$/progress" for m in session.received)


@pytest.mark.parametrize(
    ("offered", "chosen"),
    [
        (None, "utf-16"),
        (["utf-16"], "utf-16"),
        (["utf-8", "utf-16", "utf-32"], "utf-16"),
        (["utf-8", "utf-32"], "utf-32"),
        (["utf-8"], "utf-8"),
        (["utf-7"], "utf-16"),
        ([], "utf-16"),
    ],
)
async def test_the_position_encoding_is_our_choice_of_what_is_offered(
    offered: list[str] | None, chosen: str
) -> None:
    async with connect(capabilities={"general": {"positionEncodings": offered}}, initialize=False) as session:
        answer = await session.initialize()
        assert answer["result"]["capabilities"]["positionEncoding"] == chosen
        assert session.server.documents.encoding.value == chosen


MESSAGE = {"jsonrpc": "2.0", "id": "after", "method": "textDocument/nothing"}


@pytest.mark.parametrize(
    "garbage",
    [
        b"garbage\n",
        b"garbage without an end",
        b"\x00\xff" * 100 + b"\n",
        b"\r\n\r\n",
        b"Content-Length: nonsense\r\n\r\n",
        b"Content-Length: -5\r\n\r\n",
        b"Content-Length: 0\r\n\r\n",
        b"Content-Length: %d\r\n\r\n" % (MAX_BODY_BYTES + 1),
        b"Content-Length: 99999999999999999999\r\n\r\n",
        b"Content-Length: 5\r\n\r\n" + json.dumps(MESSAGE).encode(),  # shorter than the body
        b"x" * 500_000,
    ],
)
async def test_the_server_finds_the_next_message_behind_garbage(garbage: bytes) -> None:
    async with connect() as session:
        session.connection.feed(garbage + frame(MESSAGE))
        assert (await session.answer_to("after"))["error"]["code"] == -32601


async def test_a_body_shorter_than_announced_costs_the_next_message_only() -> None:
    async with connect() as session:
        body = json.dumps(MESSAGE).encode()
        session.connection.feed(b"Content-Length: %d\r\n\r\n" % (len(body) + 30) + body)
        session.connection.feed(frame(MESSAGE))
        session.connection.feed(frame({**MESSAGE, "id": "third"}))
        assert "error" in await session.answer_to("third")


def test_chunks_may_be_cut_anywhere() -> None:
    bodies = [b'{"a": "\xc3\xa9"}', b"x" * 3000, b"{}"]
    header = b"content-length:%d\r\nContent-Type: application/vscode-jsonrpc; charset=utf-8\r\n\r\n"
    stream = b"".join(header % len(body) + body for body in bodies)
    for size in (1, 2, 3, 7, 1000, len(stream)):
        framer = Framer()
        chunks = [stream[i : i + size] for i in range(0, len(stream), size)]
        assert [body for chunk in chunks for body in framer.feed(chunk)] == bodies
        assert framer.garbage_bytes == 0


async def test_a_client_that_closes_its_side_ends_the_connection() -> None:
    async with connect() as session:
        session.connection.feed(b"Content-Length: 100\r\n\r\n{")
        session.connection.feed(b"")
        assert await asyncio.wait_for(session.connection.ended(), 5) == 1
    async with connect() as session:
        await session.request("shutdown")
        session.connection.feed(b"")
        assert await asyncio.wait_for(session.connection.ended(), 5) == 0
