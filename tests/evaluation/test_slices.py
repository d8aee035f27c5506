"""Slices of a ranking: classes of similar degree, whose figures add up to the whole."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.evaluation.position_lists import PositionLists
from pipeline.evaluation.ranking import GroundTruth, TableRanking, rank_items
from pipeline.evaluation.slices import slice_by_activity, slice_by_popularity


def a_ranking(seed: int, n_users: int, n_items: int) -> tuple[TableRanking, np.ndarray, list[set[int]]]:
    rng = np.random.default_rng(seed)
    users, items = (rng.standard_normal((n, 3)).astype(np.float32) for n in (n_users, n_items))
    wanted = [set(rng.choice(n_items, rng.integers(0, min(5, n_items) + 1), replace=False)) for _ in range(n_users)]
    query = np.array([at for at, one in enumerate(wanted) for _ in one], np.int64)
    test = PositionLists.from_pairs(query, np.array([i for one in wanted for i in sorted(one)], np.int64), n_users)
    truth = GroundTruth(test, np.zeros(n_users, np.int64), np.array([2]))
    metrics = rank_items(users, items, PositionLists.empty(n_users), truth, [1, 4])
    degrees = rng.zipf(1.5, n_users) % 50, rng.zipf(1.5, n_items) % 50
    best = np.argsort(-(users.astype(np.float64) @ items.T.astype(np.float64)), axis=1, kind="stable")
    return TableRanking(metrics, np.arange(n_users), *degrees, degrees[1]), best, wanted


@given(st.integers(0, 2**32 - 1), st.integers(1, 40), st.integers(5, 30))
def test_figures_are_those_of_the_members_by_loops(seed: int, n_users: int, n_items: int) -> None:
    ranked, best, wanted = a_ranking(seed, n_users, n_items)
    counted = [at for at in range(n_users) if wanted[at]]
    slices = slice_by_activity(ranked)
    assert sum(one["members"] for one in slices) == len(counted)
    for one in slices:
        members = [at for at in counted if one["degree"][0] <= ranked.user_degree[at] <= one["degree"][1]]
        assert len(members) == one["members"]
        assert one["test_pairs"] == sum(len(wanted[at]) for at in members)
        recall = [np.mean([len(wanted[at] & set(best[at, :k])) / len(wanted[at]) for at in members]) for k in (1, 4)]
        assert [one["recall@1"], one["recall@4"]] == pytest.approx(recall, rel=1e-12)
    slices = slice_by_popularity(ranked)
    assert sum(one["test_pairs"] for one in slices) == sum(map(len, wanted))
    for one in slices:
        items = {at for at in range(n_items) if one["degree"][0] <= ranked.item_degree[at] <= one["degree"][1]}
        asked = [(at, item) for at in counted for item in wanted[at] & items]
        assert len(asked) == one["test_pairs"]
        assert len({item for _, item in asked}) == one["members"]
        found = [np.mean([item in best[at, :k] for at, item in asked]) for k in (1, 4)]
        assert [one["recall@1"], one["recall@4"]] == pytest.approx(found, rel=1e-12)


@given(st.integers(0, 2**32 - 1))
def test_classes_are_apart_and_about_equal(seed: int) -> None:
    ranked, _, _ = a_ranking(seed, 60, 10)
    slices = slice_by_activity(ranked)
    assert len(slices) <= 4
    assert all(one["degree"][1] < other["degree"][0] for one, other in itertools.pairwise(slices))
    degree = ranked.user_degree[ranked.metrics.per_user.user[:-1]]
    largest_tie = np.bincount(degree).max(initial=0)
    # A class ends with the degree that reaches its quarter, so it is over by less than one degree's users.
    assert max(one["members"] for one in slices) < degree.size / 4 + largest_tie + 1
