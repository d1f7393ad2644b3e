"""What rows write behind a prefix stays, may be taken back, and is what encoding it all at once gives."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch

from engine.caches.continuation import Continuation
from engine.caches.prefix import PrefixCache, encode_prefix, last_state, over_cache
from engine.checkpoints.weights import load_model
from engine.denoising.reading import read
from engine.networks.attention import Mask, attention, padded_keys, padded_rows
from engine.networks.network import Network
from engine.networks.packed import PackedGemma
from engine.text.special import Special
from tests.engine.checkpoints import write_own_checkpoint, write_reference_checkpoint

PREFIX = list(range(20, 50))
ROWS = [[60, 61, 62, 63, 64, 65], [70, 71, 72, 73, 74, 75], [80, 81, 82, 83, 84, 85]]


@pytest.fixture(autouse=True)
def inference() -> Iterator[None]:
    with torch.inference_mode():
        yield


@pytest.fixture(scope="module", params=["wide window", "narrow window", "packed", "packed, narrow"])
def network(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Network:
    folder = tmp_path_factory.mktemp("model")
    if "narrow" in request.param:
        dense: dict[str, Any] = {"num_experts": 1, "top_k_experts": 1} if "packed" in request.param else {}
        write_reference_checkpoint(folder, **dense)  # its sliding layers see 8 tokens
        model = load_model(folder).requires_grad_(False)
    else:
        model = write_own_checkpoint(folder)
    return PackedGemma(model, torch.float32) if "packed" in request.param else model


def encoded(network: Network, tokens: list[int]) -> tuple[PrefixCache, torch.Tensor]:
    cache = PrefixCache(network.config, dtype=torch.float32, device=torch.device("cpu"))
    with torch.inference_mode():
        states = encode_prefix(network, cache, tokens)
    assert states is not None
    return cache, states


def whole(network: Network, row: list[int]) -> torch.Tensor:
    """Logits (len(row), vocab) of a row behind the prefix, encoded at once in a fresh cache."""
    with torch.inference_mode():
        return network.logits(encoded(network, PREFIX + row)[1])[0, len(PREFIX) :]


def close(found: torch.Tensor, want: torch.Tensor) -> None:
    torch.testing.assert_close(found, want, atol=2e-4, rtol=0)


def test_rows_that_stand_at_different_places_go_on_together(network: Network) -> None:
    cache, _ = encoded(network, PREFIX)
    room = Continuation(network, cache, len(cache), 3, 16)
    first = room.read([row[:3] for row in ROWS], [0, 0, 0])
    # The second row takes two tokens back, the third one: wrong ones, which are overwritten.
    room.read([[63, 64], [99, 98], [97, 96]], [3, 1, 2])
    second = room.read([ROWS[0][3:5], ROWS[1][1:3], ROWS[2][2:4]], [3, 1, 2])
    for row, at, begin, after in zip(ROWS, [3, 1, 2], first, second, strict=True):
        want = whole(network, row)
        close(begin, want[:3])
        close(after, want[at : at + 2])
    assert cache.tokens == PREFIX


def test_rows_that_are_done_are_forgotten(network: Network) -> None:
    cache, _ = encoded(network, PREFIX)
    room = Continuation(network, cache, len(cache), 3, 16)
    room.read([row[:3] for row in ROWS], [0, 0, 0])
    logits = room.read([ROWS[0][3:5], ROWS[2][2:4]], [3, 2], [0, 2])
    close(logits[0], whole(network, ROWS[0])[3:5])
    close(logits[1], whole(network, ROWS[2])[2:4])


def test_the_last_state_is_known_or_found_again(network: Network) -> None:
    cache, states = encoded(network, PREFIX)
    with torch.inference_mode():
        close(last_state(network, cache), states[:, -1:])
        cache.rollback(20)
        assert cache.ended is None
        close(last_state(network, cache)[0, 0], states[0, 19])
    assert cache.tokens == PREFIX[:20]


def test_a_text_is_read_alike_whatever_it_is_padded_to(network: Network) -> None:
    """17 tokens and their end are padded to 32; each alone, without padding, is the plain canvas."""
    cache, _ = encoded(network, PREFIX)
    text = list(range(100, 117))
    own, _, _ = read(network, cache, text, views=1, seed=0)
    canvas = torch.tensor([[*text, int(Special.EOM)]])
    positions = torch.arange(len(PREFIX), len(PREFIX) + 18)[None]
    with torch.inference_mode():
        logits = network.logits(network.denoise(canvas, positions, over_cache(cache), None))
    want = logits[0, :-1].softmax(-1).gather(-1, canvas[0, :-1, None])[:, 0]
    close(torch.tensor(own), want)


def test_keys_that_do_not_count_change_nothing() -> None:
    generator = torch.Generator().manual_seed(0)
    q, k, v = (torch.randn(2, heads, n, 8, generator=generator) for heads, n in ((4, 5), (2, 40), (2, 40)))
    want = attention(q, k[:, :, :33], v[:, :, :33])
    close(attention(q, k, v, 33), want)
    visible = (torch.arange(40) < 33).expand(1, 5, 40)
    close(attention(q, k, v, Mask(visible)), want)
    close(attention(q, k, v, Mask(visible.expand(2, 5, 40))), want)


def test_lengths_of_all_kinds_have_few_shapes(network: Network) -> None:
    """Every product of a new shape is memory that the matrix library keeps."""
    assert len({padded_rows(count) for count in range(1, 513)}) == 11
    assert len({padded_keys(count) for count in range(1, 513)}) == 8
    assert all(padded_rows(count) >= count <= padded_keys(count) for count in range(1, 513))
    seen: set[tuple[int, ...]] = set()
    cache, _ = encoded(network, PREFIX)

    class Watching:
        def __getattr__(self, name: str) -> object:
            return getattr(network, name)

        def encode(self, ids: torch.Tensor, *rest: object) -> torch.Tensor:
            seen.add(tuple(ids.shape))
            return network.encode(ids, *rest)  # type: ignore[arg-type]

    with torch.inference_mode():
        for length in range(1, 130):
            cache.rollback(0)
            encode_prefix(Watching(), cache, [5] * length)  # type: ignore[arg-type]
    assert seen == {(1, 16), (1, 32), (1, 48), (1, 64), (1, 128), (1, 192)}


def test_rows_can_be_copied_and_change_places(network: Network) -> None:
    cache, _ = encoded(network, PREFIX)
    room = Continuation(network, cache, len(cache), 3, 16)
    room.read([row[:3] for row in ROWS], [0, 0, 0])
    rows = [[*ROWS[2][:3], 90, 91], [*ROWS[2][:3], 92, 93], [*ROWS[0][:3], 94, 95]]
    logits = room.read([row[3:] for row in rows], [3, 3, 3], [2, 2, 0])
    for row, found in zip(rows, logits, strict=True):
        close(found, whole(network, row)[3:])
