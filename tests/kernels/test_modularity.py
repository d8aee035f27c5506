"""Modularity of two sides, against Barber's formula on dense matrices."""

import networkx as nx
import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.sparse import block_array, csr_array

from pipeline.kernels.csr import Csr
from pipeline.kernels.modularity import LEAST_GAIN, TwoSidedGraph, contract, move_nodes, number_labels


def as_csr(matrix: csr_array) -> Csr:
    return Csr(matrix.indptr.astype(np.int64), matrix.indices.astype(np.int32), matrix.data.astype(np.float32))


def graph_of(weights: NDArray[np.float64]) -> TwoSidedGraph:
    rows, columns = weights.shape
    adjacency = csr_array(block_array([[None, csr_array(weights)], [csr_array(weights.T), None]]))
    return TwoSidedGraph(
        as_csr(adjacency),
        np.concatenate((weights.sum(axis=1), np.zeros(columns))),
        np.concatenate((np.zeros(rows), weights.sum(axis=0))),
        np.ones(rows + columns),
    )


def dense(graph: TwoSidedGraph) -> NDArray[np.float64]:
    indptr, neighbor, weight = graph.adjacency
    nodes = graph.size.size
    return np.asarray(csr_array((weight, neighbor, indptr), shape=(nodes, nodes)).toarray(), np.float64)


def modularity(weights: NDArray[np.float64], label: NDArray[np.int32], resolution: float) -> float:
    rows, total = len(weights), weights.sum()
    excess = weights - resolution * np.outer(weights.sum(axis=1), weights.sum(axis=0)) / total
    return float(excess[label[:rows, None] == label[None, rows:]].sum() / total)


@st.composite
def biadjacency(draw: st.DrawFn) -> NDArray[np.float64]:
    shape = draw(st.tuples(st.integers(1, 7), st.integers(1, 7)))
    entries = draw(st.lists(st.integers(0, 3), min_size=shape[0] * shape[1], max_size=shape[0] * shape[1]))
    weights = np.array(entries, np.float64).reshape(shape)
    weights[0, 0] += 1.0
    return weights


@given(biadjacency(), st.floats(0.25, 4.0), st.integers(1, 14), st.randoms(use_true_random=False), st.data())
def test_no_move_that_fits_gains_and_what_is_left_out_stays(
    weights: NDArray[np.float64], resolution: float, max_size: int, random: object, data: st.DataObject
) -> None:
    graph = graph_of(weights)
    nodes = graph.size.size
    order = np.array(random.sample(range(nodes), nodes), np.int32)  # type: ignore[attr-defined]
    free = order[: data.draw(st.integers(0, nodes))]
    label = np.arange(nodes, dtype=np.int32)
    alone = modularity(weights, label, resolution)
    move_nodes(graph, label, free, resolution / weights.sum(), max_size)
    reached = modularity(weights, label, resolution)
    sizes = np.bincount(label, minlength=nodes)
    assert reached >= alone - 1e-12
    assert sizes.max() <= max_size
    stays = np.setdiff1d(np.arange(nodes), free)
    np.testing.assert_array_equal(label[stays], stays)
    is_linked = dense(graph) @ np.eye(nodes)[label] > 0
    for node in free:
        for cluster in np.flatnonzero(sizes):
            if cluster != label[node] and sizes[cluster] < max_size and is_linked[node, cluster]:
                moved = label.copy()
                moved[node] = cluster
                degree = graph.row_degree[node] + graph.column_degree[node]
                least = (LEAST_GAIN * degree + 1e-12) / weights.sum()
                assert modularity(weights, moved, resolution) <= reached + least


@given(biadjacency(), st.floats(0.25, 4.0), st.data())
def test_moving_a_cluster_is_moving_its_nodes(
    weights: NDArray[np.float64], resolution: float, data: st.DataObject
) -> None:
    graph = graph_of(weights)
    nodes = graph.size.size
    label = np.array(data.draw(st.lists(st.integers(0, 3), min_size=nodes, max_size=nodes)), np.int32)
    label = np.unique(label, return_inverse=True)[1].astype(np.int32)
    clusters = int(label.max()) + 1
    contracted = contract(graph, label, clusters)
    member = np.zeros((nodes, clusters))
    member[np.arange(nodes), label] = 1.0
    expected = member.T @ dense(graph) @ member
    np.fill_diagonal(expected, 0.0)
    np.testing.assert_allclose(dense(contracted), expected, rtol=1e-12)
    upper = np.arange(clusters, dtype=np.int32)
    move_nodes(contracted, upper, np.arange(clusters, dtype=np.int32), resolution / weights.sum())
    assert modularity(weights, upper[label], resolution) >= modularity(weights, label, resolution) - 1e-12


def test_halved_degrees_make_it_the_ordinary_modularity() -> None:
    karate = nx.karate_club_graph()
    adjacency = csr_array(nx.to_scipy_sparse_array(karate, dtype=np.float64))
    half = adjacency.sum(axis=1) / 2
    graph = TwoSidedGraph(as_csr(adjacency), half, half, np.ones(half.size))
    label = np.arange(half.size, dtype=np.int32)
    move_nodes(graph, label, label.copy(), 1.0 / half.sum())
    groups = [set(np.flatnonzero(label == one).tolist()) for one in np.unique(label)]
    reached = nx.community.modularity(karate, groups)
    for node in karate:
        for number, group in enumerate(groups):
            moved = [(one | {node} if at == number else one - {node}) for at, one in enumerate(groups)]
            if node not in group:
                assert nx.community.modularity(karate, [one for one in moved if one]) <= reached + 1e-9


def test_labels_are_numbered_by_their_first_node() -> None:
    label = np.array([4, 2, 4, 0, 2], np.int32)
    assert number_labels(label) == 3
    assert label.tolist() == [0, 1, 0, 2, 1]
