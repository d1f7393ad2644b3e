"""Searching along beams finds what a plain beam search finds that encodes everything anew."""

from __future__ import annotations

import math
import threading
from collections.abc import Sequence

import pytest
import torch

from engine.caches.prefix import PrefixCache, encode_prefix
from engine.causal import beams
from engine.causal.beams import search
from engine.causal.middles import Propose, Rules
from engine.causal.ngram_cache import NgramCache
from engine.checkpoints.weights import load_model
from engine.denoising.denoiser import Draft, Plan
from engine.errors import InvalidRequest
from engine.networks.model import DiffusionGemma
from engine.request import Stop
from engine.text.special import Special
from tests.engine.checkpoints import write_own_checkpoint, write_reference_checkpoint

PREFIX = list(range(20, 50))
LENGTH = 9
ENDS = {int(special) for special in Special}


@pytest.fixture(scope="module", params=["wide window", "narrow window"])
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> DiffusionGemma:
    folder = tmp_path_factory.mktemp("model")
    if request.param == "wide window":
        return write_own_checkpoint(folder).requires_grad_(False)
    write_reference_checkpoint(folder)  # its sliding layers see 8 tokens
    return load_model(folder).requires_grad_(False)


def cached(model: DiffusionGemma) -> PrefixCache:
    cache = PrefixCache(model.config, dtype=torch.float32, device=torch.device("cpu"))
    with torch.inference_mode():
        encode_prefix(model, cache, PREFIX)
    return cache


def nothing(_before: Sequence[int], _written: Sequence[int]) -> Sequence[int]:
    return ()


def drafts_of(
    model: DiffusionGemma,
    *,
    propose: Propose = nothing,
    rules: Rules | None = None,
    batch: int = 3,
    width: int = 3,
    ngrams: NgramCache | None = None,
    wide: bool = False,
) -> list[Draft]:
    cache = cached(model)
    plan = Plan(length=LENGTH, batch=batch)
    never = threading.Event()
    drafts = search(model, cache, plan, rules or Rules(), propose, never, ngrams, width=width, wide=wide)
    out = list(drafts)
    assert cache.tokens == PREFIX
    return out


def found(draft: Draft) -> list[tuple[list[int], float]]:
    """The middles with their ends, and their log-probabilities."""
    out = []
    for tokens, sure in zip(draft.tokens.tolist(), draft.confidence.tolist(), strict=True):
        count = sum(p > 0 for p in sure)
        out.append((tokens[:count], sum(math.log(p) for p in sure[:count])))
    return out


def plainly(model: DiffusionGemma, width: int) -> list[tuple[list[int], float]]:
    """A beam search without any cache, over at most as many tokens."""
    open_: list[tuple[list[int], float]] = [([], 0.0)]
    done: list[tuple[list[int], float]] = []
    while open_:
        grown = []
        for ids, total in open_:
            cache = PrefixCache(model.config, dtype=torch.float32, device=torch.device("cpu"))
            with torch.inference_mode():
                states = encode_prefix(model, cache, [*PREFIX, *ids])
                assert states is not None
                log_p = model.logits(states[:, -1:])[0, 0].log_softmax(-1)
            top = log_p.topk(2 * width)
            grown += [
                ([*ids, token], total + value)
                for value, token in zip(top.values.tolist(), top.indices.tolist(), strict=True)
            ]
        kept = sorted(grown, key=lambda each: -each[1])[:width]
        is_done = [ids[-1] in ENDS or len(ids) >= LENGTH - 1 for ids, _ in kept]
        done += [each for each, ended in zip(kept, is_done, strict=True) if ended]
        done = sorted(done, key=lambda each: -each[1])[:width]
        worst = done[-1][1] if len(done) == width else -math.inf
        open_ = [each for each, ended in zip(kept, is_done, strict=True) if not ended and each[1] > worst]
    return done


def same(have: list[tuple[list[int], float]], want: list[tuple[list[int], float]]) -> None:
    assert [ids for ids, _ in have] == [ids for ids, _ in want]
    assert [total for _, total in have] == pytest.approx([total for _, total in want], abs=1e-3)


@pytest.mark.parametrize("width", [1, 3, 8])
def test_it_finds_what_a_plain_search_finds(
    model: DiffusionGemma, width: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(beams, "_MARGINS", (math.inf, math.inf))
    last = drafts_of(model, batch=width, width=width)[-1]
    same(found(last), plainly(model, width))
    assert last.stop in (Stop.CONFIDENT, Stop.STEPS)


def test_whatever_is_proposed_the_texts_are_the_same(model: DiffusionGemma) -> None:
    slow = drafts_of(model, batch=1, width=1)
    text = found(slow[-1])[0][0]
    wrong_at_four = [*text[:4], (text[4] + 1) % 60 + 20, *text[5:]]

    def knows(known: list[int]) -> Propose:
        return lambda _before, written: known[len(written) :] if written == known[: len(written)] else []

    for propose in (knows(text), knows(wrong_at_four), knows([25] * 8), knows([])):
        same(found(drafts_of(model, propose=propose, batch=1, width=1)[-1]), found(slow[-1]))
        same(
            found(drafts_of(model, propose=propose, batch=3, width=3)[-1]),
            found(drafts_of(model, batch=3, width=3)[-1]),
        )
    assert len(drafts_of(model, propose=knows(text), batch=1, width=1)) <= 2 < len(slow)


def test_a_beam_far_behind_is_given_up(model: DiffusionGemma, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(beams, "_MARGINS", (1e-9, math.inf))
    rows = found(drafts_of(model, batch=3, width=3)[-1])
    greedy = found(drafts_of(model, batch=1, width=1)[-1])
    same(rows[:1], greedy)


def test_ends_that_leave_the_same_text_count_together(
    model: DiffusionGemma, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two first tokens begin what comes after: that the middle is empty is as likely as both."""
    monkeypatch.setattr(beams, "_MARGINS", (math.inf, math.inf))
    ended = cached(model).ended
    assert ended is not None
    with torch.inference_mode():
        first = model.logits(ended)[0, 0].softmax(-1)
    looked_at = first.topk(24).indices.tolist()
    others = [token for token in looked_at if token not in ENDS]
    after = {others[1], others[3]}
    rules = Rules(end=lambda written: len(written) - 1 if written[-1] in after else None)
    rows = found(drafts_of(model, rules=rules, batch=8, width=8)[-1])
    middles = [tuple(token for token in ids if token not in ENDS) for ids, _ in rows]
    assert len(set(middles)) == len(middles)
    all_ends = sum(float(first[token]) for token in looked_at if token in after | ENDS)
    assert rows[middles.index(())][1] == pytest.approx(math.log(all_ends), abs=1e-3)


def test_rules_bind_the_beginning(model: DiffusionGemma) -> None:
    rules = Rules(allowed=lambda written: [33, 34] if not written else None)
    rows = found(drafts_of(model, rules=rules, batch=8, width=8)[-1])
    assert {ids[0] for ids, _ in rows} <= {33, 34}
    only = Rules(allowed=lambda written: [33] if not written else None)
    last = drafts_of(model, rules=only, batch=2, width=2)[-1]
    assert last.tokens[:, 0].tolist() == [33] * len(last.tokens)
    assert not last.free[:, 0].any()


def test_what_is_barred_is_not_written(model: DiffusionGemma) -> None:
    best = found(drafts_of(model, batch=8, width=8)[-1])[0][0]
    rules = Rules(barred=lambda written: list(written[:1]) == best[:1])
    rows = found(drafts_of(model, rules=rules, batch=8, width=8)[-1])
    assert rows
    assert all(ids[0] != best[0] for ids, _ in rows)
    everything = Rules(barred=lambda _written: True)
    same(found(drafts_of(model, rules=everything)[-1]), found(drafts_of(model)[-1]))


def test_what_is_barred_sets_no_bound_for_the_rest(
    model: DiffusionGemma, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(beams, "_MARGINS", (4.0, 1.5))
    repeated = NgramCache([[*PREFIX, 60, 61] * 2000])
    sure = found(drafts_of(model, batch=1, width=4, ngrams=repeated)[-1])
    assert sure[0][0][0] == 60
    rules = Rules(barred=lambda written: list(written[:1]) == [60])
    rows = found(drafts_of(model, rules=rules, batch=4, width=4, ngrams=repeated)[-1])
    assert rows
    assert all(ids[0] != 60 for ids, _ in rows)
    assert max(total for _, total in rows) < sure[0][1] - beams._MARGINS[0]


def test_the_text_around_has_its_say(model: DiffusionGemma) -> None:
    text = [*PREFIX, 60, 61, 62, 63, 64, *PREFIX, 60, 61]
    alone = found(drafts_of(model, batch=1, width=4)[-1])
    informed = found(drafts_of(model, batch=1, width=4, ngrams=NgramCache([text * 5]))[-1])
    assert alone[0][0][0] != 60
    assert informed[0][0][0] == 60


def test_it_stops_within_a_forward(model: DiffusionGemma) -> None:
    cancelled = threading.Event()
    drafts = search(model, cached(model), Plan(length=LENGTH), Rules(), nothing, cancelled, width=4)
    next(drafts)
    cancelled.set()
    assert next(drafts).stop is Stop.CANCELLED
    assert list(drafts) == []
    plan = Plan(length=LENGTH, deadline_ms=0)
    late = search(model, cached(model), plan, Rules(), nothing, threading.Event(), width=4)
    assert [draft.stop for draft in late] == [Stop.DEADLINE]
    far = Plan(length=10**6)
    with pytest.raises(InvalidRequest, match="positions"):
        next(search(model, cached(model), far, Rules(), nothing, threading.Event(), width=4))


def test_a_wide_search_gives_up_less(model: DiffusionGemma, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(beams, "_MARGINS", (1e-9, 1e-9))
    monkeypatch.setattr(beams, "_WIDE_MARGINS", (math.inf, math.inf))
    narrow = found(drafts_of(model, batch=3, width=3)[-1])
    wide = found(drafts_of(model, batch=3, width=3, wide=True)[-1])
    assert len(narrow) < len(wide) == 3
    same(wide, plainly(model, 3))
