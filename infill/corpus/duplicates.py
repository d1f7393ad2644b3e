"""Finds documents that repeat earlier ones, and those that share text with a benchmark.

Both work on overlapping runs ("shingles") of lines or words, kept as 64-bit hashes.

It does not know where documents come from.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import re
from collections.abc import Iterable
from pathlib import Path

from infill.corpus.clean import Drop

SHINGLE_LINES = 5
NEAR_DUPLICATE = 0.6
"""A document with a larger share of its shingles seen before is dropped."""
GRAM_WORDS = 13
_FIELDS = ("prompt", "canonical_solution", "suffix", "test")
_WORD = re.compile(r"[A-Za-z0-9_]+")


class SeenDocuments:
    """The documents kept so far, as hashes of their texts and of their runs of five lines."""

    def __init__(self) -> None:
        self._texts: set[int] = set()
        self._shingles: set[int] = set()

    def add(self, text: str) -> Drop | None:
        """Remember `text`, unless it repeats what is known: then say so and forget it."""
        lines = [" ".join(line.split()) for line in text.split("\n")]
        lines = [line for line in lines if line]
        whole = _hash("\n".join(lines))
        if whole in self._texts:
            return Drop.DUPLICATE
        runs = max(len(lines) - SHINGLE_LINES + 1, 1)
        shingles = {_hash("\n".join(lines[i : i + SHINGLE_LINES])) for i in range(runs)}
        if len(shingles & self._shingles) > NEAR_DUPLICATE * len(shingles):
            return Drop.NEAR_DUPLICATE
        self._texts.add(whole)
        self._shingles |= shingles
        return None


class Benchmark:
    """The runs of thirteen words of benchmark tasks, against which documents are checked."""

    def __init__(self, texts: Iterable[str] = ()) -> None:
        self._grams: set[tuple[str, ...]] = set()
        for text in texts:
            self._grams.update(gram for gram in _grams(text) if _is_telling(gram))
        # A cheap first test: most positions of most documents fail it.
        self._openings = {gram[:3] for gram in self._grams}
        self.fingerprint = _hash("\n".join(sorted(" ".join(gram) for gram in self._grams)))

    def overlaps(self, text: str) -> bool:
        """Whether `text` shares a run of thirteen words with a task; case and punctuation do not count."""
        if not self._grams:
            return False
        words = _words(text)
        openings = zip(words, words[1:], words[2:], strict=False)
        return any(
            opening in self._openings and tuple(words[i : i + GRAM_WORDS]) in self._grams
            for i, opening in enumerate(openings)
        )

    @classmethod
    def read(cls, paths: Iterable[Path]) -> Benchmark:
        """Read gzipped JSON lines in the format of HumanEval-Infilling.

        Raises:
            OSError, ValueError: a file cannot be read or is in another format.
        """
        texts = []
        for path in paths:
            with gzip.open(path, "rt", encoding="utf-8") as file:
                for line in file:
                    task = json.loads(line)
                    if not isinstance(task, dict) or not all(isinstance(task.get(f), str) for f in _FIELDS):
                        raise ValueError(f"{path}: a task lacks one of {', '.join(_FIELDS)}")
                    texts.append(task["prompt"] + task["canonical_solution"] + task["suffix"])
                    texts.append(task["test"])
        return cls(texts)


def _words(text: str) -> list[str]:
    return _WORD.findall(text.lower())


def _grams(text: str) -> Iterable[tuple[str, ...]]:
    words = _words(text)
    return (tuple(words[i : i + GRAM_WORDS]) for i in range(len(words) - GRAM_WORDS + 1))


def _is_telling(gram: tuple[str, ...]) -> bool:
    """Whether a run of words is rare enough to mean copying: counting from 1 to 13 is not."""
    return len({word for word in gram if not word.isdigit() and len(word) > 1}) >= 5


def _hash(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")
