"""`infill model info ID`: what a model will need, before a byte of its weights is fetched or loaded."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from lsp.commands.errors import Exit

if TYPE_CHECKING:
    import argparse

    from rich.console import Console

    from engine.checkpoints.memory import Report

    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]

_FORMS = {
    "stored": "as stored",
    "bf16": "bf16",
    "fp8": "fp8",
    "int4": "4-bit experts, the rest fp8",
}


def add_info_parser(
    subcommands: Subparsers,
    add_command: Callable[..., argparse.ArgumentParser],
    whole_number: Callable[[str], int],
) -> None:
    """Add `info` to the subcommands of `infill model`; `add_command` is how the others are made."""
    parser = add_command(
        subcommands, "info", _info, "say how much memory a model needs, and in which form it fits best"
    )
    parser.add_argument("model", metavar="DIR|HUB_ID", help="a checkpoint; of a hub's only headers are read")
    parser.add_argument(
        "--prefix-tokens",
        type=whole_number,
        default=8192,
        metavar="N",
        help="how long a prefix is to be cached (8192 by default)",
    )
    parser.add_argument("--json", action="store_true", dest="as_json", help="print one JSON object")


def _info(arguments: argparse.Namespace) -> int:
    return run(arguments.model, prefix_tokens=arguments.prefix_tokens, as_json=arguments.as_json)


def run(model: str, *, prefix_tokens: int = 8192, as_json: bool = False) -> int:
    """Print what `model` needs; 1 if there is a GPU that no form of it fits.

    Raises:
        EngineError: it could not be loaded either.
    """
    # Imported here: this is where torch and rich come in.
    from rich.console import Console

    from engine.checkpoints.memory import examine, this_device

    report = examine(model, prefix_tokens=prefix_tokens, device=this_device())
    if as_json:
        print(json.dumps(_as_json(report)))
    else:
        _show(report, Console(highlight=False))
    return Exit.NO_SUGGESTION if report.device and report.best is None else Exit.OK


def _as_json(report: Report) -> dict[str, Any]:
    needs = [{**asdict(need), "device": need.device} for need in report.needs]
    return {**asdict(report), "needs": needs}


def _show(report: Report, console: Console) -> None:
    from rich.table import Table

    console.print(
        f"{report.model}: {report.parameters / 1e9:.3g} billion parameters, "
        f"{_gb(report.stored_bytes)} stored as {report.stored_as}",
        markup=False,
    )
    table = Table(title=f"with a prefix of {report.prefix_tokens} tokens", title_justify="left", box=None)
    table.add_column("held as")
    for name in ("weights", "prefix", "working", "device", "host"):
        table.add_column(name, justify="right")
    for need in report.needs:
        sizes = (need.weights, need.cache, need.working, need.device, need.host)
        table.add_row(_FORMS[need.form], *(_gb(size) for size in sizes))
    console.print(table)
    if report.device is None:
        console.print("no GPU here")
    elif report.best is None:
        console.print(f"{report.device} has {_gb(report.device_bytes or 0)}: no form fits", markup=False)
    else:
        prefixes = ", prefixes in fp8" if report.best.fp8_prefixes else ""
        console.print(
            f"{report.device} has {_gb(report.device_bytes or 0)}: best {_FORMS[report.best.form]}{prefixes}",
            markup=False,
        )


def _gb(count: int) -> str:
    return f"{count / 1e9:.2f} GB" if count >= 5e6 else f"{count / 1e6:.2f} MB"
