"""Lists shared out over queries against sorting all items for each, and their diversity against all pairs."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from graphquilt.interest_table import share_out
from pipeline.evaluation.interest_lists import SourceQueries, count_clusters, mean_distance, shared_lists
from pipeline.evaluation.position_lists import PositionLists
from pipeline.evaluation.top_k import unit_rows
from pipeline.kernels.ranking import NO_ROW


def random_queries(random: np.random.Generator, counts: list[int], dim: int) -> SourceQueries:
    indptr = np.cumsum([0, *counts])
    weight = (random.integers(1, 9, indptr[-1]) / 16).astype(np.float32)
    return SourceQueries(indptr, weight, random.standard_normal((indptr[-1], dim)).astype(np.float32))


@settings(deadline=None)
@given(st.lists(st.integers(1, 4), min_size=1, max_size=5), st.integers(1, 30), st.integers(0, 2**32 - 1))
def test_each_query_takes_the_nearest_items_that_none_before_it_has(counts: list[int], k: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    items = random.standard_normal((20, 4)).astype(np.float32)
    interests = random_queries(random, counts, 4)
    exclusions = [random.choice(20, 5, replace=False) for _ in counts]
    left_out = PositionLists.from_pairs(np.repeat(np.arange(len(counts)), 5), np.concatenate(exclusions), len(counts))
    seats = share_out(interests.indptr, interests.weight, k)
    lists = shared_lists(interests, items, left_out, k)
    for source, (first, stop) in enumerate(zip(interests.indptr[:-1], interests.indptr[1:], strict=True)):
        free, expected = set(range(20)) - set(exclusions[source].tolist()), list[int]()
        for at in range(first, stop):
            best = sorted(free, key=lambda item: -float(items[item].astype(float) @ interests.query[at].astype(float)))
            expected += best[: seats[at]]
            free -= set(expected)
        got = lists[source]
        assert got[got != NO_ROW].tolist() == expected
        assert len(expected) == min(k, 15)


def test_diversity_is_that_of_all_pairs() -> None:
    random = np.random.default_rng(1)
    unit = unit_rows(random.standard_normal((9, 5)).astype(np.float32))
    lists = np.array([[0, 3, 4, 8], [5, 1, NO_ROW, NO_ROW], [2, NO_ROW, NO_ROW, NO_ROW]])
    cluster = np.array([0, 0, 1, 0, 2, -1, 1, 1, 2], np.int32)
    pairs = [[(0, 3), (0, 4), (0, 8), (3, 4), (3, 8), (4, 8)], [(5, 1)]]
    means = [np.mean([1 - float(unit[one] @ unit[other]) for one, other in some]) for some in pairs]
    assert mean_distance(lists, unit) == pytest.approx(np.mean(means), abs=1e-6)
    assert count_clusters(lists, cluster) == pytest.approx((2 + 2 + 1) / 3)
