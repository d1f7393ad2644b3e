"""`infill engine`: starts, stops, shows or runs the engine that all editors share."""

from __future__ import annotations

import argparse
import json
import time
from typing import TYPE_CHECKING, Any

from lsp.arguments.common import port
from lsp.commands.actions import add_group
from lsp.commands.errors import CommandError, Exit
from lsp.version import __version__

if TYPE_CHECKING:
    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]


def add_parser(commands: Subparsers) -> None:
    """Add `engine` and what it can do to the command line."""
    _, actions = add_group(
        commands,
        "engine",
        "the engine all editors share: start, stop, status, run",
        "It starts by itself when an editor needs it, and ends when none does.",
        (
            ("start", _start, "start it and leave it running"),
            ("run", _run, "run it here, logging to standard error"),
            ("stop", _stop, "end it"),
            ("status", _status, "show its model, memory, clients, queue and latencies"),
        ),
    )
    for parser in (actions["start"], actions["run"]):
        parser.add_argument(
            "--port", type=port, help="listen on this loopback port too, for other tools; 0: any"
        )
        parser.add_argument(
            "--linger-s", type=float, default=None, help="end so long after the last client; never"
        )
        parser.add_argument("--idle-s", type=float, default=1800.0, help="unload unused models after this")
    status = actions["status"]
    status.add_argument("--json", action="store_true", dest="as_json", help="print one JSON object")
    status.add_argument("--watch", action="store_true", help="go on showing it until interrupted")


def _start(arguments: argparse.Namespace) -> int:
    from engine.service.lifecycle import running, start
    from engine.service.place import find_place

    place = find_place()
    before = running(place)
    address = start(place, 30.0, _arguments(arguments))
    again = before is not None
    print(f"the engine {'is running already' if again else 'runs'}, pid {address.pid}")
    if again and arguments.port is not None and address.port != arguments.port:
        raise CommandError("it listens elsewhere; stop it first to have it on that port")
    if address.port:
        print(f"url http://{address.host}:{address.port}  key {address.token}")
        print(f"page http://{address.host}:{address.port}/?key={address.token}")
    return Exit.OK


def _run(arguments: argparse.Namespace) -> int:
    import logging

    from engine.service.place import find_place
    from engine.service.run import ServiceOptions, run

    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s: %(message)s", level=logging.INFO)
    options = ServiceOptions(
        port=arguments.port, linger_s=arguments.linger_s, idle_s=arguments.idle_s, version=__version__
    )
    try:
        return run(find_place(), options)
    except OSError as error:
        raise CommandError(f"the engine cannot listen: {error.strerror or error}") from error


def _stop(arguments: argparse.Namespace) -> int:
    from engine.service.lifecycle import stop
    from engine.service.place import find_place

    print("the engine was stopped" if stop(find_place()) else "no engine is running")
    return Exit.OK


def _status(arguments: argparse.Namespace) -> int:
    from rich.console import Console
    from rich.live import Live

    state = _ask()
    if arguments.as_json:
        print(json.dumps(state or {"running": False}))
    elif state is None:
        print("no engine is running; the first editor that needs it starts it")
    elif arguments.watch:
        with Live(draw(state), console=Console(), refresh_per_second=2) as live:
            while state is not None:
                live.update(draw(state))
                time.sleep(0.5)
                state = _ask()
    else:
        Console().print(draw(state))
    return Exit.OK if state is not None else Exit.NO_SUGGESTION


def _ask() -> dict[str, Any] | None:
    from engine.resident import ask_status
    from engine.service.lifecycle import running
    from engine.service.place import find_place

    address = running(find_place())
    return None if address is None else ask_status(address)


def draw(state: dict[str, Any]) -> Any:
    """The status as a table for a terminal."""
    from rich.table import Table
    from rich.text import Text

    table = Table.grid(padding=(0, 2))
    table.add_column(style="cyan")
    table.add_column(overflow="fold")

    def add(name: str, value: str) -> None:
        table.add_row(name, Text("".join(c if c.isprintable() else "\ufffd" for c in value)))

    add("engine", f"{state['version'] or 'infill'}, pid {state['pid']}, up {state['uptime_s']:.0f} s")
    add("memory", f"{state['memory_bytes'] / 2**20:.0f} MiB")
    for model in state["models"]:
        size = f"{model['parameters'] / 1e6:.1f}M parameters, {model['dtype']} on {model['device']}"
        add("model", f"{model['model']}: {size}, idle {model['idle_s']:.0f} s")
    if not state["models"]:
        add("model", "none in memory")
    for name, why in state["failures"].items():
        add("failed", f"{name}: {why}")
    for client in state["clients"]:
        since = f"for {client['for_s']:.0f} s, {client['requests']} requests"
        add("client", f"{client['name']}, pid {client['pid']}, {since}")
    if state["cache_limit_bytes"]:
        used, limit = state["cache_bytes"] / 2**20, state["cache_limit_bytes"] / 2**20
        share = state["cached_tokens"] / max(1, state["prompt_tokens"])
        add("cache", f"{used:.0f} of {limit:.0f} MiB, {share:.0%} of prompt tokens were in it")
    add("queue", f"{state['running']} at work, {state['waiting']} waiting")
    if state["acceptance"] is not None:
        became = state["suggestions"]
        kinds = f"{became['partly_accepted']} in part, {became['rejected']} dismissed"
        shown = f"{kinds}, {became['shown']} known to be shown"
        add("suggestions", f"{state['acceptance']:.0%} of {became['offered']} accepted, {shown}")
    if state["p50_ms"] is not None:
        add("latency", f"p50 {state['p50_ms']:.0f} ms, p95 {state['p95_ms']:.0f} ms")
    add("answers", ", ".join(f"{name} {n}" for name, n in state["requests"].items()) or "none yet")
    return table


def _arguments(arguments: argparse.Namespace) -> list[str]:
    out = ["--idle-s", str(arguments.idle_s), "--version", __version__]
    out += ["--stay"] if arguments.linger_s is None else ["--linger-s", str(arguments.linger_s)]
    return out + ([] if arguments.port is None else ["--port", str(arguments.port)])
