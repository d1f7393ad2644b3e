"""`infill check`: lists the doubtful places and the syntax errors of files, for people and for CI."""

from __future__ import annotations

import argparse
import json
import math
import sys
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lsp.commands.errors import EXIT_CODES_HELP, CommandError, Exit
from lsp.commands.source import STDIN, Position, Source, position_of, read_source
from lsp.version import __version__

if TYPE_CHECKING:
    from engine.request import Engine
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
    parser.add_argument("files", metavar="FILE", nargs="+", help="what to check; - for stdin")
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
    """Check the files; returns the exit code.

    Raises:
        CommandError: a file cannot be read.
        EngineError: the model cannot be loaded or cannot serve the request.
    """
    from infill.fixes.project import CheckConfig
    from lsp.commands.model import open_engine

    sources = [read_source(STDIN if name == "-" else name) for name in arguments.files]
    configs = [_config(source.name) for source in sources]
    if arguments.threshold is not None:
        configs = [CheckConfig(kinds=c.kinds, threshold=arguments.threshold) for c in configs]
    engine = open_engine(arguments.model)
    findings = [
        finding
        for source, config in zip(sources, configs, strict=True)
        for finding in check(engine, source, config, arguments.language, arguments.seed)
    ]
    if arguments.as_json:
        print(json.dumps({"model": engine.info().model, "findings": [_as_json(f) for f in findings]}))
    elif arguments.sarif:
        print(json.dumps(sarif(findings), indent=2))
    else:
        for f in findings:
            print(f"{f.file}:{f.start.line}:{f.start.column}: {f.message} [{f.kind}]")
    return Exit.NO_SUGGESTION if findings else Exit.OK


def check(
    engine: Engine, source: Source, config: CheckConfig, language: str | None, seed: int
) -> list[Finding]:
    """Everything there is to say about one file, in order.

    Raises:
        CommandError: we have no grammar for it.
        EngineError: the engine cannot serve it.
    """
    from infill.code.document import Document
    from infill.code.languages import language_of
    from infill.fixes.diagnostic import title
    from infill.fixes.pieces import broken_pieces
    from infill.fixes.suspicious import find_doubts

    document = Document(source.text, language or language_of(source.name))
    if document.tree is None:
        raise CommandError(f"{source.name}: no grammar for {document.language}")
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


def _config(file: str) -> CheckConfig:
    """What the nearest `infill.toml` above a file says; what is wrong with it goes to standard error."""
    from infill.fixes.project import CheckConfig, read_check_config

    folder = Path.cwd() if file == STDIN else Path(file).resolve().parent
    for parent in (folder, *folder.parents):
        path = parent / "infill.toml"
        if path.is_file():
            try:
                config, problems = read_check_config(path.read_bytes())
            except OSError as error:
                config, problems = CheckConfig(), [f"{path}: {error.strerror or error}"]
            for problem in problems:
                print(f"infill: {problem}", file=sys.stderr)
            return config
    return CheckConfig()


def _number(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number")
    return value
