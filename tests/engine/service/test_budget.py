"""The memory of several lanes' prefix caches is bounded together."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.inprocess import load_engine
from engine.networks.network import Network
from engine.service.budget import Budget, SharedPool
from tests.engine.checkpoints import write_own_checkpoint


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Network:
    folder: Path = tmp_path_factory.mktemp("tiny") / "tiny"
    write_own_checkpoint(folder)
    return load_engine(str(folder)).network


def use(pool: SharedPool, first: int) -> None:
    """A prompt that shares nothing with another."""
    cache = pool.best([first])
    cache.tokens[:] = [first] * 100  # as if it had been encoded


def size_of_one(network: Network) -> int:
    pool = Budget(2**30).pool(network)
    use(pool, 1)
    return pool.bytes


def test_whoever_was_used_longest_ago_goes_whichever_lane_has_it(network: Network) -> None:
    budget = Budget(3 * size_of_one(network))
    one, other = budget.pool(network), budget.pool(network)
    for first in (1, 2):
        use(one, first)
    for first in (3, 4):
        use(other, first)
    assert budget.bytes <= budget.max_bytes
    assert [cache.tokens[0] for cache in one._caches] == [2]  # the oldest went, though it is not the asker's
    assert [cache.tokens[0] for cache in other._caches] == [3, 4]


def test_what_is_in_use_stays_even_beyond_the_bound(network: Network) -> None:
    budget = Budget(1)
    pools = [budget.pool(network) for _ in range(3)]
    for first, pool in enumerate(pools):
        use(pool, first)
    assert [len(pool) for pool in pools] == [1, 1, 1]


def test_a_lane_goes_on_with_what_another_has_encoded_and_no_longer_uses(network: Network) -> None:
    budget = Budget(2**30)
    one, other = budget.pool(network), budget.pool(network)
    use(one, 1)
    first = one._caches[0]
    assert other.best([1] * 100) is not first  # it is in use
    other.give_back()
    one.give_back()
    other.clear()
    assert other.best([1] * 110) is first
    assert [len(one), len(other)] == [0, 1]
    assert (budget.asked_tokens, budget.kept_tokens) == (1 + 100 + 110, 100)


def test_a_lane_keeps_to_its_own_where_no_other_has_more(network: Network) -> None:
    budget = Budget(2**30)
    one, other = budget.pool(network), budget.pool(network)
    for pool in (one, other):
        use(pool, 1)
    for pool in (one, other):
        pool.give_back()
    own = other._caches[0]
    assert other.best([1] * 100) is own
    assert len(one) == 1


def test_evicting_leaves_what_is_in_use_alone(network: Network) -> None:
    budget = Budget(2**30)
    pool = budget.pool(network)
    for first in range(3):
        use(pool, first)
    budget.evict()
    assert [cache.tokens[0] for cache in pool._caches] == [2]


def test_hits_are_counted_over_all(network: Network) -> None:
    budget = Budget(2**30)
    pool = budget.pool(network)
    use(pool, 1)
    pool.best([1] * 10)
    assert (budget.asked_tokens, budget.kept_tokens) == (11, 10)
