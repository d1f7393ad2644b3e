"""The n-gram cache against counting by hand, and its drafts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
import pytest

from engine.causal import ngram_cache
from engine.causal.ngram_cache import BASE_WEIGHT, LONGEST, SHORTEST, WIDER_WEIGHT, NgramCache
from engine.native import library, why_not
from tests.engine.mixing import interpolate

VOCAB = 12


@pytest.fixture(autouse=True, params=["C", "numpy"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "numpy":
        monkeypatch.setattr(ngram_cache, "can_match", lambda: False)
    elif library() is None:
        pytest.skip(f"not built: {why_not()}")


def by_hand(
    texts: Sequence[Sequence[int]],
    base: np.ndarray[tuple[int], np.dtype[np.float32]],
    context: list[int],
    base_weight: float = BASE_WEIGHT,
) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """The interpolation, shortest context first, from a scan of every text."""
    out = base.astype(np.float64)
    for length in range(SHORTEST, LONGEST + 1):
        if len(context) < length:
            break
        found = Counter(
            text[at]
            for text in texts
            for at in range(length, len(text))
            if list(text[at - length : at]) == context[-length:]
        )
        if not found:
            break
        weight = base_weight * len(found) ** 2
        mixed = [(found[t] + weight * p) / (found.total() + weight) for t, p in enumerate(out)]
        out = np.array(mixed)
    return out


@pytest.mark.parametrize("seed", range(20))
def test_mixing_is_interpolation_from_the_shortest_context_to_the_longest(seed: int) -> None:
    rng = np.random.default_rng(seed)
    texts = [rng.integers(0, 3, int(n)).tolist() for n in rng.integers(0, 60, 4)]
    cache = NgramCache(texts)
    for _ in range(20):
        context = rng.integers(0, 3, int(rng.integers(0, 9))).tolist()
        base = rng.dirichlet(np.ones(VOCAB)).astype(np.float32)
        mixed = base.copy()
        interpolate(mixed, cache.continuations(context))
        np.testing.assert_allclose(mixed, by_hand(texts, base, context), rtol=1e-4, atol=1e-6)
        assert mixed.sum() == pytest.approx(1, abs=1e-5)


def test_what_the_text_has_not_seen_is_left_to_the_model() -> None:
    cache = NgramCache([[1, 2, 3, 4, 5]])
    for context in ([], [5], [9, 9, 9, 9], [2, 3]):  # the last one is too short to count
        base = np.full(VOCAB, 1 / VOCAB, dtype=np.float32)
        interpolate(base, cache.continuations(context))
        assert (base == np.float32(1 / VOCAB)).all()


def test_no_ngram_spans_two_texts() -> None:
    cache = NgramCache([[1, 2], [3, 4, 5, 6, 7]])
    assert not cache.continuations([1, 2])
    assert not cache.continuations([1, 2, 3, 4])
    assert cache.continuations([1, 3, 4, 5]) == [(BASE_WEIGHT, {6: 1})]
    assert cache.draft([1, 2], [], 8) == []


@pytest.mark.parametrize(
    ("context", "limit", "expected"),
    [
        ([1, 2, 3], 8, [4, 1, 2, 3, 5]),  # three tokens match in both places, and four in the first
        ([9, 2, 3], 8, [5]),  # the later of two places that match equally well
        ([0, 1, 2, 3], 2, [4, 1]),
        ([3, 5], 8, []),  # the text ends there
        ([2], 8, [3]),  # one token is good for a guess at one
        ([4, 1], 8, [2, 3]),  # two for one at two
        ([7, 7], 8, []),
    ],
)
def test_a_draft_is_what_followed_the_longest_match(
    context: list[int], limit: int, expected: list[int]
) -> None:
    longer = [0, *context] if context == [1, 2, 3] else context
    assert NgramCache([[0, 1, 2, 3, 4, 1, 2, 3, 5]]).draft(longer, [], limit) == expected


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ([], [7]),  # one token matches in both texts: their own goes before the wider one
        ([2], [3, 8]),  # two in the wider text, which none of their own do
        ([2, 3], [8, 8, 8, 5]),
        ([6, 6, 4, 6], [4]),  # nowhere but in what is written, and there the last time
        ([5, 1, 2, 5], [1]),  # as long a match in the wider text as in what is written, which goes before
    ],
)
def test_a_draft_may_come_from_wider_texts_and_from_what_is_written(
    written: list[int], expected: list[int]
) -> None:
    cache = NgramCache([[1, 7, 7]], NgramCache([[0, 1, 2, 3, 8, 8, 8, 5, 9]]))
    assert cache.draft([1], written, 8) == expected


def test_an_empty_memory_says_nothing() -> None:
    nothing: list[list[list[int]]] = [[], [[]], [[1]]]
    for texts in nothing:
        base = np.full(VOCAB, 1 / VOCAB, dtype=np.float32)
        interpolate(base, NgramCache(texts).continuations([1, 1, 1, 1]))
        assert (base == np.float32(1 / VOCAB)).all()
        assert NgramCache(texts).draft([1, 1], [], 4) == []


@pytest.mark.parametrize("seed", range(5))
def test_wider_texts_are_mixed_in_before_the_own_ones(seed: int) -> None:
    rng = np.random.default_rng(seed)
    wider, own = [rng.integers(0, 4, 400).tolist() for _ in range(2)]
    base = np.full(VOCAB, 1 / VOCAB, dtype=np.float32)
    cache = NgramCache([own], NgramCache([wider], base_weight=WIDER_WEIGHT))
    for _ in range(20):
        context = rng.integers(0, 4, LONGEST).tolist()
        mixed = base.copy()
        interpolate(mixed, cache.continuations(context))
        said_wider = by_hand([wider], base, context, WIDER_WEIGHT).astype(np.float32)
        expected = by_hand([own], said_wider, context)
        np.testing.assert_allclose(mixed, expected, rtol=1e-4)
    assert cache.draft(own[:5], [], 3) == NgramCache([own]).draft(own[:5], [], 3)


def test_what_is_silent_is_never_told() -> None:
    silent = np.zeros(VOCAB, dtype=np.bool_)
    silent[5] = True
    text = [1, 2, 3, 4, 5, 1, 2, 3, 4, 6]
    cache = NgramCache([text], silent=silent)
    assert cache.continuations([1, 2, 3, 4]) == [(BASE_WEIGHT, {6: 1})] * 2
    silent[6] = True
    assert not NgramCache([text], silent=silent).continuations([1, 2, 3, 4])


@pytest.mark.parametrize("seed", range(4))
def test_long_texts_are_read_to_the_end(seed: int) -> None:
    """In C several tokens are looked at together, and what is left over one by one."""
    rng = np.random.default_rng(seed)
    texts = [rng.integers(0, 5, int(n)).tolist() for n in rng.integers(1000, 3000, 3)]
    cache = NgramCache(texts)
    for text in texts:
        context = text[-LONGEST - 1 : -1]
        base = np.full(VOCAB, 1 / VOCAB, dtype=np.float32)
        interpolate(mixed := base.copy(), cache.continuations(context))
        np.testing.assert_allclose(mixed, by_hand(texts, base, context), rtol=1e-4, atol=1e-6)
