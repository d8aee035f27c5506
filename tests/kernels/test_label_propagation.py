from __future__ import annotations

from collections import Counter

import networkx as nx
import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from pipeline.kernels.label_propagation import cluster_nodes, contract, refine_labels
from pipeline.kernels.neighbor_lists import NO_WEIGHTS, WeightedGraph
from tests.strategies import csr_arrays, weighted_graphs

Csr = tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.int32]]


def csr_of(graph: nx.Graph) -> Csr:
    indptr, neighbor, weight = csr_arrays(graph)
    return indptr, neighbor, np.maximum(1, np.minimum(weight, 2.0**20)).astype(np.int32)


def volumes(data: st.DataObject, nodes: int) -> NDArray[np.int64]:
    return np.array(data.draw(st.lists(st.integers(0, 9), min_size=nodes, max_size=nodes)), np.int64)


def orders(data: st.DataObject, nodes: int) -> NDArray[np.int64]:
    return np.array(data.draw(st.permutations(range(nodes))), np.int64)


@given(weighted_graphs(), st.data())
def test_clusters_of_several_nodes_stay_within_the_bound(graph: nx.Graph, data: st.DataObject) -> None:
    volume, order = volumes(data, len(graph)), orders(data, len(graph))
    bound = data.draw(st.integers(1, 30))
    labels = cluster_nodes(WeightedGraph(*csr_of(graph), volume), order, bound, passes=3)

    first_rows = {}
    for row, label in enumerate(labels.tolist()):
        first_rows.setdefault(label, row)
    assert list(first_rows) == list(range(len(first_rows)))  # numbered by their lowest row
    for label in first_rows:
        members = np.flatnonzero(labels == label)
        assert volume[members].sum() <= max(bound, volume[members].max())
        # Labels travel along edges only: a cluster has no node without neighbours, unless alone.
        assert members.size == 1 or all(graph.degree(node) for node in members)


@given(weighted_graphs(), st.data())
def test_contraction_equals_networkx_quotient(graph: nx.Graph, data: st.DataObject) -> None:
    indptr, neighbor, weight = csr_of(graph)
    drawn = data.draw(st.lists(st.integers(0, 4), min_size=len(graph), max_size=len(graph)))
    labels = np.unique(drawn, return_inverse=True)[1].astype(np.int32)
    volume = volumes(data, len(graph))
    got = contract(WeightedGraph(indptr, neighbor, weight, volume), labels)

    want: Counter[tuple[int, int]] = Counter()
    for u in range(len(graph)):
        for e in range(indptr[u], indptr[u + 1]):
            if labels[u] != labels[neighbor[e]]:
                want[int(labels[u]), int(labels[neighbor[e]])] += int(weight[e])
    rows = np.repeat(np.arange(got.volume.size), np.diff(got.indptr))
    pairs = list(zip(rows.tolist(), got.neighbor.tolist(), strict=True))
    assert len(pairs) == len(want)  # none twice
    assert dict(zip(pairs, got.edge_weight.tolist(), strict=True)) == want
    assert got.volume.tolist() == np.bincount(labels, weights=volume).tolist()


@given(st.integers(20, 60), st.integers(0, 2**31 - 1))
def test_clusters_do_not_depend_on_the_order_within_a_row(nodes: int, seed: int) -> None:
    # Most nodes have more neighbours than the first pass asks.
    graph = nx.gnm_random_graph(nodes, 5 * nodes, seed)
    nx.set_edge_attributes(graph, 1.0, "weight")
    indptr, neighbor, _ = csr_of(graph)
    rows = np.repeat(np.arange(nodes), np.diff(indptr))
    shuffled = neighbor[np.lexsort((np.random.default_rng(seed).random(rows.size), rows))]
    lists = WeightedGraph(indptr, neighbor, NO_WEIGHTS, np.ones(nodes, np.int64))
    want = cluster_nodes(lists, np.arange(nodes), 8, 2)
    np.testing.assert_array_equal(cluster_nodes(lists._replace(neighbor=shuffled), np.arange(nodes), 8, 2), want)
    assert want.max() + 1 <= nodes / 2  # and it does cluster


@given(weighted_graphs(), st.data())
def test_parts_never_grow_beyond_the_bound_and_edges_are_not_lost_within_it(
    graph: nx.Graph, data: st.DataObject
) -> None:
    indptr, neighbor, weight = csr_of(graph)
    nodes, parts = len(graph), data.draw(st.integers(1, 4))
    volume, order = volumes(data, nodes), orders(data, nodes)
    labels = np.array(data.draw(st.lists(st.integers(0, parts - 1), min_size=nodes, max_size=nodes)), np.int32)
    before = np.bincount(labels, weights=volume, minlength=parts)
    bound = data.draw(st.integers(0, 40))
    lists = WeightedGraph(indptr, neighbor, weight, volume)
    moved = refine_labels(lists, order, labels, parts, bound, passes=2)
    after = np.bincount(moved, weights=volume, minlength=parts)
    assert (after <= np.maximum(before, bound)).all()

    def inside(found: NDArray[np.int32]) -> int:
        rows = np.repeat(np.arange(nodes), np.diff(indptr))
        return int(weight[found[rows] == found[neighbor]].sum())

    if before.max() <= bound:
        assert inside(moved) >= inside(labels)


def test_weights_decide_and_not_their_number() -> None:
    # Node 0 has two light neighbours in part 0 and one heavy neighbour in part 1.
    graph = nx.Graph()
    graph.add_nodes_from(range(4))
    graph.add_weighted_edges_from([(0, 1, 1.0), (0, 2, 1.0), (0, 3, 3.0)])
    indptr, neighbor, weight = csr_of(graph)
    labels, volume, order = np.array([0, 0, 0, 1], np.int32), np.ones(4, np.int64), np.zeros(1, np.int64)
    lists = WeightedGraph(indptr, neighbor, weight, volume)
    assert refine_labels(lists, order, labels, 2, 4, 1).tolist() == [1, 0, 0, 1]
    assert refine_labels(lists._replace(edge_weight=NO_WEIGHTS), order, labels, 2, 4, 1).tolist() == [0, 0, 0, 1]


def test_a_graph_without_nodes_has_no_clusters() -> None:
    none, start = np.empty(0, np.int64), np.zeros(1, np.int64)
    graph = WeightedGraph(start, none.astype(np.int32), NO_WEIGHTS, none)
    labels = cluster_nodes(graph, none, 1, 3)
    assert labels.size == 0
    indptr, neighbor, weight, _ = contract(graph, labels)
    assert (indptr.tolist(), neighbor.size, weight.size) == ([0], 0, 0)
