"""`infill fill`: fills one hole of a file, shows it denoising, and prints or writes the result.

Standard output is the result; the live view and every message go to standard error.
"""

from __future__ import annotations

import json
import queue
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from rich.console import Console
from rich.text import Text

from engine.request import Engine
from infill.code.languages import language_of
from infill.pipeline import Progress, fill_text
from infill.request import FillRequest, Rejected, Suggestion
from lsp.commands.errors import CommandError, Exit
from lsp.commands.model import open_engine
from lsp.commands.source import (
    STDIN,
    Position,
    Source,
    check_writable,
    offset_of,
    parse_place,
    parse_position,
    position_of,
    read_source,
    replace_file,
)
from lsp.terminal import CanvasView, Frame, draw_code, harmless, shade, surroundings


@dataclass(frozen=True, kw_only=True)
class FillOptions:
    """What `infill fill` was asked for; `target` is FILE:LINE:COL and `to` is LINE:COL.

    Each step stays on the screen for `frame_ms`, which does not slow the denoiser.
    """

    target: str
    to: str | None = None
    language: str | None = None
    model: str | None = None
    canvas_tokens: int | None = None
    candidates: int | None = None
    seed: int = 0
    min_confidence: float = 0.0
    max_steps: int | None = None
    deadline_ms: float | None = None
    frame_ms: float = 80.0
    as_json: bool = False
    write: bool = False


def run(options: FillOptions) -> Exit:
    """Fill the hole.

    Raises:
        CommandError: the input is bad or the result cannot be written.
        EngineError: the model cannot be loaded or cannot serve the request.
    """
    source, request = prepare(options)
    engine = open_engine(options.model)
    outcome = _fill(engine, request, options.frame_ms)
    if isinstance(outcome, Suggestion) and options.write:
        replace_file(source, source.encode(_splice(source, outcome)))
    _report(source, request, outcome, options)
    return Exit.OK if isinstance(outcome, Suggestion) else Exit.NO_SUGGESTION


def prepare(options: FillOptions) -> tuple[Source, FillRequest]:
    """Check everything that can be checked before a model is loaded.

    Raises:
        CommandError: the input is bad.
    """
    path, position = parse_place(options.target)
    until = parse_position(options.to) if options.to is not None else None
    source = read_source(path)
    if options.write:
        check_writable(path)
    offset = offset_of(source, position)
    end = offset_of(source, until) if until is not None else None
    if end is not None and end < offset:
        raise CommandError(f"--to {options.to} lies before {position.line}:{position.column}")
    return source, FillRequest(
        text=source.text,
        language=options.language or language_of(path),
        offset=offset,
        end=end,
        path="" if path == STDIN else path,
        canvas_tokens=options.canvas_tokens,
        candidates=options.candidates,
        seed=options.seed,
        min_confidence=options.min_confidence,
        max_steps=options.max_steps,
        deadline_ms=options.deadline_ms,
    )


def _fill(engine: Engine, request: FillRequest, frame_ms: float) -> Suggestion | Rejected:
    # Not `Console.is_terminal`, which FORCE_COLOR turns on for a file as well.
    if not sys.stderr.isatty():
        return fill_in_thread(engine, request, lambda progress: None)
    with CanvasView(Console(stderr=True), frame_ms) as view:

        def show(progress: Progress) -> None:
            view.show(surroundings(request.text, progress.start, progress.hole.end), frame_of(progress))

        return fill_in_thread(engine, request, show)


def frame_of(progress: Progress) -> Frame:
    """What the terminal shows of a step: its best canvas."""
    canvas = progress.step.canvases[0]
    return Frame(
        number=progress.step.number,
        tokens=canvas.tokens,
        confidence=canvas.confidence,
        elapsed_ms=progress.step.elapsed_ms,
    )


def fill_in_thread(
    engine: Engine, request: FillRequest, show: Callable[[Progress], None]
) -> Suggestion | Rejected:
    """Fill in a thread of its own and show each step in this one.

    So showing does not slow denoising, and an interrupt stops the denoiser at its next step.
    """
    cancelled = threading.Event()
    steps: queue.SimpleQueue[Progress | None] = queue.SimpleQueue()
    with ThreadPoolExecutor(1, thread_name_prefix="denoise") as executor:
        future = executor.submit(fill_text, engine, request, cancelled=cancelled, on_step=steps.put)
        future.add_done_callback(lambda _: steps.put(None))
        try:
            while (progress := _next(steps)) is not None:
                show(progress)
        except BaseException:
            cancelled.set()
            raise
        return future.result()


def _next(steps: queue.SimpleQueue[Progress | None]) -> Progress | None:
    while True:
        try:
            # With a timeout, since Windows does not deliver an interrupt to an unbounded wait.
            return steps.get(timeout=0.2)
        except queue.Empty:
            continue


def _splice(source: Source, suggestion: Suggestion) -> str:
    return source.text[: suggestion.start] + suggestion.text + source.text[suggestion.end :]


def _report(
    source: Source, request: FillRequest, outcome: Suggestion | Rejected, options: FillOptions
) -> None:
    errors = Console(stderr=True, highlight=False, soft_wrap=True)
    if isinstance(outcome, Rejected):
        errors.print(Text(f"no suggestion: {harmless(outcome.message)}"))
    if options.as_json:
        _write_out((json.dumps(describe(source, request, outcome)) + "\n").encode("ascii"))
    elif isinstance(outcome, Suggestion) and not options.write:
        _print_suggestion(source, outcome)
    if isinstance(outcome, Suggestion) and sys.stderr.isatty():
        written = f" · written to {source.name}" if options.write else ""
        errors.print(
            f"{outcome.steps} steps · canvas of {outcome.canvas_tokens} · {outcome.elapsed_ms:.0f} ms · "
            f"{outcome.confidence:.0%} sure · {outcome.model}{written}",
            style="cyan",
            markup=False,
        )


def _print_suggestion(source: Source, suggestion: Suggestion) -> None:
    if not sys.stdout.isatty():
        _write_out(source.encode(_splice(source, suggestion)))
        return
    around = surroundings(source.text, suggestion.start, suggestion.end)
    Console().print(draw_code(around, Text(harmless(suggestion.text), shade(1.0))))


def _write_out(data: bytes) -> None:
    # Bytes, so that no platform translates line endings or encodes in anything but UTF-8.
    sys.stdout.flush()
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()


def describe(source: Source, request: FillRequest, outcome: Suggestion | Rejected) -> dict[str, object]:
    """What `--json` prints; `range` is what `text` replaces, lines and columns from 1, its end exclusive."""
    if isinstance(outcome, Suggestion):
        start, end, text = outcome.start, outcome.end, outcome.text
        confidence, rejected = outcome.confidence, None
    else:
        start = request.offset
        end = start if request.end is None else request.end
        text, confidence = "", 0.0
        rejected = {"reason": outcome.reason.name.lower(), "message": outcome.message}
    return {
        "text": text,
        "range": {"start": _place(source, start), "end": _place(source, end)},
        "confidence": round(confidence, 4),
        "steps": outcome.steps,
        "canvas_tokens": outcome.canvas_tokens,
        "ms": round(outcome.elapsed_ms, 1),
        "model": outcome.model,
        "rejected": rejected,
    }


def _place(source: Source, offset: int) -> dict[str, int]:
    position: Position = position_of(source.text, offset)
    return {"line": position.line, "column": position.column}
