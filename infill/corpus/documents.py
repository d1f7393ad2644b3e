"""The documents of a package: cleaned once, kept on disk, read again as often as needed.

It does not compare packages with each other.
"""

from __future__ import annotations

import gzip
import hashlib
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from infill.corpus.clean import Drop, clean, is_test
from infill.corpus.duplicates import Benchmark
from infill.corpus.fetch import sources
from infill.corpus.manifest import Package

RULES = 2
"""Raise it when a rule of cleaning changes: what was kept on disk is then made anew."""
TESTS_SHARE = 0.25
"""The largest share of a package's documents that may be tests."""


@dataclass(frozen=True, kw_only=True)
class Cleaned:
    """One package's documents on disk, and how many files were dropped for which reason."""

    package: Package
    path: Path
    dropped: Counter[Drop]

    def texts(self) -> Iterator[str]:
        """The documents' texts, always in the same order."""
        with gzip.open(self.path, "rt", encoding="utf-8") as file:
            next(file)
            for line in file:
                yield json.loads(line)


def clean_package(package: Package, wheel: Path, directory: Path, benchmark: Benchmark) -> Cleaned:
    """Clean the files of `wheel` into a file in `directory`, or reuse what an earlier build left there."""
    key = f"{RULES} {package.sha256} {benchmark.fingerprint}"
    path = directory / f"{package.name}-{hashlib.sha256(key.encode()).hexdigest()[:12]}.jsonl.gz"
    if not path.exists():
        directory.mkdir(parents=True, exist_ok=True)
        texts, dropped = _clean_files(package, wheel, benchmark)
        partial = path.with_suffix(".partial")
        with gzip.open(partial, "wt", encoding="utf-8", compresslevel=4) as file:
            file.write(json.dumps({reason.name: count for reason, count in dropped.items()}) + "\n")
            file.writelines(json.dumps(text) + "\n" for text in texts)
        partial.replace(path)
    with gzip.open(path, "rt", encoding="utf-8") as file:
        counts = json.loads(next(file))
    return Cleaned(package=package, path=path, dropped=Counter({Drop[n]: c for n, c in counts.items()}))


def _clean_files(package: Package, wheel: Path, benchmark: Benchmark) -> tuple[list[str], Counter[Drop]]:
    kept: list[str] = []
    tests: list[str] = []
    dropped: Counter[Drop] = Counter()
    for path, content in sources(wheel, package.language):
        result = clean(path, content)
        if isinstance(result, str) and benchmark.overlaps(result):
            result = Drop.OVERLAP
        if isinstance(result, Drop):
            dropped[result] += 1
        else:
            (tests if is_test(path) else kept).append(result)
    room = max(int(len(kept) * TESTS_SHARE / (1 - TESTS_SHARE)), 1)
    tests.sort(key=seed_of)
    dropped[Drop.TESTS] += len(tests[room:])
    return kept + tests[:room], dropped


def seed_of(text: str) -> int:
    """A number that depends on the text alone, the same on every machine."""
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")
