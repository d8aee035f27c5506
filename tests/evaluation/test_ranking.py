import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from pipeline.evaluation import top_k as top_k_module
from pipeline.evaluation.position_lists import PositionLists
from pipeline.evaluation.ranking import GroundTruth, rank_items
from pipeline.evaluation.top_k import top_k, unit_rows
from pipeline.kernels.ranking import NO_ROW, pair_scores


def lists_of(some: list[set[int]]) -> PositionLists:
    query = np.array([at for at, one in enumerate(some) for _ in one], np.int64)
    return PositionLists.from_pairs(query, np.array([p for one in some for p in one], np.int64), len(some))


def all_scores(queries: NDArray[np.float32], rows: NDArray[np.float32]) -> NDArray[np.float32]:
    q, n = np.indices((queries.shape[0], rows.shape[0]))
    return pair_scores(queries, q.ravel(), rows, n.ravel()).reshape(q.shape)


def brute_force(
    scores: NDArray[np.float32], train: list[set[int]], test: list[set[int]], absent: list[int], k: int
) -> tuple[list[float], list[float], list[bool]]:
    """LightGCN's definitions, one user after the other; ``absent``: test items without a row."""
    recall, ndcg, hit = [], [], []
    for row, known, wanted, missing in zip(scores.tolist(), train, test, absent, strict=True):
        if not wanted and not missing:
            continue
        n_wanted = len(wanted) + missing
        order = sorted((at for at in range(len(row)) if at not in known), key=lambda at: (-row[at], at))
        places = [place for place, at in enumerate(order[:k], start=1) if at in wanted]
        ideal = sum(1 / math.log2(place + 1) for place in range(1, min(k, n_wanted) + 1))
        recall.append(len(places) / n_wanted)
        ndcg.append(sum(1 / math.log2(place + 1) for place in places) / ideal)
        hit.append(bool(places))
    return recall, ndcg, hit


def by_item(
    scores: NDArray[np.float32], train: list[set[int]], test: list[set[int]], absent: list[int], ks: list[int]
) -> tuple[list[list[int]], list[list[int]]]:
    """How often each item is shown to counted users at each k, and found by them."""
    listed, found = ([[0] * len(ks) for _ in range(scores.shape[1])] for _ in range(2))
    for row, known, wanted, missing in zip(scores.tolist(), train, test, absent, strict=True):
        order = sorted((at for at in range(len(row)) if at not in known), key=lambda at: (-row[at], at))
        for col, k in enumerate(ks):
            for at in order[:k] if wanted or missing else []:
                listed[at][col] += 1
                found[at][col] += at in wanted
    return listed, found


@given(st.data(), st.integers(1, 6), st.integers(0, 80))
def test_metrics_equal_brute_force_with_ties_and_unknown_ends(data: st.DataObject, n_users: int, n_items: int) -> None:
    few = st.sampled_from([-1.0, 0.0, 0.5, 1.0])  # most scores tie
    users = data.draw(hnp.arrays(np.float32, (n_users, 2), elements=few))
    items = data.draw(hnp.arrays(np.float32, (n_items, 2), elements=few))
    some = st.sets(st.integers(0, n_items - 1), max_size=10) if n_items else st.just(set[int]())
    train, test = ([data.draw(some) for _ in range(n_users)] for _ in range(2))
    absent_items = [data.draw(st.integers(0, 3)) for _ in range(n_users)]
    absent_users = data.draw(st.lists(st.integers(1, 5), max_size=3))
    ks = sorted(data.draw(st.sets(st.integers(1, 30), min_size=1, max_size=3)))

    got = rank_items(
        users,
        items,
        lists_of(train),
        GroundTruth(lists_of(test), np.array(absent_items, np.int64), np.array(absent_users, np.int64)),
        ks,
    )

    for at, k in enumerate(ks):
        recall, ndcg, hit = brute_force(users @ items.T, train, test, absent_items, k)
        n = len(recall) + len(absent_users)
        known = slice(0, len(recall))
        np.testing.assert_allclose(got.per_user.recall[known, at], recall, rtol=1e-12)
        np.testing.assert_allclose(got.per_user.ndcg[known, at], ndcg, rtol=1e-12)
        assert got.per_user.hit[known, at].tolist() == hit
        assert got.recall[at] == pytest.approx(sum(recall) / max(n, 1), rel=1e-12)
        assert got.ndcg[at] == pytest.approx(sum(ndcg) / max(n, 1), rel=1e-12)
        assert got.hit_rate[at] == pytest.approx(sum(hit) / max(n, 1), rel=1e-12)
        assert got.users == n
        assert not got.per_user.recall[len(recall) :].any()
        # What could be found: items with a row, asked for by users to whom something can be listed.
        could = [one for one in range(n_users) if test[one] and len(train[one]) < n_items]
        lists = ([some[one] for one in could] for some in (train, test))
        recall, ndcg, _ = brute_force((users @ items.T)[could], *lists, [0] * len(could), k)
        assert got.of_known.users == len(recall)
        assert got.of_known.recall[at] == pytest.approx(sum(recall) / max(len(recall), 1), rel=1e-12)
        assert got.of_known.ndcg[at] == pytest.approx(sum(ndcg) / max(len(ndcg), 1), rel=1e-12)
    seen = by_item(users @ items.T, train, test, absent_items, ks)
    assert got.per_item.hits.tolist() == seen[1]
    assert got.per_item.test_pairs.tolist() == [sum(at in one for one in test) for at in range(n_items)]
    shown = [sum(times[col] > 0 for times in seen[0]) for col in range(len(ks))]
    assert got.coverage == pytest.approx([count / max(n_items, 1) for count in shown], rel=1e-12)
    assert got.unknown_users == len(absent_users)
    assert got.unknown_items == sum(absent_items)
    assert got.test_pairs == sum(map(len, test)) + sum(absent_items) + sum(absent_users)
    assert not got.is_sampled


def test_a_worked_example() -> None:
    # Ranking of the one user: items 3, 2, 1, 0; item 3 is known, so places 1 to 3 are items 2, 1, 0.
    user = np.array([[1.0]], np.float32)
    items = np.array([[0.1], [0.2], [0.3], [0.4]], np.float32)
    got = rank_items(user, items, lists_of([{3}]), GroundTruth(lists_of([{1, 3}]), np.array([2])), [1, 2])
    assert got.recall == (0.0, 0.25)  # one of four: item 3 is masked, two have no row
    assert got.ndcg == (0.0, (1 / math.log2(3)) / (1 + 1 / math.log2(3)))
    assert got.hit_rate == (0.0, 1.0)


def test_rows_that_blas_cannot_tell_apart_are_ranked_exactly(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(3)
    queries = rng.standard_normal((70, 128)).astype(np.float32)
    # 300 copies of ten rows, a third of them off by one unit in the last place of one column.
    rows = np.tile(rng.standard_normal((10, 128)).astype(np.float32), (300, 1))
    nudged = rng.choice(3000, 1000, replace=False)
    column = rng.integers(0, 128, 1000)
    rows[nudged, column] = np.nextafter(rows[nudged, column], np.float32(9))
    exact = all_scores(queries, rows)
    want = np.lexsort((np.broadcast_to(np.arange(3000), exact.shape), -exact))[:, :50]

    positions, scores = top_k(queries, rows, 50)
    np.testing.assert_array_equal(positions, want)
    np.testing.assert_array_equal(scores, np.take_along_axis(exact, want, axis=1))

    monkeypatch.setattr(top_k_module, "_QUERIES_PER_BLOCK", 13)
    monkeypatch.setattr(top_k_module, "_ROWS_PER_TILE", 192)
    monkeypatch.setattr(top_k_module, "_QUERIES_AT_ONCE", 26)
    monkeypatch.setattr(top_k_module, "_ROWS_AT_ONCE", 100)
    with threadpool_limits(1):
        again = top_k(queries, rows, 50)
    np.testing.assert_array_equal(again[0], positions)
    np.testing.assert_array_equal(again[1], scores)


def test_the_rounding_bound_holds_for_blas_and_is_not_idle() -> None:
    rng = np.random.default_rng(5)
    for dim in (1, 16, 128, 1024):
        # All of one sign and size: the worst case for the sum, within a factor of the bound.
        queries, rows = (rng.uniform(1.0, 1.1, (40, dim)).astype(np.float32) for _ in range(2))
        error = np.abs((queries @ rows.T).astype(np.float64) - queries.astype(np.float64) @ rows.T.astype(np.float64))
        bound = top_k_module._rounding_bound(queries, rows)
        assert (error.max(axis=1) <= bound).all()
        assert (bound <= (dim + 9) * 2.0**-24 * 1.21 * dim).all()


def test_zero_queries_list_rows_in_their_order() -> None:
    rows = np.random.default_rng(0).standard_normal((100, 4)).astype(np.float32)
    positions, scores = top_k(np.zeros((1, 4), np.float32), rows, 5, lists_of([{0, 2}]))
    assert positions.tolist() == [[1, 3, 4, 5, 6]]
    assert not scores.any()


def test_a_list_ends_where_no_row_is_left() -> None:
    rows = np.array([[1.0], [2.0], [3.0]], np.float32)
    positions, scores = top_k(np.ones((2, 1), np.float32), rows, 3, lists_of([{2}, {0, 1, 2}]))
    assert positions.tolist() == [[1, 0, NO_ROW], [NO_ROW] * 3]
    assert scores.tolist() == [[2.0, 1.0, -np.inf], [-np.inf] * 3]


def test_a_sample_of_users_says_so() -> None:
    one = np.ones((1, 1), np.float32)
    truth = GroundTruth(lists_of([{0}]), np.array([0]), population=7)
    got = rank_items(one, one, lists_of([set()]), truth, [1])
    assert (got.users, got.population, got.is_sampled) == (1, 7, True)


def test_unit_rows_have_length_one_and_zero_rows_stay() -> None:
    rows = np.array([[3.0, 4.0], [0.0, 0.0], [1e-20, 0.0], [1e20, 0.0]], np.float32)
    np.testing.assert_array_equal(unit_rows(rows), np.array([[0.6, 0.8], [0, 0], [1, 0], [1, 0]], np.float32))


ONE = np.ones((1, 2), np.float32)


@pytest.mark.parametrize(
    ("queries", "rows", "k", "message"),
    [
        (ONE, ONE, 0, "k is 0"),
        (ONE.astype(np.float64), ONE, 1, "queries are float64"),
        (ONE, np.array([[1, np.nan]], np.float32), 1, r"rows\[0\] is not finite"),
        (ONE, np.ones((1, 3), np.float32), 1, "queries have 2 columns, rows 3"),
        (ONE * np.float32(1e30), ONE * np.float32(1e30), 1, "beyond float32"),
    ],
)
def test_what_has_no_ranking_is_refused(
    queries: NDArray[np.float32], rows: NDArray[np.float32], k: int, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        top_k(queries, rows, k)


def test_wrong_cutoffs_positions_and_numbers_of_users_are_refused() -> None:
    items, zero = np.ones((2, 2), np.float32), np.zeros(1, np.int64)
    none, beyond = lists_of([set()]), lists_of([{2}])
    truth = GroundTruth(none, zero)
    with pytest.raises(ValueError, match="ks is"):
        rank_items(ONE, items, none, truth, [2, 1])
    with pytest.raises(ValueError, match="test position 2 is not one of the 2 rows"):
        rank_items(ONE, items, none, GroundTruth(beyond, zero), [1])
    with pytest.raises(ValueError, match="excluded position 2 is not one of the 2 rows"):
        rank_items(ONE, items, beyond, truth, [1])
    with pytest.raises(ValueError, match="exclude has 2 lists for 1 queries"):
        rank_items(ONE, items, lists_of([set(), set()]), truth, [1])
    with pytest.raises(ValueError, match="truth speaks of 1 users"):
        rank_items(np.ones((2, 2), np.float32), items, none, truth, [1])
    with pytest.raises(ValueError, match="lists of 1 users and unknown items of 2"):
        GroundTruth(none, np.zeros(2, np.int64))
