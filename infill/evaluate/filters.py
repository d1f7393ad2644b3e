"""How often each filter of `infill.postprocess` fires, and what slips through.

`python -m infill.evaluate.filters DIRECTORY` counts over the evaluation's holes, for every canvas the model
wrote, which cut changed it and which check turned it down; for every suggestion that is shown, whether it
still repeats the following line or leaves a bracket or a quote without its partner. It changes nothing about
what is filtered.
"""

from __future__ import annotations

import argparse
import json
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from engine.request import Engine
from infill import postprocess
from infill.code.brackets import marks, mismatches
from infill.code.document import Document
from infill.evaluate.holes import Hole, cut_holes
from infill.pipeline import fill
from infill.request import FillRequest, Rejected

CUTS = (
    "cut_closer",
    "cut_line",
    "cut_block",
    "drop_last_line",
    "trim_overlap",
    "trim_repeated_lines",
    "trim_blanks",
)
CHECKS = (
    "check_empty",
    "check_word",
    "check_suffix",
    "check_prefix",
    "check_repetitive",
    "check_notice",
    "check_balance",
)


@dataclass(kw_only=True)
class Rates:
    """What was counted: `fired` of `canvases`; `reasons`, `repeats` and `unbalanced` of `holes`.

    `worse` is how many suggestions leave more without a partner than there was without them.
    """

    holes: int = 0
    canvases: int = 0
    shown: int = 0
    repeats: int = 0
    unbalanced: int = 0
    worse: int = 0
    fired: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    repaired: Counter[str] = field(default_factory=Counter)

    def as_json(self) -> dict[str, object]:
        """All of it."""
        return {**vars(self), **{k: dict(vars(self)[k]) for k in ("fired", "reasons", "repaired")}}


def firing_rates(engine: Engine, holes: Sequence[Hole], seed: int = 0) -> Rates:
    """Fill every hole as for somebody who asks with a key there, and count.

    Raises:
        EngineError: the engine cannot serve a request.
    """
    rates = Rates()
    with _watched(rates):
        for hole in holes:
            document = Document(hole.before + hole.after, "python")
            request = FillRequest(
                text=document.text, language="python", offset=hole.start, seed=seed, inside_word=True
            )
            found = fill(engine, document, request, cancelled=threading.Event())
            rates.holes += 1
            if isinstance(found, Rejected):
                rates.reasons[found.reason.value] += 1
                continue
            rates.shown += 1
            rates.repaired[found.repaired] += 1
            before = mismatches(marks(document, 0, len(document.text)))
            filled = document.filled(found.start, found.end, found.text)
            after = mismatches(marks(filled, 0, len(filled.text)))
            rates.unbalanced += after > 0
            rates.worse += after > before
            rates.repeats += _repeats(filled.text, found.start, found.start + len(found.text))
    return rates


def _repeats(text: str, start: int, end: int) -> bool:
    """Whether the line at `end` is the one that follows it, blank lines and blanks aside."""
    if "\n" in text[start:end].strip() or not text[end:].split("\n", 1)[0].strip():
        last = text[text.rfind("\n", 0, end) + 1 : end].strip()
        following = next((line.strip() for line in text[end:].split("\n")[1:] if line.strip()), "")
        return last == following and any(char.isalnum() for char in last)
    return False


@contextmanager
def _watched(rates: Rates) -> Iterator[None]:
    """Count what the filters do meanwhile."""
    real = {name: getattr(postprocess, name) for name in (*CUTS, *CHECKS, "_cut")}

    def cut(name: str) -> Callable[..., str]:
        def counted(text: str, *others: Any, **named: Any) -> str:
            result: str = real[name](text, *others, **named)
            rates.fired[name] += result != text
            return result

        return counted

    def check(name: str) -> Callable[..., Any]:
        def counted(*args: Any, **named: Any) -> Any:
            verdict = real[name](*args, **named)
            rates.fired[name] += verdict is not None
            return verdict

        return counted

    def canvas(*args: Any) -> Any:
        rates.canvases += 1
        return real["_cut"](*args)

    watched = {name: cut(name) for name in CUTS} | {name: check(name) for name in CHECKS} | {"_cut": canvas}
    try:
        for name, function in watched.items():
            setattr(postprocess, name, function)
        yield
    finally:
        for name, function in real.items():
            setattr(postprocess, name, function)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("directory", type=Path, help="Python files to cut holes from")
    parser.add_argument("--limit", type=int, default=128)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--model")
    options = parser.parse_args()
    from engine.inprocess import load_engine  # it imports torch

    rates = firing_rates(
        load_engine(options.model), cut_holes(options.directory, options.limit, options.seed), options.seed
    )
    for name in (*CUTS, *CHECKS):
        print(
            f"{name:<22}{rates.fired[name]:>5}  {rates.fired[name] / max(1, rates.canvases):6.1%} of canvases"
        )
    for name in ("repeats", "unbalanced", "worse"):
        count = getattr(rates, name)
        print(f"{name:<22}{count:>5}  {count / max(1, rates.shown):6.1%} of what is shown")
    sys.stdout.write(json.dumps({"benchmark": "filters", **rates.as_json()}) + "\n")


if __name__ == "__main__":
    main()
