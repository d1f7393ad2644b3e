"""`infill check`: lists the doubtful places and the syntax errors of files, for people and for CI."""

from __future__ import annotations

import argparse
import json
import math
import os
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lsp.commands.errors import EXIT_CODES_HELP, CommandError, Exit, say
from lsp.commands.source import STDIN, Position, Source, position_of, read_source
from lsp.version import __version__

if TYPE_CHECKING:
    from engine.request import Engine
    from infill.code.document import Document
    from infill.fixes.project import CheckConfig
    from lsp.cli import Subparsers

_SARIF_SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"
_SYNTAX = "syntax"


def add_parser(commands: Subparsers) -> None:
    """Add `infill check`."""
    parser = commands.add_parser(
        "check",
        help="list doubtful places: wrong names, operators, literals, arguments",
        description=(
            "List the places of files that read as if something else should stand there, and what does\n"
            "not parse. `# infill: ignore` on a line silences it, `# infill: ignore[name]` one kind of\n"
            "doubt, and the table [check] of infill.toml a kind in the whole project."
        ),
        epilog=EXIT_CODES_HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "files",
        metavar="FILE|DIR",
        nargs="+",
        help="what to check: files, and the source files of folders that no ignore file names; - for stdin",
    )
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", dest="as_json", help="print one JSON object")
    form.add_argument("--sarif", action="store_true", help="print a SARIF 2.1.0 log")
    parser.add_argument(
        "--threshold",
        type=_number,
        metavar="NATS",
        help="the evidence a doubt takes; infill.toml has its default",
    )
    parser.add_argument("--language", metavar="ID", help="LSP language id; by the files' names by default")
    parser.add_argument("--model", metavar="DIR|HUB_ID", help="a checkpoint; the embedded model by default")
    parser.add_argument("--seed", type=int, default=0, help="0 by default")
    parser.add_argument("--debug", action="store_true", help="show where an internal error happened")
    parser.set_defaults(run=run)


@dataclass(frozen=True, kw_only=True)
class Finding:
    """Something to say about `start` to `end` of a file; `text` is what should stand there, None if unknown.

    The positions are lines and columns from 1, the end exclusive.
    """

    file: str
    kind: str
    start: Position
    end: Position
    message: str
    text: str | None = None
    confidence: float = 1.0


def run(arguments: argparse.Namespace) -> int:
    """Check the files, each whatever becomes of the others; returns the exit code.

    Raises:
        EngineError: the model cannot be loaded.
    """
    from engine.errors import InvalidRequest
    from infill.errors import InfillError
    from lsp.commands.model import open_engine

    engine: Engine | None = None
    findings: list[Finding] = []
    code = Exit.OK
    configs = _Configs(arguments.threshold)
    for name in dict.fromkeys(_names(arguments.files)):
        try:
            source = read_source(name)
            document = _document(source, arguments.language)
            engine = engine or open_engine(arguments.model)  # not for what cannot be checked
            found = check(engine, source, document, configs.of(name), arguments.seed)
        except (CommandError, InvalidRequest, InfillError) as error:
            say(str(error))
            code = Exit.BAD_INPUT
            continue
        findings += found
        for f in found if not (arguments.as_json or arguments.sarif) else ():
            print(f"{f.file}:{f.start.line}:{f.start.column}: {f.message} [{f.kind}]")
    if arguments.as_json:
        model = engine.info().model if engine is not None else None
        print(json.dumps({"model": model, "findings": [_as_json(f) for f in findings]}))
    elif arguments.sarif:
        print(json.dumps(sarif(findings), indent=2))
    return Exit.NO_SUGGESTION if findings and code is Exit.OK else code


def _names(given: Iterable[str]) -> Iterator[str]:
    """The files to check: those given, and of a folder what the workspace's index would read of it."""
    from infill.ignore import IgnoreRules
    from infill.workspace.files import read, walk

    for name in given:
        if not os.path.isdir(name):
            yield STDIN if name == "-" else name
            continue
        rules = IgnoreRules(Path(name))
        inside = [path.relative_to(rules.root) for path in walk(rules) if read(path) is not None]
        if not inside:
            say(f"{name}: there is nothing to check in it")
        for path in inside:
            yield os.path.join(name, path)


def _document(source: Source, language: str | None) -> Document:
    """A file as code.

    Raises:
        CommandError: we have no grammar for it.
    """
    from infill.code.document import Document
    from infill.code.languages import language_of

    document = Document(source.text, language or language_of(source.name))
    if document.tree is None:
        raise CommandError(f"{source.name}: no grammar for {document.language}")
    return document


def check(
    engine: Engine, source: Source, document: Document, config: CheckConfig, seed: int
) -> list[Finding]:
    """Everything there is to say about one file, in order.

    Raises:
        EngineError: the engine cannot serve it.
    """
    from infill.fixes.diagnostic import title
    from infill.fixes.pieces import broken_pieces
    from infill.fixes.suspicious import find_doubts

    found = []
    for piece in broken_pieces(document, 0, len(source.text)):
        place = position_of(source.text, piece.start)
        first = place.line + piece.faulty_lines[0]
        at = Position(line=first, column=1)
        message = "this does not parse; `infill fix` may mend it"
        found.append(Finding(file=source.name, kind=_SYNTAX, start=at, end=at, message=message))
    doubts = find_doubts(
        engine,
        document,
        0,
        len(source.text),
        cancelled=threading.Event(),
        threshold=config.threshold,
        kinds=config.kinds,
        seed=seed,
    )
    for doubt in doubts:
        found.append(
            Finding(
                file=source.name,
                kind=doubt.kind,
                start=position_of(source.text, doubt.edit.start),
                end=position_of(source.text, doubt.edit.end),
                message=title(document, doubt.edit) + "?",
                text=doubt.edit.text,
                confidence=round(doubt.confidence, 3),
            )
        )
    return sorted(found, key=lambda f: (f.start.line, f.start.column))


def sarif(findings: list[Finding]) -> dict[str, Any]:
    """The findings as a SARIF 2.1.0 log, each with its swap as a fix; columns count code points."""
    rules = sorted({finding.kind for finding in findings})
    driver = {
        "name": "infill",
        "version": __version__,
        "rules": [{"id": rule, "shortDescription": {"text": f"doubtful: {rule}"}} for rule in rules],
    }
    run = {
        "tool": {"driver": driver},
        "columnKind": "unicodeCodePoints",
        "results": [_result(finding, rules) for finding in findings],
    }
    return {"$schema": _SARIF_SCHEMA, "version": "2.1.0", "runs": [run]}


def _result(finding: Finding, rules: list[str]) -> dict[str, Any]:
    artifact = {"uri": _uri(finding.file)}
    region = {
        "startLine": finding.start.line,
        "startColumn": finding.start.column,
        "endLine": finding.end.line,
        "endColumn": finding.end.column,
    }
    result: dict[str, Any] = {
        "ruleId": finding.kind,
        "ruleIndex": rules.index(finding.kind),
        "level": "error" if finding.kind == _SYNTAX else "note",
        "message": {"text": finding.message},
        "locations": [{"physicalLocation": {"artifactLocation": artifact, "region": region}}],
        "rank": round(100 * finding.confidence, 1),
    }
    if finding.text is not None:
        change = {"deletedRegion": region, "insertedContent": {"text": finding.text}}
        result["fixes"] = [
            {
                "description": {"text": finding.message.removesuffix("?")},
                "artifactChanges": [{"artifactLocation": artifact, "replacements": [change]}],
            }
        ]
    return result


def _uri(file: str) -> str:
    """A file's name as a URI reference: what is outside the working directory as a file: URI."""
    from urllib.parse import quote

    path = Path(file)
    return path.as_uri() if path.is_absolute() else quote(path.as_posix())


def _as_json(finding: Finding) -> dict[str, Any]:
    return {
        "file": finding.file,
        "kind": finding.kind,
        "range": {
            "start": {"line": finding.start.line, "column": finding.start.column},
            "end": {"line": finding.end.line, "column": finding.end.column},
        },
        "message": finding.message,
        "text": finding.text,
        "confidence": finding.confidence,
    }


class _Configs:
    """What the nearest `infill.toml` above each file says; what is wrong with one is said once.

    A `threshold` that is given counts instead of theirs.
    """

    def __init__(self, threshold: float | None) -> None:
        self._threshold = threshold
        self._read: dict[Path, CheckConfig] = {}

    def of(self, file: str) -> CheckConfig:
        """What counts for a file."""
        from infill.fixes.project import CheckConfig
        from infill.project_config import FILE_NAME

        folder = Path.cwd() if file == STDIN else Path(file).resolve().parent
        paths = (parent / FILE_NAME for parent in (folder, *folder.parents))
        path = next((path for path in paths if path.is_file()), None)
        config = self._of(path) if path is not None else CheckConfig()
        return config if self._threshold is None else replace(config, threshold=self._threshold)

    def _of(self, path: Path) -> CheckConfig:
        from infill.fixes.project import CheckConfig, read_check_config

        if path not in self._read:
            try:
                self._read[path], problems = read_check_config(path.read_bytes())
            except OSError as error:
                self._read[path], problems = CheckConfig(), [f"{path}: {error.strerror or error}"]
            for problem in problems:
                say(problem)
        return self._read[path]


def _number(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number")
    return value
