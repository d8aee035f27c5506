from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from pipeline.evaluation.list_metrics import RankedLists, measure_lists
from pipeline.evaluation.position_lists import PositionLists
from pipeline.evaluation.ranking import GroundTruth, rank_items
from pipeline.evaluation.top_k import top_k
from pipeline.kernels.ranking import NO_ROW

KS = (1, 3, 20)


def lists_of(lists: list[list[int]]) -> RankedLists:
    indptr = np.cumsum([0, *(len(one) for one in lists)])
    return RankedLists(indptr, np.array([node for one in lists for node in one], np.int64))


def positions_of(sets: list[set[int]]) -> PositionLists:
    query = np.repeat(np.arange(len(sets)), [len(one) for one in sets])
    return PositionLists.from_pairs(query, np.array([node for one in sets for node in one], np.int64), len(sets))


def no_degrees(n_items: int) -> NDArray[np.int64]:
    return np.zeros(n_items, np.int64)


@st.composite
def cases(draw: st.DrawFn) -> tuple[int, list[list[int]], list[set[int]], list[set[int]], list[int]]:
    """Items, lists (some empty, some with a node that is no item), train, test, unknown test items of each source."""
    items = draw(st.integers(1, 12))
    sources = draw(st.integers(1, 6))
    item = st.integers(0, items - 1)

    def some(of: st.SearchStrategy[int]) -> set[int]:
        return draw(st.sets(of, max_size=8))

    lists = [draw(st.permutations(sorted(some(item)))) + draw(st.sampled_from([[], [NO_ROW]])) for _ in range(sources)]
    lists = [draw(st.permutations(one)) for one in lists]
    return (
        items,
        lists,
        [some(item) for _ in lists],
        [some(item) for _ in lists],
        [draw(st.integers(0, 2)) for _ in lists],
    )


def by_hand(
    lists: list[list[int]], train: list[set[int]], test: list[set[int]], unknown: list[int], k: int
) -> tuple[float, float, float, int, int]:
    """Recall, NDCG, hit rate, sources without a list, and with too short a one; straight from the definition."""
    recall, ndcg, hit = [], [], []
    without = short = 0
    for listed, known, wanted, more in zip(lists, train, test, unknown, strict=True):
        if not wanted and not more:
            continue
        left = [node for node in listed if node not in known]
        without += not listed
        short += bool(listed) and len(left) < k
        hits = [node in wanted for node in left[:k]]
        count = len(wanted) + more
        recall.append(sum(hits) / count)
        gained = sum(1 / math.log2(place + 2) for place, is_hit in enumerate(hits) if is_hit)
        ndcg.append(gained / sum(1 / math.log2(place + 2) for place in range(min(k, count))))
        hit.append(any(hits))
    n = max(len(recall), 1)
    return sum(recall) / n, sum(ndcg) / n, sum(hit) / n, without, short


@given(cases())
def test_figures_are_those_of_the_definition(
    case: tuple[int, list[list[int]], list[set[int]], list[set[int]], list[int]],
) -> None:
    items, lists, train, test, unknown = case
    got = measure_lists(
        lists_of(lists),
        items,
        positions_of(train),
        GroundTruth(positions_of(test), np.array(unknown)),
        KS,
        no_degrees(items),
    )
    for col, k in enumerate(KS):
        want = by_hand(lists, train, test, unknown, k)
        found = got.metrics
        figures = found.recall[col], found.ndcg[col], found.hit_rate[col], got.without_list, got.short[col]
        assert figures == pytest.approx(want, abs=1e-12)
    assert got.metrics.test_pairs == sum(map(len, test)) + sum(unknown)


@given(st.integers(0, 2**32), st.booleans())
def test_full_rankings_score_as_rows_with_that_ranking_do(seed: int, holds_train: bool) -> None:
    rng = np.random.default_rng(seed)
    users, items = rng.integers(1, 9), rng.integers(1, 30)
    # Small integers, so that ties are common.
    user_rows, item_rows = (rng.integers(-2, 3, (n, 3)).astype(np.float32) for n in (users, items))
    train, test = (
        positions_of([set(rng.integers(0, items, rng.integers(0, 6)).tolist()) for _ in range(users)]) for _ in range(2)
    )
    truth = GroundTruth(test, rng.integers(0, 2, users))
    want = rank_items(user_rows, item_rows, train, truth, KS)

    places = top_k(user_rows, item_rows, int(items), None if holds_train else train)[0]
    lists = lists_of([[node for node in row if node != NO_ROW] for row in places.tolist()])
    got = measure_lists(lists, int(items), train, truth, KS, no_degrees(int(items)))

    for name in ("recall", "ndcg", "hit_rate", "coverage", "users", "test_pairs", "unknown_items"):
        assert getattr(got.metrics, name) == getattr(want, name), name
    for name in ("user", "test_pairs", "recall", "ndcg", "hit"):
        np.testing.assert_array_equal(getattr(got.metrics.per_user, name), getattr(want.per_user, name))
    for name in ("test_pairs", "hits"):
        np.testing.assert_array_equal(getattr(got.metrics.per_item, name), getattr(want.per_item, name))


def test_many_lists_are_taken_in_blocks() -> None:
    n = 10_000
    lists = RankedLists(np.arange(n + 1, dtype=np.int64), np.arange(n, dtype=np.int64) % 7)
    test = positions_of([{place % 7} for place in range(n)])
    truth = GroundTruth(test, np.zeros(n, np.int64))
    got = measure_lists(lists, 7, PositionLists.empty(n), truth, (1,), no_degrees(7))
    assert got.metrics.recall == (1.0,)
    assert got.short == (0,)


@pytest.mark.parametrize(("n_train", "ks"), [(2, (1,)), (1, ()), (1, (3, 1)), (1, (0,))])
def test_what_does_not_fit_is_refused(n_train: int, ks: tuple[int, ...]) -> None:
    truth = GroundTruth(PositionLists.empty(1), np.zeros(1, np.int64))
    with pytest.raises(ValueError, match=r"give (one|at least)"):
        measure_lists(lists_of([[0]]), 1, PositionLists.empty(n_train), truth, ks, no_degrees(1))
