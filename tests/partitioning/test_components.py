from __future__ import annotations

import itertools
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import networkx as nx
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy.sparse.csgraph import connected_components

from pipeline.errors import PartitionError
from pipeline.kernels.component_links import least_links
from pipeline.partitioning.wide.components import find_components, first_clusters, from_tables
from pipeline.partitioning.wide.vectors import map_vector
from tests.partitioning.graphs_in_blocks import Pairs, adjacency, blocks_of, in_blocks, in_folder


def least_of_each(nodes: int, pairs: Pairs | np.ndarray) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Scipy's components, each named by its least node."""
    count, label = connected_components(adjacency(nodes, pairs), directed=False)
    least = np.full(count, nodes)
    np.minimum.at(least, label, np.arange(nodes))
    return least[label]


def components_of(
    folder: Path, nodes: int, pairs: Pairs | np.ndarray, worker_bytes: int
) -> tuple[np.ndarray, int, int]:
    graph = in_blocks(folder, nodes, pairs, worker_bytes)
    tasks = in_folder(folder / "components")
    vector = find_components(tasks, graph)
    rounds = sum(record.task == "resolve" for record in tasks.records)
    return np.array(map_vector(vector)), rounds, len(graph.starts)


def shuffled_path(nodes: int) -> np.ndarray:
    order = np.random.default_rng(0).permutation(nodes)
    return np.stack([order[:-1], order[1:]], axis=1)


@pytest.mark.parametrize(
    ("name", "nodes", "pairs", "most_rounds"),
    [
        ("path", 100_000, np.stack([np.arange(99_999), np.arange(1, 100_000)], axis=1), 2),
        ("shuffled path", 100_000, shuffled_path(100_000), 12),
        ("star", 20_000, np.stack([np.full(19_999, 12_345), np.delete(np.arange(20_000), 12_345)], axis=1), 2),
        ("components", 40_000, np.arange(40_000)[::-1].reshape(-1, 2), 2),
        ("isolated nodes", 5_000, np.array([[4_999, 17], [17, 17]]), 2),
    ],
)
def test_components_are_scipys(tmp_path: Path, name: str, nodes: int, pairs: np.ndarray, most_rounds: int) -> None:
    worker_bytes = 4 * 2**20 if name != "star" else 20_000 * 72 + 2**10
    component, rounds, blocks = components_of(tmp_path, nodes, pairs, worker_bytes)
    np.testing.assert_array_equal(component, least_of_each(nodes, pairs))
    assert blocks > 1 or nodes == 5_000
    assert rounds <= most_rounds


@settings(max_examples=20)
@given(st.integers(1, 30), st.data(), st.sampled_from([1_500, 4_000, 10**6]))
def test_components_are_networkxs_in_blocks_of_any_size(nodes: int, data: st.DataObject, worker_bytes: int) -> None:
    end = st.integers(0, nodes - 1)
    pairs = data.draw(st.lists(st.tuples(end, end), unique_by=lambda p: (min(p), max(p)), max_size=20))
    plain = nx.empty_graph(nodes)
    plain.add_edges_from(pairs)
    with TemporaryDirectory() as folder:
        component, _, _ = components_of(Path(folder), nodes, pairs, worker_bytes)
    for members in nx.connected_components(plain):
        assert {int(component[node]) for node in members} == {min(members)}


@given(st.lists(st.tuples(st.integers(0, 20), st.integers(0, 20)), min_size=1, max_size=30))
def test_links_are_the_same_with_few_labels_and_with_many(pairs: list[tuple[int, int]]) -> None:
    left, right = np.array(pairs, np.int32).T.copy()
    few = least_links(left, right, 21)
    many = least_links(left, right, 10**6)
    for one, other in zip(few, many, strict=True):
        np.testing.assert_array_equal(one, other)


@settings(max_examples=12)
@example([1, 3, 2], 2, True)  # one seed for nodes of packed components and of a large one
@given(st.lists(st.integers(1, 9), min_size=1, max_size=12), st.integers(1, 60), st.booleans())
def test_small_components_are_packed_and_no_cluster_is_over_the_cap(
    sizes: list[int], cap: int, with_seeds: bool
) -> None:
    plain = nx.disjoint_union_all([nx.path_graph(size) for size in sizes])
    nodes = len(plain)
    with TemporaryDirectory() as name:
        folder = Path(name)
        graph = in_blocks(folder, nodes, list(plain.edges), 2_000)
        component = find_components(in_folder(folder / "components"), graph)
        seeds = None
        if with_seeds:
            seeds = folder / "seeds.npy"
            np.save(seeds, np.zeros(nodes, np.int32))
        clusters = first_clusters(in_folder(folder / "clusters"), graph, component, cap, seeds)
        labels, load, number = (np.array(map_vector(f)) for f in (clusters.labels, clusters.load, component))
        volume = np.concatenate([block.volume for block in blocks_of(graph)])
    np.testing.assert_array_equal(load, np.bincount(labels, weights=volume, minlength=nodes))
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        assert volume[members].sum() <= cap or members.size == 1
    totals = np.bincount(number, weights=volume, minlength=nodes)
    for least in np.unique(number):
        if totals[least] <= cap:
            assert np.unique(labels[number == least]).size == 1
        elif not with_seeds:
            assert np.unique(labels[number == least]).size == np.count_nonzero(number == least)
    # First fit in order: two bins that follow each other never fit into one.
    bins = sorted({int(labels[least]) for least in np.unique(number) if totals[least] <= cap})
    filled = [load[label] for label in bins]
    assert all(one + other > cap for one, other in itertools.pairwise(filled))


def labels_in_files(folder: Path, ids: list[int], labels: list[int | None]) -> list[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    for number in range(2):
        table = pa.table({"id": ids[number::2], "label": pa.array(labels[number::2], pa.int64())})
        files.append(folder / f"{number}.parquet")
        pq.write_table(table, files[-1])
    return files


def test_labels_from_tables_are_named_by_their_least_node(tmp_path: Path) -> None:
    graph = in_blocks(tmp_path, 6, [(0, 1), (2, 3), (4, 5)], 1_000)
    assert len(graph.starts) > 1
    files = labels_in_files(tmp_path / "labels", [5, 3, 1, 4, 2, 0], [1, 5, None, 1, 5, 5])
    vector = from_tables(in_folder(tmp_path / "from"), files, "label", graph)
    np.testing.assert_array_equal(map_vector(vector), [0, 1, 0, 0, 1, 1])


@pytest.mark.parametrize(("ids", "labels"), [([0, 1, 1, 2], [0, 0, 0, 0]), ([0, 1], [0, 0]), ([0, 1, 2], [0, 9, 0])])
def test_labels_that_are_not_one_for_each_node_are_refused(
    tmp_path: Path, ids: list[int], labels: list[int | None]
) -> None:
    graph = in_blocks(tmp_path, 3, [(0, 1), (1, 2)], 10_000)
    files = labels_in_files(tmp_path / "labels", ids, labels)
    with pytest.raises(PartitionError, match=r"expected once each and below 3.*partition\.components .* 'own'"):
        from_tables(in_folder(tmp_path / "from"), files, "label", graph)
