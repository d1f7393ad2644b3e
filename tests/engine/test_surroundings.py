"""What the text around a hole says: its own file's n-grams, and those of other files within their budget."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from engine.causal.ngram_cache import BASE_WEIGHT, WIDER_WEIGHT
from engine.causal.surroundings import Surroundings
from engine.request import Prompt

OWN = list(range(1000, 1010))
BEGINS_LINE = np.arange(1010) == ord("\n")


class Encoder:
    """A token for each character, and a count of the texts."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def __call__(self, text: str) -> Sequence[int]:
        self.texts.append(text)
        return [ord(character) for character in text]


def around(encoder: Encoder, *, far_tokens: int = 100, nearby_tokens: int = 10) -> Surroundings:
    return Surroundings(encoder, BEGINS_LINE, far_tokens=far_tokens, nearby_tokens=nearby_tokens)


def after(surroundings: Surroundings, prompt: Prompt, context: str) -> set[str]:
    """The characters that followed the end of `context`."""
    found = surroundings.ngrams(prompt, OWN).continuations([ord(character) for character in context])
    return {chr(token) for _, counts in found for token in counts}


def test_other_files_count_within_the_budget() -> None:
    prompt = Prompt(prefix="", nearby=("wxyz1", "abcd2", "efgh3"))
    surroundings = around(Encoder(), nearby_tokens=10)
    assert after(surroundings, prompt, "wxyz") == {"1"}
    assert after(surroundings, prompt, "abcd") == {"2"}
    assert after(surroundings, prompt, "efgh") == set()
    assert after(around(Encoder(), nearby_tokens=9), prompt, "abcd") == set()
    assert after(around(Encoder(), nearby_tokens=0), prompt, "wxyz") == set()


def test_the_own_file_counts_within_its_budget_near_the_hole() -> None:
    encoder = Encoder()
    prompt = Prompt(prefix="", before="abcd1" * 200 + "efgh2", after="ijkl3" + "mnop4" * 200)
    some = around(encoder, far_tokens=8)
    assert after(some, prompt, "efgh") == {"2"}
    assert after(some, prompt, "ijkl") == {"3"}
    assert after(some, prompt, "abcd") == after(some, prompt, "mnop") == set()
    assert max(map(len, encoder.texts)) < 200  # nor is more than a little of the rest made tokens of
    assert after(around(encoder, far_tokens=0), prompt, "efgh") == set()


def test_the_own_text_has_the_last_word() -> None:
    prompt = Prompt(prefix="", before="abcd1", after="abcd2", nearby=("abcd3",))
    found = around(Encoder(), nearby_tokens=10).ngrams(prompt, OWN).continuations([*map(ord, "abcd")])
    said = [(weight, sorted(map(chr, counts))) for weight, counts in found]
    # Of contexts of three and of four, whatever followed in two ways counts a fourth.
    assert said == [(WIDER_WEIGHT, ["3"])] * 2 + [(4 * BASE_WEIGHT, ["1", "2"])] * 2


def test_other_files_do_not_say_where_a_line_ends() -> None:
    prompt = Prompt(prefix="", before="abcd\n", nearby=("efgh\n\nefgh1", "wxyz\n"))
    surroundings = around(Encoder(), nearby_tokens=100)
    assert after(surroundings, prompt, "efgh") == {"1"}
    assert after(surroundings, prompt, "wxyz") == set()
    assert after(surroundings, prompt, "h\n\ne") == {"f"}  # though it goes on behind it
    assert after(surroundings, prompt, "abcd") == {"\n"}


def test_a_text_is_made_tokens_of_once() -> None:
    encoder = Encoder()
    surroundings = around(encoder, nearby_tokens=100)
    for version in ("x", "x2", "x3"):
        surroundings.ngrams(Prompt(prefix="", before="before", nearby=("one", version, "two")), OWN)
    assert sorted(encoder.texts) == sorted(["before", "", "one", "two", "x", "x2", "x3"])


@pytest.mark.parametrize("nearby", [(), ("",), ("a", "")])
def test_there_may_be_nothing(nearby: tuple[str, ...]) -> None:
    cache = around(Encoder(), nearby_tokens=10).ngrams(Prompt(prefix="", nearby=nearby), OWN)
    assert cache.continuations(OWN[:4]) == [(BASE_WEIGHT, {OWN[4]: 1})] * 2
