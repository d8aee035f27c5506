from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.partitioning.wide.contraction import contract, project
from pipeline.partitioning.wide.node_blocks import BlockGraph
from pipeline.partitioning.wide.propagation import LabelPropagation, NodeLabels
from pipeline.partitioning.wide.vectors import map_vector
from tests.partitioning.graphs_in_blocks import blocks_of, dense, in_blocks, in_folder


def labelled(graph: BlockGraph, folder: Path, labels: np.ndarray, count: int) -> NodeLabels:
    folder.mkdir(parents=True, exist_ok=True)
    load = np.bincount(labels, weights=volumes(graph), minlength=count).astype(np.int64)
    np.save(folder / "labels.npy", labels.astype(np.int32))
    np.save(folder / "load.npy", load)
    return NodeLabels(folder / "labels.npy", folder / "load.npy", count)


def volumes(graph: BlockGraph) -> np.ndarray:
    return np.concatenate([block.volume for block in blocks_of(graph)])


def read(graph: BlockGraph, labels: NodeLabels) -> tuple[np.ndarray, np.ndarray]:
    found, load = np.array(map_vector(labels.labels)), np.array(map_vector(labels.load))
    np.testing.assert_array_equal(load, np.bincount(found, weights=volumes(graph), minlength=labels.count))
    return found, load


def random_graph(seed: int, nodes: int) -> np.ndarray:
    plain = nx.powerlaw_cluster_graph(nodes, 3, 0.5, seed=seed)
    return np.array(plain.edges)


@settings(max_examples=10)
@given(st.integers(0, 2**31), st.integers(40, 80), st.integers(12, 60), st.none() | st.integers(4, 12))
def test_no_cluster_grows_over_the_cap(seed: int, nodes: int, cap: int, hub_degree: int | None) -> None:
    with TemporaryDirectory() as name:
        folder = Path(name)
        graph = in_blocks(folder, nodes, random_graph(seed, nodes), 20_000, hub_degree=hub_degree)
        start = labelled(graph, folder, np.arange(nodes), nodes)
        found, load = read(graph, LabelPropagation(in_folder(folder / "rounds"), seed).cluster(graph, start, cap, 4))
        volume = volumes(graph)
        for label in np.unique(found):
            holders = volume[found == label]
            assert load[label] <= cap or np.count_nonzero(holders) <= 1


@pytest.fixture(scope="module")
def groups() -> np.ndarray:
    """Eight dense groups of 25 nodes with a few edges between them."""
    plain = nx.random_partition_graph([25] * 8, 0.5, 0.01, seed=1)
    return np.array(plain.edges)


def test_labels_do_not_depend_on_the_size_of_blocks(groups: np.ndarray, tmp_path: Path) -> None:
    answers, blocks = [], []
    for number, worker_bytes in enumerate((12_000, 40_000, 10**8)):
        folder = tmp_path / str(number)
        graph = in_blocks(folder, 200, groups, worker_bytes)
        start = labelled(graph, folder, np.arange(200), 200)
        clustered = LabelPropagation(in_folder(folder / "rounds"), 3).cluster(graph, start, 400, 5)
        parts = labelled(graph, folder / "parts", np.arange(200) % 4, 4)
        refined = LabelPropagation(in_folder(folder / "refine"), 3).refine(graph, parts, 2_000, 4)
        answers.append([read(graph, clustered)[0].tolist(), read(graph, refined)[0].tolist()])
        blocks.append(len(graph.starts))
    assert blocks[0] > blocks[1] > blocks[2] == 1
    assert answers[0] == answers[1] == answers[2]


def test_clusters_lie_inside_of_dense_groups(groups: np.ndarray, tmp_path: Path) -> None:
    graph = in_blocks(tmp_path, 200, groups, 40_000)
    start = labelled(graph, tmp_path, np.arange(200), 200)
    found, _ = read(graph, LabelPropagation(in_folder(tmp_path / "rounds"), 0).cluster(graph, start, 10**6, 8))
    inside = [np.unique(found[25 * group : 25 * group + 25], return_counts=True)[1].max() for group in range(8)]
    assert sum(inside) >= 180  # a few nodes have more neighbours elsewhere


def test_parts_over_the_bound_give_nodes_away_and_the_cut_shrinks(groups: np.ndarray, tmp_path: Path) -> None:
    graph = in_blocks(tmp_path, 200, groups, 40_000)
    matrix, most = dense(graph), int(1.1 * graph.volume / 4)
    scattered = np.where(np.arange(200) < 100, 0, np.arange(200) % 4)
    start = labelled(graph, tmp_path, scattered, 4)
    assert read(graph, start)[1].max() > 1.5 * most
    found, load = read(graph, LabelPropagation(in_folder(tmp_path / "rounds"), 0).refine(graph, start, most, 12))
    assert load.max() <= most
    cut, cut_before = (matrix[labels[:, None] != labels[None, :]].sum() for labels in (found, scattered))
    assert cut < cut_before


def test_leaves_of_a_star_are_put_together(tmp_path: Path) -> None:
    graph = in_blocks(tmp_path, 101, np.stack([np.zeros(100, int), np.arange(1, 101)], axis=1), 8_000)
    assert len(graph.starts) > 1
    start = labelled(graph, tmp_path, np.arange(101), 101)
    found, load = read(graph, LabelPropagation(in_folder(tmp_path / "rounds"), 0).cluster(graph, start, 10, 2))
    assert np.unique(found[1:]).size == 10  # a hundred of volume 1, ten to a cluster
    assert load[np.unique(found[1:])].max() <= 10


@settings(max_examples=15)
@given(st.integers(0, 2**31), st.integers(6, 40), st.integers(1, 12), st.none() | st.integers(3, 6))
def test_contraction_is_the_product_with_the_matrix_of_members(
    seed: int, nodes: int, clusters: int, hub_degree: int | None
) -> None:
    rng = np.random.default_rng(seed)
    with TemporaryDirectory() as name:
        folder = Path(name)
        graph = in_blocks(folder, nodes, random_graph(seed, nodes), 12_000, hub_degree=hub_degree)
        labels = labelled(graph, folder, rng.choice(nodes, clusters)[rng.integers(0, clusters, nodes)], nodes)
        coarse, cluster = contract(in_folder(folder / "one"), graph, labels, 12_000)
        found, of_node = np.array(map_vector(labels.labels)), np.array(map_vector(cluster))
        np.testing.assert_array_equal(of_node, np.unique(found, return_inverse=True)[1])
        members = np.eye(coarse.nodes, dtype=np.int64)[of_node]
        matrix = dense(graph)
        if graph.role is not None:
            shared = np.array(map_vector(graph.role)) == 1
            matrix[np.ix_(shared, shared)] = 0  # these edges wait until homes are known
        expected = members.T @ matrix @ members
        np.fill_diagonal(expected, 0)
        np.testing.assert_array_equal(dense(coarse), expected)
        np.testing.assert_array_equal(volumes(coarse), members.T @ volumes(graph))
        # Once more, with weights now, and back.
        half = labelled(coarse, folder / "half", np.arange(coarse.nodes) // 2 * 2, coarse.nodes)
        coarser, parent = contract(in_folder(folder / "two"), coarse, half, 12_000)
        pairs = np.eye(coarser.nodes, dtype=np.int64)[np.arange(coarse.nodes) // 2]
        expected = pairs.T @ expected @ pairs
        np.fill_diagonal(expected, 0)
        np.testing.assert_array_equal(dense(coarser), expected)
        own = labelled(coarser, folder / "own", np.arange(coarser.nodes), coarser.nodes)
        back = project(in_folder(folder / "back"), coarse.nodes, parent, own)
        np.testing.assert_array_equal(map_vector(back.labels), np.arange(coarse.nodes) // 2)
