"""HumanEval-Infilling: fill each task's hole as a user would get it, then run the task's tests.

A task passes when `prompt + middle + suffix`, its test and `check(entry_point)` run to their end in
the sandbox. This executes code the model wrote: see `infill.evaluate.sandbox` for what holds it.

The holes of the line benchmarks are whole lines. An editor shows such a hole as an empty line, so a
line ending stands after the cursor there. The random spans begin and end anywhere, so they are asked for as
an empty span is, which may go on over the line's end where a cursor's middle may not. No more of the
answers reaches the engine: not their length, not how many lines they have.
"""

from __future__ import annotations

import gzip
import json
import zlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from engine.request import Decoding, Engine
from infill.errors import InfillError
from infill.evaluate.metrics import bootstrap_interval, mean, percentile
from infill.evaluate.sandbox import Execution, Verdict, execute
from infill.pipeline import fill_text
from infill.request import FillRequest, Rejected, Suggestion

TRIVIAL = frozenset(
    {"else:", "try:", "pass", "break", "continue"}
    | {"return", "return True", "return False", "return None", "return result"}
)
"""Answers that are right too often to say much, compared without outer whitespace."""

SPLITS = {
    "single-line": "HumanEval-SingleLineInfilling.jsonl.gz",
    "random-span-light": "HumanEval-RandomSpanLightInfilling.jsonl.gz",
}
"""The files of the benchmark's splits, by name, as they are published."""

_LINE_BENCHMARKS = ("SingleLineInfilling/", "MultiLineInfilling/")


class InvalidTasks(InfillError):
    """The task file cannot be read."""


@dataclass(frozen=True, kw_only=True)
class Task:
    """One hole of HumanEval-Infilling; `gold` is the middle that was cut out."""

    task_id: str
    entry_point: str
    prompt: str
    suffix: str
    gold: str
    test: str

    @property
    def problem(self) -> str:
        """The HumanEval problem the hole was cut from, such as "HumanEval/12"."""
        return "/".join(self.task_id.split("/")[1:3])

    @property
    def trivial(self) -> bool:
        """Whether the gold is one of `TRIVIAL`."""
        return self.gold.strip() in TRIVIAL

    def program(self, middle: str) -> str:
        """The task's program with this middle, tests and all."""
        return f"{self.prompt}{middle}{self.suffix}\n{self.test}\ncheck({self.entry_point})\n"


@dataclass(frozen=True, kw_only=True)
class Result:
    """What became of one task; `rejected` is the reason's name where there was no suggestion."""

    task: Task
    passed: bool
    verdict: str
    steps: int = 0
    elapsed_ms: float = 0.0
    rejected: str | None = None


@dataclass(frozen=True, kw_only=True)
class PassRate:
    """pass@1 over tasks, and its 95% interval, bootstrapped over problems."""

    tasks: int
    problems: int
    pass_at_1: float
    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class Report:
    """pass@1 of a benchmark, with and without trivial golds, and what it cost."""

    model: str
    all: PassRate
    without_trivial: PassRate
    steps_mean: float
    ms_p50: float
    ms_p95: float
    rejected: dict[str, int] = field(default_factory=dict)
    verdicts: dict[str, int] = field(default_factory=dict)

    def as_json(self) -> dict[str, object]:
        """The report as plain JSON values."""
        return asdict(self)


def read_tasks(path: Path, limit: int | None = None) -> list[Task]:
    """Read the first `limit` tasks of a .jsonl or .jsonl.gz file.

    Raises:
        InvalidTasks: it cannot be read, or is not such a file.
    """
    opener = gzip.open if path.suffix == ".gz" else open
    tasks: list[Task] = []
    try:
        with opener(path, "rt", encoding="utf-8") as lines:
            for line in lines:
                if limit is not None and len(tasks) >= limit:
                    break
                tasks.append(_task(json.loads(line)))
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise InvalidTasks(f"{path} cannot be read: {error}") from None
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        raise InvalidTasks(f"{path}, line {len(tasks) + 1} is not an infilling task: {error!r}") from None
    if not tasks:
        raise InvalidTasks(f"{path} has no tasks")
    return tasks


def _task(row: dict[str, str]) -> Task:
    return Task(
        task_id=row["task_id"],
        entry_point=row["entry_point"],
        prompt=row["prompt"],
        suffix=row["suffix"],
        gold=row["canonical_solution"],
        test=row["test"],
    )


def failing_golds(tasks: Sequence[Task]) -> Iterator[tuple[Task, Execution]]:
    """The tasks whose own answer does not pass: there should be none, or the harness is wrong."""
    for task in tasks:
        execution = execute(task.program(task.gold))
        if execution.verdict is not Verdict.PASSED:
            yield task, execution


def evaluate_tasks(
    engine: Engine,
    tasks: Sequence[Task],
    *,
    seed: int = 0,
    decoding: Decoding | None = None,
    on_result: Callable[[Result], None] | None = None,
) -> Report:
    """Fill and run every task, one suggestion each; `decoding` as in `FillRequest`.

    Raises:
        EngineError: the engine cannot serve a request.
    """
    results: list[Result] = []
    for task in tasks:
        results.append(_evaluate(engine, task, seed, decoding))
        if on_result is not None:
            on_result(results[-1])
    return summarise(engine.info().model, results, seed)


def _evaluate(engine: Engine, task: Task, seed: int, decoding: Decoding | None) -> Result:
    outcome = fill_text(engine, request_of(task, seed, decoding))
    if isinstance(outcome, Rejected):
        return Result(
            task=task,
            passed=False,
            verdict="rejected",
            steps=outcome.steps,
            elapsed_ms=outcome.elapsed_ms,
            rejected=outcome.reason.name.lower(),
        )
    execution = execute(task.program(middle_of(task, outcome)))
    return Result(
        task=task,
        passed=execution.verdict is Verdict.PASSED,
        verdict=execution.verdict.value,
        steps=outcome.steps,
        elapsed_ms=outcome.elapsed_ms,
    )


def request_of(task: Task, seed: int, decoding: Decoding | None = None) -> FillRequest:
    """The hole as an editor would present it; nothing of the gold is in it."""
    whole_lines = task.task_id.startswith(_LINE_BENCHMARKS)
    return FillRequest(
        text=task.prompt + ("\n" if whole_lines else "") + task.suffix,
        language="python",
        offset=len(task.prompt),
        end=None if whole_lines else len(task.prompt),
        path="solution.py",
        seed=seed,
        inside_word=True,
        decoding=decoding,
    )


def middle_of(task: Task, suggestion: Suggestion) -> str:
    """What stands between prompt and suffix after the fill, an added line ending included.

    Where the fill replaced a part of its surroundings, they are put back: a task fixes them.
    """
    text = request_of(task, seed=0).text
    hole_end = len(text) - len(task.suffix)
    healed = max(0, len(task.prompt) - suggestion.start)
    return suggestion.text[healed:] + text[max(suggestion.end, len(task.prompt)) : hole_end]


def summarise(model: str, results: Sequence[Result], seed: int) -> Report:
    """Count results into a report; `seed` is for the bootstrap."""
    times = [result.elapsed_ms for result in results]
    return Report(
        model=model,
        all=_pass_rate(results, seed),
        without_trivial=_pass_rate([r for r in results if not r.task.trivial], seed),
        steps_mean=round(mean([result.steps for result in results]), 2),
        ms_p50=round(percentile(times, 0.5), 1),
        ms_p95=round(percentile(times, 0.95), 1),
        rejected=dict(Counter(r.rejected for r in results if r.rejected is not None)),
        verdicts=dict(Counter(r.verdict for r in results)),
    )


def _pass_rate(results: Sequence[Result], seed: int) -> PassRate:
    problems: dict[str, list[bool]] = defaultdict(list)
    for result in results:
        problems[result.task.problem].append(result.passed)
    low, high = bootstrap_interval(problems, seed)
    return PassRate(
        tasks=len(results),
        problems=len(problems),
        pass_at_1=round(mean([result.passed for result in results]), 4),
        low=round(low, 4),
        high=round(high, 4),
    )
