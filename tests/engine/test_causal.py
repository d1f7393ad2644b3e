"""The encoder as a left-to-right model: scores and greedy text agree with plain encoding."""

from __future__ import annotations

import pytest
import torch

from engine.cache import PrefixCache, encode_prefix
from engine.causal import score, write_greedily
from engine.model import DiffusionGemma
from engine.special import Special
from engine.weights import load_model
from tests.engine.checkpoints import write_own_checkpoint, write_reference_checkpoint

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
