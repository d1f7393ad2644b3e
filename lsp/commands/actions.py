"""A command that is a group of actions, such as `infill engine start`: the part they all have in common."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]

Action = tuple[str, Callable[[argparse.Namespace], int], str]
"""An action's name, what runs it, and one line about it in lower case."""


def add_group(
    commands: Subparsers, name: str, summary: str, details: str, actions: Iterable[Action]
) -> tuple[Subparsers, dict[str, argparse.ArgumentParser]]:
    """Add the command `name` with its actions; returns where more can be added, and each action's parser.

    `summary` is its line in the overview, and `details` go below it in its own help.
    """
    group = commands.add_parser(
        name, help=summary, description=f"{summary[0].upper()}{summary[1:]}. {details}"
    )
    kinds = group.add_subparsers(title="what to do", metavar="ACTION", required=True)
    parsers = {}
    for action, run, line in actions:
        parser = kinds.add_parser(action, help=line, description=f"{line[0].upper()}{line[1:]}.")
        parser.add_argument("--debug", action="store_true", help="show where an internal error happened")
        parser.set_defaults(run=run)
        parsers[action] = parser
    return kinds, parsers
