"""`infill model`: the models on this machine: list them, pull, remove, and choose the one that is used."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from lsp.commands.actions import add_group
from lsp.commands.errors import Exit
from lsp.commands.model import EMBEDDED

if TYPE_CHECKING:
    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]


def add_parser(commands: Subparsers) -> Subparsers:
    """Add `model` and what it can do to the command line; returns it for what others add."""
    kinds, actions = add_group(
        commands,
        "model",
        "models: list, pull, remove, use, info",
        "There is one that ships with infill; others are a checkpoint's directory or its id on the hub.",
        (
            ("list", _list, "list the models on this machine"),
            ("pull", _pull, "fetch a model from the hub, going on where an earlier try stopped"),
            ("remove", _remove, "remove a fetched model"),
            ("use", _use, "use this model from now on where nothing else is asked for"),
        ),
    )
    for name in ("pull", "remove"):
        actions[name].add_argument("name", metavar="HUB_ID", help="such as owner/name")
    actions["use"].add_argument("name", metavar="DIR|HUB_ID|embedded", help="embedded ships with infill")
    return kinds


def _list(arguments: argparse.Namespace) -> int:
    from engine.checkpoints.store import chosen_model, fetched_models

    chosen = chosen_model() or EMBEDDED
    rows = [(EMBEDDED, "ships with infill")]
    for model in fetched_models():
        rows.append((model.name, _size(model.size_bytes) + ("" if model.complete else ", incomplete")))
    if chosen not in (name for name, _ in rows):
        rows.append((chosen, "a directory"))
    for name, what in rows:
        print(f"{'*' if name == chosen else ' '} {name}  {what}")
    return Exit.OK


def _pull(arguments: argparse.Namespace) -> int:
    from rich.console import Console
    from rich.markup import escape
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    from engine.checkpoints.store import pull

    if not sys.stderr.isatty():
        print(pull(arguments.name, lambda _line: None))
        return Exit.OK
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn())
    timing = (TransferSpeedColumn(), TimeRemainingColumn())
    with Progress(*columns, *timing, console=console) as progress:
        task = progress.add_task(f"looking for {escape(arguments.name)}", total=None)
        folder = pull(
            arguments.name,
            lambda line: progress.update(task, description=escape(line)),
            lambda here, whole: progress.update(task, completed=here, total=whole),
        )
    print(folder)
    return Exit.OK


def _remove(arguments: argparse.Namespace) -> int:
    from engine.checkpoints.store import remove

    print(f"removed {arguments.name}, {_size(remove(arguments.name))} are free again")
    return Exit.OK


def _use(arguments: argparse.Namespace) -> int:
    from engine.checkpoints.hub import resolve
    from engine.checkpoints.store import absolute, choose_model

    if arguments.name == EMBEDDED:
        choose_model(None)
    else:
        name = absolute(arguments.name)
        resolve(name)  # it must be there, or to be had
        choose_model(name)
    print(f"{arguments.name} is used from now on; a running engine loads it with the next request")
    return Exit.OK


def _size(size_bytes: int) -> str:
    return f"{size_bytes / 1e9:.2f} GB" if size_bytes >= 1e9 else f"{size_bytes / 1e6:.1f} MB"
