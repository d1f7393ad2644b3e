"""The likeliest next tokens, in C and in torch, against probabilities counted out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from engine.causal import next_token
from engine.causal.next_token import ENDS, Around, Open, log_probabilities
from engine.causal.ngram_cache import NgramCache
from engine.native import library, why_not

VOCAB = 64
BEFORE = [2, 10, 11, 12, 13]
_OWN = [*BEFORE[1:], 20, 9, *BEFORE[1:], 33, *BEFORE, 20, 8, 11, 12, 13, 7, ENDS[1], *BEFORE[1:], ENDS[1]]
_OTHER = [12, 13, 7, 50, 51, 60, 12, 13, 7, 50, 51, 61, 12, 13, 7, 50, 51, 62, 10, 11, 12, 13, 44]
_SILENT = np.isin(np.arange(VOCAB), [61])
NGRAMS = NgramCache([_OWN, _OWN[4:]], NgramCache([_OTHER], silent=_SILENT))
"""They say something of what follows `BEFORE`, and of what follows [.., 7, 50, 51]."""


@pytest.fixture(autouse=True, params=["C", "torch"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "torch":
        monkeypatch.setattr(next_token, "can_choose", lambda _rows: False)
    elif library() is None:
        pytest.skip(f"not built: {why_not()}")


def random(rows: int) -> torch.Tensor:
    return torch.randn(rows, VOCAB, generator=torch.Generator().manual_seed(rows)) * 3


def by_hand(logits: torch.Tensor, row: Open) -> dict[int, float]:
    """Each token's log-probability, by the definition."""
    p = logits[row.at].double().softmax(-1).tolist()
    said = NGRAMS.said([*BEFORE, *row.written])
    if said is not None:
        share, added = said
        going_on = 1 - sum(p[end] for end in ENDS)
        p = [
            own if token in ENDS else own * share + added.get(token, 0.0) * going_on
            for token, own in enumerate(p)
        ]
    if row.allowed is not None:
        whole = sum(p[token] for token in row.allowed)
        return {token: row.total + math.log(p[token] / whole) for token in row.allowed}
    return {token: row.total + math.log(own) for token, own in enumerate(p)}


ROWS = [
    Open(at=2, written=[60]),
    Open(at=0, total=-1.5),
    Open(at=1, total=-0.5, written=[9], allowed=[5, 40, 41, 7]),
    Open(at=3, total=-2.0, allowed=[33, 34, 20]),
    Open(at=3, total=-0.1, written=[3, 12, 13, 7, 50, 51]),
]
AROUND = Around(BEFORE, NGRAMS)


def test_the_texts_have_something_to_say_of_some_rows() -> None:
    said = [NGRAMS.said([*BEFORE, *row.written]) for row in ROWS]
    assert [mixture is not None for mixture in said] == [False, True, False, True, True]
    assert said[1] is not None
    assert said[4] is not None
    assert set(said[1][1]) == {7, 20, 33, ENDS[1], 44}  # the first of them behind three tokens only
    assert set(said[4][1]) == {60, 62}


def test_of_all_rows() -> None:
    logits = random(4)
    before = logits.clone()
    found = AROUND.likeliest(logits, ROWS, 20)
    every = [
        (value, index, token)
        for index, row in enumerate(ROWS)
        for token, value in by_hand(logits, row).items()
    ]
    want = sorted(every, reverse=True)[:20]
    assert [each[1:] for each in found] == [each[1:] for each in want]
    assert [each[0] for each in found] == pytest.approx([each[0] for each in want], abs=1e-4)
    assert logits.equal(before)


@pytest.mark.parametrize("count", [1, 3, 6])
def test_of_each_row(count: int) -> None:
    logits = random(4)
    each = AROUND.likeliest_of_each(logits, ROWS, count)
    for index, (row, found) in enumerate(zip(ROWS, each, strict=True)):
        want = sorted(by_hand(logits, row).items(), key=lambda item: -item[1])[:count]
        assert [token for _, _, token in found] == [token for token, _ in want]
        assert [value for value, _, _ in found] == pytest.approx([value for _, value in want], abs=1e-4)
        assert {at for _, at, _ in found} == {index}


def test_logits_of_several_tokens_count_as_rows() -> None:
    logits = random(6)
    found = Around([], None).likeliest(logits.view(2, 3, VOCAB), [Open(at=4)], 1)
    assert found[0][2] == int(logits[4].argmax())


def test_where_nothing_is_allowed_nothing_is_found() -> None:
    logits = random(2)
    assert AROUND.likeliest(logits, [Open(at=0, allowed=[])], 3) == []
    found = AROUND.likeliest(logits, [Open(at=0, allowed=[]), Open(at=1, allowed=[9])], 3)
    assert [(index, token) for _, index, token in found] == [(1, 9)]


def test_an_end_is_for_the_model_to_say_whatever_followed_elsewhere() -> None:
    text = [10, 11, 12, 13, 20, 21]
    around = Around([2, 5, *text[:4], *ENDS], NgramCache([text * 3]))
    assert around.before == [2, 5, *text[:4]]
    logits = torch.zeros(1, VOCAB)
    own = {token: value for value, _, token in around.likeliest(logits, [Open(at=0)], VOCAB)}
    assert max(own, key=lambda token: own[token]) == 20
    for end in ENDS:
        assert own[end] == pytest.approx(-math.log(VOCAB), abs=1e-5)
    assert sum(math.exp(value) for value in own.values()) == pytest.approx(1, abs=1e-4)
    nothing = around.likeliest(logits, [Open(at=0, written=[60])], VOCAB)
    assert [value for value, _, _ in nothing] == pytest.approx([-math.log(VOCAB)] * VOCAB, abs=1e-5)


def test_log_probabilities_of_given_tokens() -> None:
    logits = random(6).view(2, 3, VOCAB)
    logits[1, 2] = 200.0  # all alike, and larger than an exponential can take
    ids = [0, 63, 5, 17, 40, 9]
    rows = logits.view(6, VOCAB).double().log_softmax(-1)
    want = [float(row[token]) for row, token in zip(rows, ids, strict=True)]
    assert log_probabilities(logits, ids) == pytest.approx(want, abs=1e-5)
