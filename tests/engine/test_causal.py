"""The encoder as a left-to-right model: scores and greedy text agree with plain encoding."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import pytest
import torch

from engine.caches.prefix import PrefixCache, encode_prefix, last_state
from engine.causal.middles import Propose, Rules
from engine.causal.ngram_cache import NgramCache
from engine.causal.scores import Trunks, score, token_scores, write_greedily
from engine.causal.verified import write
from engine.checkpoints.weights import load_model
from engine.denoising.denoiser import Draft, Plan
from engine.errors import InvalidRequest
from engine.networks.model import DiffusionGemma
from engine.request import Stop
from engine.text.special import Special
from tests.engine.checkpoints import write_own_checkpoint, write_reference_checkpoint
from tests.engine.mixing import interpolate

PREFIX = list(range(20, 50))
MIDDLES = [[60, 61, 62], [70], [], list(range(80, 95))]


@pytest.fixture(scope="module", params=["wide window", "narrow window"])
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> DiffusionGemma:
    folder = tmp_path_factory.mktemp("model")
    if request.param == "wide window":
        return write_own_checkpoint(folder)
    write_reference_checkpoint(folder)  # its sliding layers see 8 tokens
    return load_model(folder)


def _cache(model: DiffusionGemma, tokens: list[int]) -> PrefixCache:
    cache = PrefixCache(model.config, dtype=torch.float32, device=torch.device("cpu"))
    with torch.inference_mode():
        encode_prefix(model, cache, tokens)
    return cache


def test_scores_equal_those_of_encoding_each_middle_whole(model: DiffusionGemma) -> None:
    cache = _cache(model, PREFIX)
    scores = score(model, cache, MIDDLES)
    assert cache.tokens == PREFIX
    for middle, found in zip(MIDDLES, scores, strict=True):
        whole = [*PREFIX, *middle, int(Special.EOM)]
        fresh = PrefixCache(model.config, dtype=torch.float32, device=torch.device("cpu"))
        with torch.inference_mode():
            states = encode_prefix(model, fresh, whole)
            assert states is not None
            log_p = model.logits(states)[0].log_softmax(-1)
        expected = [float(log_p[at - 1, whole[at]]) for at in range(len(PREFIX), len(whole))]
        assert found == pytest.approx(sum(expected) / len(expected), abs=1e-4)


def test_what_begins_alike_is_scored_as_if_it_were_read_alone(model: DiffusionGemma) -> None:
    cache = _cache(model, PREFIX)
    heads = [(60, 61, 62, 63), (60, 61), (), (60, 61, 70), (80,), (60, 61)]
    tails = [[5, 6], [7], [8, 9, 10, 11], [12, 13, 14], [15], [16, 17]]
    trunks = Trunks(model, cache, heads, branches=4, longest=6)
    alone = token_scores(model, cache, [[*head, *tail] for head, tail in zip(heads, tails, strict=True)])
    first = trunks.first(heads, [tail[0] for tail in tails])
    expected = [sum(scores[: len(head) + 1]) for head, scores in zip(heads, alone, strict=True)]
    assert first == pytest.approx(expected, abs=1e-4)
    some = [3, 2, 1, 5]
    rest = trunks.rest([heads[at] for at in some], [tails[at] for at in some])
    assert rest == pytest.approx([sum(alone[at][len(heads[at]) + 1 : -1]) for at in some], abs=1e-4)
    assert trunks.rest([heads[4]], [tails[4]]) == [0.0]
    assert cache.tokens == PREFIX


def test_greedy_text_is_the_likeliest_token_each_time(model: DiffusionGemma) -> None:
    cache = _cache(model, PREFIX)
    written = write_greedily(model, cache, PREFIX, 6)
    assert cache.tokens == PREFIX
    assert written
    assert Special.EOM not in written
    for count, token in enumerate(written):
        fresh = PrefixCache(model.config, dtype=torch.float32, device=torch.device("cpu"))
        with torch.inference_mode():
            states = encode_prefix(model, fresh, [*PREFIX, *written[:count]])
            assert states is not None
            assert int(model.logits(states[:, -1:]).argmax()) == token
    assert write_greedily(model, cache, PREFIX, 6) == written


def _written(
    model: DiffusionGemma,
    propose: Propose,
    *,
    batch: int = 1,
    rules: Rules | None = None,
    ngrams: NgramCache | None = None,
) -> Draft:
    cache = _cache(model, PREFIX)
    plan = Plan(length=16, batch=batch)
    *_, last = write(model, cache, plan, rules or Rules(), propose, threading.Event(), ngrams)
    assert cache.tokens == PREFIX
    return last


def _nothing(_prompt: Sequence[int], _written: Sequence[int]) -> Sequence[int]:
    return ()


def repeat_context(before: Sequence[int], written: Sequence[int]) -> Sequence[int]:
    """Drafts as they are made of a prompt."""
    return NgramCache([before]).draft(before, written, 7)


def _middle(draft: Draft, row: int = 0) -> list[int]:
    ids: list[int] = draft.tokens[row].tolist()
    return ids[: next((at for at, token in enumerate(ids) if token == Special.EOM), 15)]


def test_whatever_is_proposed_the_text_is_the_greedy_one(model: DiffusionGemma) -> None:
    greedy = write_greedily(model, _cache(model, PREFIX), PREFIX, 15)
    wrong_at_four = [*greedy[:4], (greedy[4] + 1) % 60 + 20, *greedy[5:]]

    def knows(text: list[int]) -> Propose:
        return lambda _prompt, written: text[len(written) :]

    for propose in (_nothing, repeat_context, knows(greedy), knows(wrong_at_four), knows([25] * 15)):
        assert _middle(_written(model, propose)) == greedy
    slow, fast = _written(model, _nothing), _written(model, knows(greedy))
    assert fast.number < slow.number == len(greedy) + (len(greedy) < 15)
    assert fast.confidence[0, : len(greedy)].tolist() == pytest.approx(
        slow.confidence[0, : len(greedy)].tolist(), abs=1e-4
    )


def test_the_rows_of_a_batch_begin_with_different_tokens(model: DiffusionGemma) -> None:
    one, three = _written(model, repeat_context), _written(model, repeat_context, batch=3)
    assert _middle(three) == _middle(one)
    assert len({row[0] for row in three.tokens.tolist()}) == 3


def test_rules_bind_the_beginning_and_the_end(model: DiffusionGemma) -> None:
    rules = Rules(
        allowed=lambda written: [33, 34] if not written else None,
        end=lambda written: 5 if len(written) > 5 else None,
    )
    for batch in (1, 2, 4):
        draft = _written(model, repeat_context, batch=batch, rules=rules)
        assert draft.stop is Stop.CONFIDENT
        assert len(draft.tokens) == min(batch, 2)
        for row in draft.tokens.tolist():
            assert row[0] in (33, 34)
            assert row[5:7] == [Special.EOM, Special.PAD]


def test_what_was_cut_off_has_not_ended(model: DiffusionGemma) -> None:
    """Whatever there was no room or no time for is not taken for padding behind an end."""
    endless = Rules(end=lambda _written: None, allowed=lambda _written: [33, 34])
    for plan, stop in ((Plan(length=8), Stop.STEPS), (Plan(length=64, deadline_ms=0), Stop.DEADLINE)):
        *_, draft = write(model, _cache(model, PREFIX), plan, endless, _nothing, threading.Event())
        assert (draft.stop, draft.ended) == (stop, [False])
    assert _written(model, repeat_context, rules=Rules(end=lambda _written: 0)).ended == [True]


def test_writing_stops_within_a_forward(model: DiffusionGemma) -> None:
    cancelled = threading.Event()
    drafts = write(model, _cache(model, PREFIX), Plan(length=16), Rules(), _nothing, cancelled)
    next(drafts)
    cancelled.set()
    assert next(drafts).stop is Stop.CANCELLED
    assert list(drafts) == []
    late = write(
        model, _cache(model, PREFIX), Plan(length=16, deadline_ms=0), Rules(), _nothing, threading.Event()
    )
    assert [draft.stop for draft in late] == [Stop.DEADLINE]
    with pytest.raises(InvalidRequest, match="positions"):
        next(write(model, _cache(model, PREFIX), Plan(length=10**6), Rules(), _nothing, threading.Event()))


def test_the_text_around_has_a_say_and_drafts_change_nothing(model: DiffusionGemma) -> None:
    greedy = write_greedily(model, _cache(model, PREFIX), PREFIX, 15)
    # Where the prefix goes on in the memory as the model would not, often enough to convince anybody.
    ngrams = NgramCache([[*PREFIX[-6:], 90, 91, 92, 93, 94, 95]] * 400)

    def by_hand(count: int) -> list[int]:
        written: list[int] = []
        while len(written) < count:
            cache = _cache(model, [*PREFIX, *written])
            with torch.inference_mode():
                probabilities = model.logits(last_state(model, cache))[0, 0].softmax(-1).numpy()
            special = [int(token) for token in Special]
            ends = probabilities[special]  # which stay as likely as they are
            probabilities[special] = 0
            probabilities /= probabilities.sum()
            interpolate(probabilities, ngrams.continuations([*PREFIX, *written]))
            probabilities *= 1 - ends.sum()
            probabilities[special] = ends
            written.append(int(probabilities.argmax()))
        return written

    expected = by_hand(8)
    assert expected[:6] == [90, 91, 92, 93, 94, 95] != greedy[:6]
    for propose in (_nothing, repeat_context, lambda _before, written: expected[len(written) :]):
        draft = _written(model, propose, ngrams=ngrams)
        assert _middle(draft)[:8] == expected
        assert draft.confidence[0, 0] > 0.9
    three = _written(model, _nothing, batch=3, ngrams=ngrams)
    assert _middle(three)[:8] == expected
    assert len({row[0] for row in three.tokens.tolist()}) == 3


def test_rules_bind_what_the_text_around_says_too(model: DiffusionGemma) -> None:
    ngrams = NgramCache([[*PREFIX[-6:], 90, 91, 92, 93]] * 400)
    rules = Rules(allowed=lambda written: [33, 91] if not written else None)
    assert _middle(_written(model, _nothing, rules=rules, ngrams=ngrams))[0] in (33, 91)


def test_a_prompts_last_special_token_is_none_of_the_text(model: DiffusionGemma) -> None:
    prompt = [*PREFIX, int(Special.PREFIX)]
    seen: list[Sequence[int]] = []

    def propose(before: Sequence[int], _written: Sequence[int]) -> Sequence[int]:
        seen.append(before)
        return ()

    cache = _cache(model, prompt)
    list(write(model, cache, Plan(length=16), Rules(), propose, threading.Event()))
    assert seen
    assert all(before == PREFIX for before in seen)
