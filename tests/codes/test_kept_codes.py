"""Codes that a night takes over: who keeps what, and that no number is given twice."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.sparse import csr_array

from pipeline.codes.clusters import find_clusters
from pipeline.codes.kept_codes import densest_clusters, extend_codes, keep_clusters, keep_tokens
from pipeline.kernels.csr import Csr
from pipeline.kernels.modularity import TwoSidedGraph, contract

GROUPS, OF_EACH = 5, 8


def graph_of(links: NDArray[np.float64]) -> TwoSidedGraph:
    matrix, half = csr_array(links), links.sum(axis=0) / 2
    adjacency = Csr(matrix.indptr.astype(np.int64), matrix.indices.astype(np.int32), matrix.data.astype(np.float32))
    return TwoSidedGraph(adjacency, half, half, np.ones(len(links)))


def planted(group: NDArray[np.int64], seed: int = 0) -> NDArray[np.float64]:
    """Links of weight 1: nine in ten inside of a group, one in twenty between two."""
    chance = np.where(group[:, None] == group[None, :], 0.9, 0.05)
    links = np.triu(np.random.default_rng(seed).random(chance.shape) < chance, 1).astype(np.float64)
    return links + links.T


@given(st.integers(0, 10**6))
def test_where_nothing_changes_every_node_keeps_its_cluster(seed: int) -> None:
    graph = graph_of(planted(np.arange(GROUPS * OF_EACH) % GROUPS, seed))
    label = find_clusters(graph, 1.0)
    numbers = label * 3 + 2  # numbers of clusters that are gone lie between
    again, apart = keep_clusters(graph, numbers.astype(np.int32), 100, 1.0, np.inf)
    np.testing.assert_array_equal(again, numbers)
    assert apart == 0


def test_new_nodes_join_or_make_clusters_and_those_of_a_torn_cluster_are_free() -> None:
    group = np.arange(GROUPS * OF_EACH) % GROUPS
    earlier = group.astype(np.int32)
    earlier[group == 4] = -1  # a group of new nodes
    earlier[0] = -1  # a new node of group 0
    links = planted(group)
    label, apart = keep_clusters(graph_of(links), earlier, 7, 1.0, np.inf)
    assert apart == 0
    np.testing.assert_array_equal(label, np.where(group == 4, 7, group))

    torn = np.where(group == 3, 6, earlier).astype(np.int32)
    torn[(group < 3) & (np.arange(len(group)) >= 30)] = 6  # one node in four of each of three groups, and group 3
    torn[group == 3] = np.where(np.arange(OF_EACH) < 2, 6, 3)
    label, apart = keep_clusters(graph_of(links), torn, 7, 1.0, np.inf)
    assert apart == 1
    assert 6 not in label
    np.testing.assert_array_equal(label[group < 4], group[group < 4])


@given(st.integers(0, 10**6), st.integers(1, 30), st.integers(1, 2))
def test_tokens_tell_nodes_apart_and_are_not_given_twice(seed: int, nodes: int, sides: int) -> None:
    random = np.random.default_rng(seed)
    side = random.integers(0, sides, nodes).astype(np.int8)
    cluster = none = np.full(nodes, -1, np.int32)
    token, tokens = none, np.zeros((4, sides), np.int32)
    used: dict[tuple[int, int, int], int] = {}
    for _ in range(4):
        before, before_token = cluster, token
        cluster = np.where(random.random(nodes) < 0.5, random.integers(0, 4, nodes), np.maximum(before, 0)).astype(
            np.int32
        )
        token, tokens = keep_tokens(cluster, side, before, before_token, tokens)
        stays = cluster == before
        np.testing.assert_array_equal(token[stays], before_token[stays])
        for node in np.flatnonzero(~stays).tolist():
            place = int(cluster[node]), int(side[node]), int(token[node])
            assert place not in used
            used[place] = node
            assert token[node] < tokens[cluster[node], side[node]]


@given(st.integers(0, 10**6), st.integers(1, 4))
def test_new_clusters_get_paths_of_their_own_beside_their_densest_neighbour(seed: int, levels: int) -> None:
    group = np.arange(24) % 8
    graph = contract(graph_of(planted(group, seed)), group.astype(np.int32), 8)
    code = np.zeros((5, levels), np.int32)
    code[:, -1] = np.arange(5)
    code[3:, 0] = 1 if levels > 1 else code[3:, 0]
    paths = extend_codes(code, densest_clusters(graph, 5), 8)
    np.testing.assert_array_equal(paths[:5], code)
    assert len(np.unique(paths, axis=0)) == 8
    links = csr_array(
        (graph.adjacency.weights, graph.adjacency.indices, graph.adjacency.indptr), shape=(8, 8)
    ).toarray()
    for cluster in range(5, 8):
        density = links[cluster, :5]
        if density.max():  # groups are of one size
            assert paths[cluster, :-1].tolist() in [
                code[one, :-1].tolist() for one in np.flatnonzero(density == density.max())
            ]
        else:
            assert paths[cluster, 0] > 1 or levels == 1
