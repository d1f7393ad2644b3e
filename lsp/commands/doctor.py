"""`infill doctor`: says what is in use (versions, device, model, grammars) and what is wrong.

Every check is made even if an earlier one failed. A check that fails says how; it never ends the
program.
"""

from __future__ import annotations

import json
import platform
import re
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from importlib import metadata

from rich.console import Console
from rich.text import Text

from engine.request import Engine
from infill.code.document import Document
from infill.code.languages import LANGUAGES, Language
from infill.pipeline import fill_text
from infill.request import FillRequest
from lsp.commands.errors import Exit
from lsp.commands.model import open_engine, wanted_model
from lsp.version import __version__

DISTRIBUTION = "infill-ls"

SAMPLES = {
    "python": "def f(x):\n    return [x]\n",
    "javascript": "const f = (x) => [x];\n",
    "javascriptreact": "const f = (x) => <b>{x}</b>;\n",
    "typescript": "const f = (x: number): number[] => [x];\n",
    "typescriptreact": "const f = (x: string) => <b>{x}</b>;\n",
    "go": "package p\n\nfunc f(x int) []int { return []int{x} }\n",
    "rust": "fn f(x: u8) -> Vec<u8> { vec![x] }\n",
    "java": "class A { int f(int x) { return x; } }\n",
    "c": "int f(int x) { return x; }\n",
    "cpp": "template <typename T> T f(T x) { return x; }\n",
}
"""A text in each language that its grammar should parse without an error."""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that was looked at; `wrong` says what is the matter with it, None for nothing."""

    name: str
    value: str
    wrong: str | None = None


def run(model: str | None = None, *, as_json: bool = False) -> Exit:
    """Look at everything and print it; exit code 1 if something is wrong."""
    console = Console(highlight=False, soft_wrap=True)
    findings = []
    for finding in examine(model):
        findings.append(finding)
        if not as_json:
            mark = Text("ok    ", "green") if finding.wrong is None else Text("WRONG ", "bold red")
            said = finding.value if finding.wrong is None else f"{finding.value}  {finding.wrong}".strip()
            console.print(mark + Text(f"{finding.name:<24} {said}"))
    wrong = [finding.name for finding in findings if finding.wrong is not None]
    if as_json:
        report = {"ok": not wrong, "wrong": wrong, "findings": [asdict(finding) for finding in findings]}
        sys.stdout.write(json.dumps(report) + "\n")
    elif wrong:
        console.print(f"{len(wrong)} wrong: {', '.join(wrong)}", style="bold red", markup=False)
    else:
        console.print("nothing is wrong", style="green")
    return Exit.NO_SUGGESTION if wrong else Exit.OK


def examine(model: str | None) -> Iterator[Finding]:
    """Make every check, in the order they are shown."""
    yield Finding(name="infill", value=__version__)
    yield _python()
    yield Finding(name="platform", value=f"{platform.platform()} ({platform.machine()})")
    yield from _packages()
    yield from (_grammar(language) for language in LANGUAGES.values())
    yield from _model(model)
    yield _checked("shared engine", _shared)


def _python() -> Finding:
    version = f"{platform.python_implementation()} {platform.python_version()} ({sys.executable})"
    wrong = None if sys.version_info >= (3, 11) else "Python 3.11 or newer is needed"
    return Finding(name="python", value=version, wrong=wrong)


def _packages() -> Iterator[Finding]:
    """The version of each package this distribution always asks for, and whether it is there at all.

    Whether the version is one it asks for is pip's to say (`pip check`): comparing takes `packaging`.
    """
    try:
        required = metadata.requires(DISTRIBUTION) or []
    except metadata.PackageNotFoundError:
        yield Finding(name=DISTRIBUTION, value="", wrong="not installed: running from a source tree?")
        return
    # Those with a condition (an extra, a platform) may rightly be absent.
    for requirement in sorted(line for line in required if ";" not in line):
        name = re.split(r"[^A-Za-z0-9._-]", requirement, maxsplit=1)[0]
        try:
            yield Finding(name=name, value=metadata.version(name))
        except metadata.PackageNotFoundError:
            yield Finding(name=name, value="", wrong=f"not installed; needed: {requirement}")


def _grammar(language: Language) -> Finding:
    """Parse a sample once."""

    def check() -> tuple[str, str | None]:
        distribution = language.module.replace("_", "-")
        version = f"{distribution} {metadata.version(distribution)}"
        tree = Document(SAMPLES[language.id], language.id).tree
        if tree is None:
            return version, "the grammar could not be loaded or took too long"
        return version, "it does not parse its sample" if tree.root_node.has_error else None

    return _checked(f"grammar {language.id}", check)


def _compiled() -> tuple[str, str | None]:
    """What a dense model's layers run as on a CPU. That nothing was compiled makes it slower, not wrong."""
    from engine.native import library, why_not

    found = library()
    return (f"none: {why_not()}" if found is None else found.sets[found.best]), None


def _model(model: str | None) -> Iterator[Finding]:
    """Load the model and fill one small hole with it."""
    loaded: list[Engine] = []

    def load() -> tuple[str, str | None]:
        from engine.checkpoints.hub import resolve

        started = time.perf_counter()
        loaded.append(open_engine(model))
        took_ms = (time.perf_counter() - started) * 1000
        info = loaded[0].info()
        size = f"{info.parameters:,} parameters, {info.dtype}"
        folder = resolve(wanted_model(model))
        return f"{info.model}, {size}, loaded in {took_ms:.0f} ms from {folder}", None

    def fill() -> tuple[str, str | None]:
        text = SAMPLES["python"]
        request = FillRequest(text=text, language="python", offset=text.index("[x]"), end=len(text) - 1)
        outcome = fill_text(loaded[0], request)
        return f"{outcome.steps} steps in {outcome.elapsed_ms:.0f} ms, not warmed up", None

    yield _checked("model", load)
    if loaded:
        device = loaded[0].info().device
        yield Finding(name="device", value=device)
        if device == "cpu":
            yield _checked("compiled layers", _compiled)
        yield _checked("fill", fill)


def _shared() -> tuple[str, str | None]:
    """Whether the engine that editors share runs, and with which models."""
    from engine.resident import ask_status
    from engine.service.lifecycle import running
    from engine.service.place import find_place

    address = running(find_place())
    if address is None:
        return "not running; the first editor that needs it starts it", None
    state = ask_status(address)
    models = ", ".join(model["model"] for model in state["models"]) or "no model in memory"
    wrong = "; ".join(f"{name}: {why}" for name, why in state["failures"].items()) or None
    return f"pid {address.pid}, {models}, {state['memory_bytes'] / 2**20:.0f} MiB", wrong


def _checked(name: str, check: Callable[[], tuple[str, str | None]]) -> Finding:
    try:
        value, wrong = check()
    except Exception as error:  # whatever it is, it is what the user wants to know
        said = " ".join(str(error).split()) or "no message"
        return Finding(name=name, value="", wrong=f"{type(error).__name__}: {said}")
    return Finding(name=name, value=value, wrong=wrong)
