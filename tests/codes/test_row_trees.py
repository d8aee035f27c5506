"""Clusters of rows: planted groups are clusters, bounds hold, and codes are paths."""

import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from pipeline.codes.row_cells import cells_by_cuts, count_cells, cut_cells
from pipeline.codes.row_trees import (
    RowClusters,
    TreeSize,
    find_residual_codes,
    find_row_clusters,
    keep_residual_codes,
    keep_row_clusters,
    share_out,
)
from pipeline.kernels.balanced_means import RoundedRows, choose_with_room
from pipeline.kernels.hashing import splitmix64


def ranks(rows: int) -> NDArray[np.uint64]:
    return splitmix64(np.arange(rows, dtype=np.uint64))


def planted(groups: int, of_each: int, noise: float, seed: int = 0) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Normal noise around as many random directions, in 16 columns, and the group of each row."""
    random = np.random.default_rng(seed)
    group = np.repeat(np.arange(groups), of_each)
    means = random.standard_normal((groups, 16))
    return (means[group] + noise * random.standard_normal((group.size, 16))).astype(np.float32), group


def adjusted_rand_index(one: NDArray[np.int64], other: NDArray[np.int64]) -> float:
    """Hubert & Arabie, 1985: pairs together in both, between 0 as by chance and 1."""

    def pairs(counts: list[int]) -> int:
        return sum(math.comb(count, 2) for count in counts)

    both = pairs([*Counter(zip(one.tolist(), other.tolist(), strict=True)).values()])
    of_one, of_other = (pairs([*Counter(labels.tolist()).values()]) for labels in (one, other))
    chance = of_one * of_other / math.comb(one.size, 2)
    return (both - chance) / ((of_one + of_other) / 2 - chance)


def clusters_of(rows: NDArray[np.float32], share: float, levels: int = 2, max_size: int | None = None) -> RowClusters:
    groups = math.ceil((share * len(rows)) ** (1 / levels))
    return find_row_clusters(rows, ranks(len(rows)), TreeSize(share, groups, levels, max_size))


@pytest.mark.parametrize("levels", [1, 2, 3])
def test_planted_groups_are_clusters(levels: int) -> None:
    # Twice as many clusters as groups: k-means from random rows misses groups where it has no cluster to spare.
    rows, group = planted(24, 40, 0.05)
    label = clusters_of(rows, 2 / 40, levels).label
    of_cluster = [np.bincount(group[label == one]).max() / (label == one).sum() for one in range(label.max() + 1)]
    assert min(of_cluster) > 0.95
    nearest = np.array([np.bincount(group[label == one]).argmax() for one in range(label.max() + 1)])
    assert adjusted_rand_index(group, nearest[label]) > 0.98


@given(
    st.integers(0, 10**6),
    st.integers(1, 150),
    st.integers(1, 4),
    st.sampled_from([0.05, 0.24, 0.5, 1.0]),
    st.booleans(),
)
def test_codes_are_paths_and_no_bound_is_passed(
    seed: int, count: int, levels: int, share: float, is_bounded: bool
) -> None:
    random = np.random.default_rng(seed)
    rows = random.integers(-2, 3, (count, 3)).astype(np.float32)  # many are equal
    max_size = int(random.integers(1, 9)) if is_bounded else None
    made = clusters_of(rows, share, levels, max_size)
    clusters = len(made.code)
    assert made.code.shape == (clusters, levels)
    np.testing.assert_array_equal(np.unique(made.label), np.arange(clusters))
    assert len(np.unique(made.code, axis=0)) == clusters
    assert made.code.min() == 0
    sizes = np.bincount(made.label)
    if max_size is None:
        assert clusters <= max(int(share * count), 1)
    else:
        assert sizes.max() <= max_size


def test_clusters_are_balanced_where_rows_are_not() -> None:
    random = np.random.default_rng(0)
    rows = random.standard_normal((4_000, 8)) * np.exp(random.standard_normal((4_000, 1)))
    rows[:1_500] = rows[0] + 1e-3 * rows[:1_500]
    sizes = np.bincount(clusters_of(rows.astype(np.float32), 0.1, 3).label)
    assert sizes.max() <= 2 * 10 * 2  # twice the mean, where the group above had as many clusters for its rows
    assert np.bincount(clusters_of(rows.astype(np.float32), 0.1, 3, max_size=12).label).max() <= 12


@given(st.integers(0, 10**6), st.integers(1, 300))
def test_distances_are_exact_products_of_rounded_rows(seed: int, dim: int) -> None:
    random = np.random.default_rng(seed)
    one, other = (RoundedRows.of(random.standard_normal((5, dim)).astype(np.float32)) for _ in range(2))
    whole = one.values.astype(np.int64) @ other.values.astype(np.int64).T
    assert np.abs(whole).max() < 2**24
    np.testing.assert_array_equal(one.values @ other.values.T, whole)
    rows, means = (rounded.values * rounded.scale[:, None].astype(np.float64) for rounded in (one, other))
    squares = ((rows[:, None] - means[None]) ** 2).sum(axis=2)
    got = one.distances(other) * one.scale[:, None].astype(np.float64) + (rows**2).sum(axis=1)[:, None]
    np.testing.assert_allclose(got, squares, atol=1e-4 * dim)


@pytest.mark.parametrize("dim", [1, 1_040, 1_041, 5_000])
def test_products_of_the_largest_rows_are_exact_too(dim: int) -> None:
    ones = RoundedRows.of(np.ones((1, dim), np.float32))
    assert (ones.values.astype(np.int64) ** 2).sum() < 2**24


@given(st.integers(0, 10**6), st.integers(1, 40), st.integers(1, 6))
def test_rows_choose_again_only_where_nearer_rows_have_taken_all_room(seed: int, count: int, groups: int) -> None:
    distances = np.random.default_rng(seed).random((count, groups)).astype(np.float32)
    most = -(-count // groups)
    label = choose_with_room(distances, most)
    sizes = np.bincount(label, minlength=groups)
    assert sizes.max() <= most
    for row in range(count):
        for group in np.flatnonzero(distances[row] < distances[row, label[row]]):
            assert sizes[group] == most  # what was nearer is full


@given(st.lists(st.integers(1, 30), min_size=1, max_size=8), st.data())
def test_clusters_are_shared_out_by_rows(rows: list[int], data: st.DataObject) -> None:
    clusters = data.draw(st.integers(len(rows), sum(rows)))
    shares = share_out(clusters, np.array(rows), None)
    assert shares.sum() == clusters
    assert (shares >= 1).all()
    assert (shares <= rows).all()
    bounded = share_out(clusters, np.array(rows), 3)
    assert (bounded * 3 >= rows).all()


def test_cells_hold_about_as_many_rows_and_a_row_finds_its_own_alone() -> None:
    rows, _ = planted(12, 250, 0.3)
    rows += 5  # far from the origin, which halves nothing
    cuts = cut_cells(rows[::3], ranks(1_000), 8)
    cell = cells_by_cuts(rows, cuts)
    assert cell.min() == 0
    assert np.bincount(cell, minlength=8).max() <= 1.25 * len(rows) / 8
    np.testing.assert_array_equal(cell[[5, 999, 17]], cells_by_cuts(rows[[5, 999, 17]], cuts))
    assert [count_cells(one, 128) for one in (1, 2**18, 2**18 + 1, 10**6)] == [1, 1, 2, 4]


def test_rows_keep_their_cluster_when_the_space_turns() -> None:
    rows, _ = planted(12, 20, 0.1)
    size = TreeSize(0.1, 5, 2, None)
    label = find_row_clusters(rows, ranks(240), size).label
    turn = np.linalg.qr(np.random.default_rng(1).standard_normal((16, 16)))[0].astype(np.float32)
    kept = keep_row_clusters(rows @ turn, ranks(240), label * 3, 100, size)
    np.testing.assert_array_equal(kept.label, label * 3)
    assert kept.apart == kept.beside.size == 0


def test_new_rows_join_the_nearest_cluster_and_those_of_a_torn_one_are_free() -> None:
    rows, group = planted(8, 15, 0.05)
    earlier = group.astype(np.int32)
    earlier[::15] = -1  # new rows, one of each group
    size = TreeSize(0.1, 3, 2, None)
    kept = keep_row_clusters(rows, ranks(120), earlier, 8, size)
    np.testing.assert_array_equal(kept.label, group)
    assert kept.apart == 0

    torn = np.where(group == 7, 8, earlier).astype(np.int32)
    torn[np.arange(120) % 15 > 11] = 8  # three of each group lie in one cluster, with group 7
    torn[group == 7] = np.where(np.arange(15) < 3, 8, 7)
    kept = keep_row_clusters(rows, ranks(120), torn, 9, size)
    assert kept.apart == 1
    np.testing.assert_array_equal(kept.label, group)


def test_rows_without_room_make_new_clusters_beside_the_nearest() -> None:
    rows, group = planted(4, 30, 0.05)
    earlier = np.where(np.arange(120) % 30 < 6, group, -1).astype(np.int32)
    kept = keep_row_clusters(rows, ranks(120), earlier, 4, TreeSize(0.1, 2, 2, 10))
    assert np.bincount(kept.label).max() <= 10
    assert kept.label.max() == 3 + kept.beside.size
    of_new = kept.label >= 4
    np.testing.assert_array_equal(kept.beside[kept.label[of_new] - 4], group[of_new])
    np.testing.assert_array_equal(kept.label[earlier >= 0], earlier[earlier >= 0])


def test_residual_codes_are_exact_where_rows_are_sums_of_two() -> None:
    random = np.random.default_rng(0)
    coarse, fine = 8 * random.standard_normal((5, 16)), random.standard_normal((4, 16))
    fine -= fine.mean(axis=0)  # so that means of the coarse groups are the coarse parts
    one, other = np.repeat(np.arange(5), 40), np.tile(np.arange(4), 50)
    rows = (coarse[one] + fine[other]).astype(np.float32)
    made = find_residual_codes(rows, ranks(200), 0.1, 2)  # ten numbers in each codebook
    total = np.zeros_like(rows)
    for level in range(2):
        rest, label = rows - total, made.code[:, level]
        for number in np.unique(label):
            total[label == number] += rest[label == number].mean(axis=0)
        assert label.max() < 10
    left = ((rows - total) ** 2).sum() / ((rows - coarse[one]) ** 2).sum()
    assert left < 0.25  # of what the coarse parts leave


def test_residual_codes_are_kept_and_a_row_that_moves_chooses_anew() -> None:
    rows, _ = planted(8, 15, 0.2)
    made = find_residual_codes(rows, ranks(120), 0.2, 3).code
    kept = keep_residual_codes(rows, ranks(120), made, made.max(axis=0) + 1, 0.2)
    assert (kept.code == made).all(axis=1).mean() > 0.9
    some = made.copy()
    some[::10] = -1
    kept = keep_residual_codes(rows, ranks(120), some, made.max(axis=0) + 1, 0.2)
    assert (kept.code >= 0).all()
    assert (kept.code[::10, 0] == made[::10, 0]).mean() > 0.7
