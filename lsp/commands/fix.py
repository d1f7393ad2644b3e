"""`infill fix`: mends syntax errors, or what a diagnostic points at, and prints a diff or writes the file.

Standard output is the result; every message goes to standard error.
"""

from __future__ import annotations

import argparse
import difflib
import json
import re
import sys
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lsp.checker import Checker, CheckerError
from lsp.commands.errors import EXIT_CODES_HELP, CommandError, Exit
from lsp.commands.source import (
    STDIN,
    Position,
    Source,
    check_writable,
    offset_of,
    position_of,
    read_source,
    replace_file,
)
from lsp.lines import Encoding, Lines

if TYPE_CHECKING:
    from engine.request import Engine
    from infill.code.document import Document
    from infill.fixes.edit import Ranked
    from lsp.cli import Subparsers

_RANGE = re.compile(
    r"(?P<path>.+?):(?P<l1>[0-9]{1,9})(?::(?P<c1>[0-9]{1,9}))?(?:-(?P<l2>[0-9]{1,9})(?::(?P<c2>[0-9]{1,9}))?)?",
    re.DOTALL,
)


def add_parser(commands: Subparsers) -> None:
    """Add `infill fix`."""
    parser = commands.add_parser(
        "fix",
        help="mend syntax errors, or what a diagnostic points at",
        description=(
            "Mend syntax errors, or what a diagnostic points at. Standard output is a unified diff.\n\n"
            "RANGE is LINE, LINE-LINE or LINE:COL-LINE:COL, counted from 1, its end exclusive where it\n"
            "has a column. With --message the range is what some tool complained about, in those words.\n\n"
            "  infill fix app.py --checker 'ruff check --output-format json --stdin-filename {file} -'\n"
            "  infill fix app.py --checker 'mypy --output json --shadow-file {file} {copy} {file}'"
        ),
        epilog=EXIT_CODES_HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("target", metavar="FILE[:RANGE]", help="what to fix; - for stdin")
    parser.add_argument("--message", metavar="TEXT", help="what a tool said about the range")
    parser.add_argument(
        "--checker",
        metavar="COMMAND",
        help="fix what this checker says, and keep only what it then agrees with; the text is its standard "
        "input unless {copy} stands for a copy's path; {file} is the file's own",
    )
    parser.add_argument("--write", action="store_true", help="write the fixed text to the file")
    parser.add_argument("--json", action="store_true", dest="as_json", help="print one JSON object")
    parser.add_argument("--language", metavar="ID", help="LSP language id; by the file's name by default")
    parser.add_argument("--model", metavar="DIR|HUB_ID", help="a checkpoint; the embedded model by default")
    parser.add_argument("--seed", type=int, default=0, help="0 by default")
    parser.add_argument("--debug", action="store_true", help="show where an internal error happened")
    parser.set_defaults(run=run)


@dataclass(frozen=True, kw_only=True)
class _Found:
    """A place to be fixed, and how, best first; an empty `fixes` says that nothing was found for it."""

    offset: int
    fixes: tuple[Ranked, ...]


def run(arguments: argparse.Namespace) -> int:
    """Fix the file; returns the exit code.

    Raises:
        CommandError: the input is bad or the result cannot be written.
        EngineError: the model cannot be loaded or cannot serve the request.
    """
    from infill.code.document import Document
    from infill.code.languages import language_of
    from lsp.commands.model import open_engine

    path, span = _parse_target(arguments.target)
    source = read_source(path)
    if arguments.write:
        check_writable(path)
    start, end = _offsets(source, span)
    document = Document(source.text, arguments.language or language_of(path))
    checker = _checker(arguments.checker)
    if arguments.message is None and checker is None and document.tree is None:
        raise CommandError(f"{path}: no grammar for {document.language}; --message works without one")
    if arguments.message is not None and span is None and checker is None:
        raise CommandError("--message needs a RANGE: what it is about")
    engine = open_engine(arguments.model)
    message, seed = arguments.message, arguments.seed
    if checker is None:
        found = _find(engine, document, start, end, message, seed)
    else:
        from lsp.commands.fix_checked import checked_fixes

        wanted = 3 if arguments.as_json else 1
        places = checked_fixes(
            engine, document, start, end, message, file=path, checker=checker, wanted=wanted, seed=seed
        )
        found = [_Found(offset=offset, fixes=fixes) for offset, fixes in places]
    fixed = _apply(source.text, found)
    if arguments.write and fixed != source.text:
        replace_file(source, source.encode(fixed))
    _report(source, document, found, fixed, arguments, engine.info().model)
    return Exit.OK if fixed != source.text else Exit.NO_SUGGESTION


def _checker(command: str | None) -> Checker | None:
    if command is None:
        return None
    try:
        return Checker.parse(command)
    except CheckerError as error:
        raise CommandError(str(error)) from error


def _find(
    engine: Engine, document: Document, start: int, end: int, message: str | None, seed: int
) -> list[_Found]:
    from infill.fixes.diagnostic import fix_diagnostic
    from infill.fixes.syntax import fix_syntax

    cancelled = threading.Event()
    if message is not None:
        ranked = fix_diagnostic(engine, document, start, end, message, cancelled=cancelled, seed=seed)
        return [_Found(offset=start, fixes=tuple(ranked))]
    broken = fix_syntax(engine, document, start, end, cancelled=cancelled, seed=seed)
    return [_Found(offset=one.offset, fixes=one.fixes) for one in broken]


def _apply(text: str, found: list[_Found]) -> str:
    for one in sorted(found, key=lambda f: f.offset, reverse=True):
        if one.fixes:
            text = one.fixes[0].edit.applied(text)
    return text


def _report(
    source: Source,
    document: Document,
    found: list[_Found],
    fixed: str,
    arguments: argparse.Namespace,
    model: str,
) -> None:
    for one in found:
        if not one.fixes:
            place = position_of(source.text, one.offset)
            print(f"{source.name}:{place.line}:{place.column}: no fix was found", file=sys.stderr)
    if not found:
        print(f"{source.name}: there is nothing to fix", file=sys.stderr)
    if arguments.as_json:
        print(json.dumps(_describe(source, document, found, model)))
    elif not arguments.write:
        _write_out(diff(source, fixed))


def diff(source: Source, fixed: str) -> str:
    """A unified diff from the file as it is to `fixed`, with the file's own line endings."""
    name = source.name.lstrip("/") if source.name != STDIN else "stdin"
    out = []
    for line in difflib.unified_diff(_lines(source.text), _lines(fixed), f"a/{name}", f"b/{name}"):
        out.append(line if line.endswith("\n") else line + "\n\\ No newline at end of file\n")
    return "".join(out)


def _lines(text: str) -> list[str]:
    # Not str.splitlines, which knows more line ends than a diff does.
    return [line for line in re.split(r"(?<=\n)", text) if line]


def _write_out(text: str) -> None:
    sys.stdout.flush()
    sys.stdout.buffer.write(text.encode("utf-8", "replace"))
    sys.stdout.buffer.flush()


def _describe(source: Source, document: Document, found: list[_Found], model: str) -> dict[str, object]:
    return {
        "file": source.name,
        "model": model,
        "places": [
            {
                "at": _place(source, one.offset),
                "fixes": [describe_fix(source, document, ranked) for ranked in one.fixes],
            }
            for one in found
        ],
    }


def describe_fix(source: Source, document: Document, ranked: Ranked) -> dict[str, Any]:
    """One fix as JSON: `range` is what `text` replaces, lines and columns from 1, its end exclusive."""
    from infill.fixes.diagnostic import title

    edit = ranked.edit
    return {
        "title": title(document, edit),
        "range": {"start": _place(source, edit.start), "end": _place(source, edit.end)},
        "text": edit.text,
        "how": edit.how,
        "gain": round(ranked.gain, 2),
    }


def _place(source: Source, offset: int) -> dict[str, int]:
    position = position_of(source.text, offset)
    return {"line": position.line, "column": position.column}


_Span = tuple[Position, Position | int]


def _parse_target(target: str) -> tuple[str, _Span | None]:
    """FILE[:RANGE] as a path and a range; the end is a position, or the number of the last line."""
    name = STDIN if target == "-" else target
    match = _RANGE.fullmatch(name)
    if match is None:
        return name, None
    first = Position(line=int(match["l1"]), column=int(match["c1"] or 1))
    if match["c2"]:
        return match["path"], (first, Position(line=int(match["l2"]), column=int(match["c2"])))
    if match["c1"] and not match["l2"]:
        return match["path"], (first, first)
    return match["path"], (first, int(match["l2"] or match["l1"]))


def _offsets(source: Source, span: _Span | None) -> tuple[int, int]:
    if span is None:
        return 0, len(source.text)
    start = offset_of(source, span[0])
    if isinstance(span[1], Position):
        end = offset_of(source, span[1])
    else:
        offset_of(source, Position(line=span[1], column=1))  # says so where there is no such line
        end = Lines(source.text).offset(span[1] - 1, len(source.text), Encoding.UTF32)
    if end < start:
        raise CommandError(f"the range of {source.name} ends before it begins")
    return start, end
