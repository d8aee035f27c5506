"""Bottom-up hierarchies, against merging the densest pair of a dense matrix again and again."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.sparse import csr_array

from pipeline.codes import hierarchy
from pipeline.codes.hierarchy import Merges, merge_clusters, paths_of
from pipeline.kernels.csr import Csr
from pipeline.kernels.modularity import TwoSidedGraph


def graph_of(links: NDArray[np.float64], sizes: NDArray[np.float64]) -> TwoSidedGraph:
    matrix = csr_array(links)
    adjacency = Csr(matrix.indptr.astype(np.int64), matrix.indices.astype(np.int32), matrix.data.astype(np.float32))
    return TwoSidedGraph(adjacency, links.sum(axis=0), links.sum(axis=0), sizes)


def greedy_groups(links: NDArray[np.float64], sizes: NDArray[np.float64], groups: int) -> set[frozenset[int]]:
    """Merge the two groups with the densest link until so many are left."""
    left = [frozenset([number]) for number in range(len(sizes))]
    while len(left) > groups:
        pairs = [(one, other) for at, one in enumerate(left) for other in left[:at]]
        density = [
            links[np.ix_(list(one), list(other))].sum() / (sizes[list(one)].sum() * sizes[list(other)].sum())
            for one, other in pairs
        ]
        one, other = pairs[int(np.argmax(density))]
        left = [group for group in left if group not in (one, other)] + [one | other]
    return set(left)


def groups_of(label: NDArray[np.int32]) -> set[frozenset[int]]:
    return {frozenset(np.flatnonzero(label == one).tolist()) for one in np.unique(label)}


def random_links(seed: int, clusters: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    random = np.random.default_rng(seed)
    links = np.triu(random.random((clusters, clusters)).astype(np.float32).astype(np.float64), 1)
    return links + links.T, random.integers(1, 6, clusters).astype(np.float64)


@given(st.integers(0, 10**6), st.integers(2, 14), st.data())
def test_every_cut_is_that_of_merging_the_densest_pair(seed: int, clusters: int, data: st.DataObject) -> None:
    links, sizes = random_links(seed, clusters)
    merges = merge_clusters(graph_of(links, sizes))
    assert merges.inversions == 0
    assert (np.diff(merges.density) <= 1e-12).all()
    groups = data.draw(st.integers(1, clusters))
    assert groups_of(merges.cut(groups)) == greedy_groups(links, sizes, groups)


def test_what_no_link_joins_is_joined_last_the_smallest_first() -> None:
    links = np.zeros((5, 5))
    links[0, 1] = links[1, 0] = 1.0
    merges = merge_clusters(graph_of(links, np.array([1.0, 1.0, 9.0, 3.0, 4.0])))
    assert merges.density.tolist() == [1.0, 0.0, 0.0, 0.0]
    assert groups_of(merges.cut(3)) == {frozenset([0, 1, 3]), frozenset([2]), frozenset([4])}
    assert merges.cut(1).tolist() == [0] * 5


def test_a_hub_of_equal_neighbours_ends(monkeypatch: object) -> None:
    leaves = 3_000
    links = np.zeros((leaves + 1, leaves + 1))
    links[0, 1:] = links[1:, 0] = 1.0
    merges = merge_clusters(graph_of(links, np.ones(leaves + 1)))
    assert merges.first.size == leaves
    assert merges.cut(1).max() == 0


@given(st.integers(0, 10**6), st.integers(1, 40), st.integers(1, 5))
def test_paths_are_unique_and_their_prefixes_nested_cuts(seed: int, clusters: int, levels: int) -> None:
    links, sizes = random_links(seed, clusters)
    merges = merge_clusters(graph_of(links, sizes))
    paths = paths_of(merges, levels)
    assert paths.shape == (clusters, levels)
    for level in range(1, levels + 1):
        prefixes, group = np.unique(paths[:, :level], axis=0, return_inverse=True)
        assert abs(len(prefixes) - clusters ** (level / levels)) <= 1
        assert groups_of(group) == groups_of(merges.cut(len(prefixes)))
        for above in np.unique(prefixes[:, :-1], axis=0):
            children = prefixes[(prefixes[:, :-1] == above).all(axis=1), -1]
            assert sorted(children.tolist()) == list(range(len(children)))


def test_an_order_of_merges_holds_parts_before_the_whole() -> None:
    merges = Merges(3, np.array([0, 2]), np.array([1, 0]), np.array([2.0, 1.0]), 0)
    assert merges.cut(2).tolist() == [0, 0, 1]
    assert hierarchy.paths_of(merges, 1)[:, 0].tolist() == [0, 1, 2]
