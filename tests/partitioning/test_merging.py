from __future__ import annotations

from fractions import Fraction
from itertools import combinations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from pipeline.partitioning.merging import hierarchy, merged_paths, merges


@st.composite
def parts(draw: st.DrawFn) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    count = draw(st.integers(1, 9))
    edges = np.zeros((count, count), np.int64)
    for a, b in combinations(range(count), 2):
        edges[a, b] = edges[b, a] = draw(st.sampled_from([0, 0, 1, 1, 2, 5, 40]))
    return edges, np.array(draw(st.lists(st.integers(1, 20), min_size=count, max_size=count)), np.int64)


def by_all_pairs(edges: NDArray[np.int64], volume: NDArray[np.int64]) -> list[tuple[int, int, Fraction]]:
    """Look at every pair at every step, with exact densities between sets of parts."""
    groups = {part: [part] for part in range(volume.size)}
    cap, found = 2 * int(volume.max()), []
    while len(groups) > 1:
        options = []
        for a, b in combinations(sorted(groups), 2):
            sizes = [int(volume[groups[part]].sum()) for part in (a, b)]
            between = int(edges[np.ix_(groups[a], groups[b])].sum())
            if sum(sizes) <= cap:
                options.append((-Fraction(between, sizes[0] * sizes[1]), a, b))
        if not options:
            cap *= 2
            continue
        density, a, b = min(options)
        found.append((a, b, -density))
        groups[a] += groups.pop(b)
    return found


@given(parts())
def test_merges_are_those_found_by_looking_at_all_pairs(
    drawn: tuple[NDArray[np.int64], NDArray[np.int64]],
) -> None:
    got, want = list(merges(*drawn)), by_all_pairs(*drawn)
    assert [(merge.first, merge.second) for merge in got] == [(a, b) for a, b, _ in want]
    assert [merge.density for merge in got] == [float(density) for _, _, density in want]

    paths, inversions = hierarchy(*drawn)
    density: dict[int, Fraction] = {}
    expected = 0
    for a, b, dense in want:
        expected += any(part in density and dense > density[part] for part in (a, b))
        density[a] = dense
    assert inversions == expected
    # Each inner node of the tree is one merge, and has two children.
    inner = {path[:depth] for path in paths for depth in range(len(path))}
    assert len(inner) == len(want)
    assert len(set(paths)) == len(paths)
    assert all((*path, branch) in inner | set(paths) for path in inner for branch in (0, 1))


def test_dense_pairs_come_first_and_a_denser_merge_above_is_an_inversion() -> None:
    edges = np.array([[0, 9, 1, 0], [9, 0, 0, 1], [1, 0, 0, 8], [0, 1, 8, 0]])
    assert hierarchy(edges, np.ones(4, np.int64)) == ([(0, 0), (0, 1), (1, 0), (1, 1)], 0)
    # 0 and 1 go first; their pair and 2 are too large together until the cap doubles, so that 2 first merges with 3.
    edges = np.array([[0, 10, 9, 9], [10, 0, 9, 9], [9, 9, 0, 1], [9, 9, 1, 0]])
    assert hierarchy(edges, np.ones(4, np.int64)) == ([(0, 0), (0, 1), (1, 0), (1, 1)], 1)


def test_each_cut_of_a_tree_becomes_a_hierarchy_of_its_own() -> None:
    leaves = [(0, 0), (0, 1, 0), (0, 1, 1), (0, 1, 2), (0, 2)]
    edges = np.zeros((5, 5), np.int64)
    for a, b, count in [(1, 3, 9), (1, 2, 1), (0, 4, 5), (2, 4, 1)]:
        edges[a, b] = edges[b, a] = count
    paths, _ = merged_paths(leaves, edges, np.array([3, 1, 1, 1, 3]))
    assert paths == [(0, 0, 0), (0, 1, 0, 0), (0, 1, 1), (0, 1, 0, 1), (0, 0, 1)]


def test_one_leaf_and_leaves_without_edges() -> None:
    assert merged_paths([(0,)], np.zeros((1, 1), np.int64), np.ones(1, np.int64)) == ([(0,)], 0)
    paths, inversions = hierarchy(np.zeros((4, 4), np.int64), np.ones(4, np.int64))
    assert (paths, inversions) == ([(0, 0), (0, 1), (1, 0), (1, 1)], 0)
