from __future__ import annotations

import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.kernels import copy_refinement
from pipeline.kernels.copy_refinement import KEEP, refine_copies
from pipeline.kernels.hashing import mix
from pipeline.kernels.neighbor_lists import NO_WEIGHTS, WeightedGraph
from tests.strategies import csr_arrays, weighted_graphs

#: Rounding to 255ths: at most half of one for each pair of a node and a part around it.
_UNIT = 1 / 255


def cost(graph: nx.Graph, volume: list[int], labels: list[int]) -> float:
    """The smooth number of rows, by its definition; counts from 13 on are a whole row."""
    total = 0.0
    for node in graph:
        around: dict[int, int] = {}
        for other in graph[node]:
            if volume[other]:
                around[labels[other]] = around.get(labels[other], 0) + 1
        for label, count in around.items():
            if volume[node] == 0 or label != labels[node]:
                total += (1 - KEEP ** min(count, 13)) / (1 - KEEP**13)
    return total


@settings(max_examples=200)
@given(weighted_graphs(max_nodes=30), st.integers(1, 6), st.integers(0, 60), st.data())
def test_volumes_stay_within_the_bound_and_rows_do_not_grow(
    graph: nx.Graph, parts: int, bound: int, data: st.DataObject
) -> None:
    nodes = len(graph)
    volume = data.draw(st.lists(st.sampled_from([0, 1, 1, 2, 9]), min_size=nodes, max_size=nodes))
    labels = data.draw(st.lists(st.integers(0, parts - 1), min_size=nodes, max_size=nodes))
    order = np.array(data.draw(st.permutations(range(nodes))), np.int64)
    indptr, neighbor, _ = csr_arrays(graph)
    lists = WeightedGraph(indptr, neighbor, NO_WEIGHTS, np.array(volume, np.int64))
    got = refine_copies(lists, order, np.array(labels, np.int32), parts, bound)

    before, after = (np.bincount(found, weights=volume, minlength=parts) for found in (labels, got))
    assert (after <= np.maximum(before, bound)).all()
    assert all(mine == old for mine, old, size in zip(got.tolist(), labels, volume, strict=True) if size == 0)
    if before.max() <= bound:
        pairs = 2 * graph.number_of_edges()
        assert cost(graph, volume, got.tolist()) <= cost(graph, volume, labels) + pairs * _UNIT


def moved_by_definition(
    graph: nx.Graph, volume: list[int], order: list[int], labels: list[int], bound: int
) -> list[int]:
    """One pass, each sum counted anew from the labels."""
    parts, found = 1 + max(labels), list(labels)
    worth = [round(255 * (1 - KEEP**count) / (1 - KEEP**13)) for count in range(14)]
    load = [sum(size for size, label in zip(volume, labels, strict=True) if label == part) for part in range(parts)]

    def around(node: int, part: int, but: int) -> int:
        return sum(volume[other] > 0 and found[other] == part and other != but for other in graph[node])

    for v in (node for node in order if volume[node]):
        saved = []
        for part in range(parts):
            rows = worth[min(13, around(v, part, v))]
            for i in graph[v]:
                is_home = volume[i] > 0 and found[i] == part
                rows += 255 if is_home else worth[min(13, around(i, part, v))]
            saved.append(rows)
        fits = [part for part in range(parts) if load[part] + volume[v] <= bound and saved[part] > saved[found[v]]]
        if fits:
            best = min(fits, key=lambda part: (-saved[part], int(mix(np.uint64(v | part << 32)))))
            load[found[v]] -= volume[v]
            load[best] += volume[v]
            found[v] = best
    return found


# A slot for each part; where neighbours are few, lists of labels; slots of few neighbours, most of them in one part.
@pytest.mark.parametrize(("parts", "used", "degree"), [(3, 3, 8), (40, 40, 8), (100, 2, 22)])
@settings(max_examples=100)
@given(st.integers(2, 30), st.integers(0, 2**31 - 1))
def test_a_pass_moves_nodes_as_the_definition_says(parts: int, used: int, degree: int, nodes: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    graph = nx.gnm_random_graph(nodes, min(degree * nodes // 2, nodes * (nodes - 1) // 2), seed)
    nx.set_edge_attributes(graph, 1.0, "weight")
    volume = rng.choice([0, 1, 2, 5], nodes)
    labels = rng.integers(0, used, nodes).astype(np.int32)
    labels[0] = parts - 1
    order = rng.permutation(nodes)
    bound = int(np.bincount(labels, weights=volume, minlength=parts).max()) + int(rng.integers(0, 4))
    indptr, neighbor, _ = csr_arrays(graph)
    rows = np.repeat(np.arange(nodes), np.diff(indptr))
    shuffled = neighbor[np.lexsort((rng.random(rows.size), rows))]
    got = refine_copies(WeightedGraph(indptr, shuffled, NO_WEIGHTS, volume), order, labels, parts, bound)
    assert got.tolist() == moved_by_definition(graph, volume.tolist(), order.tolist(), labels.tolist(), bound)


@settings(max_examples=60)
@given(st.integers(12, 14), st.integers(12, 14), st.integers(1, 4), st.integers(0, 2**31 - 1))
def test_a_count_that_is_just_a_whole_row_is_one_fewer_without_the_node_itself(
    first: int, second: int, hubs: int, seed: int
) -> None:
    """Leaves of two parts around the same few hubs: whether a part has 12 or 13 others of a hub decides each move."""
    parts, rng = 120, np.random.default_rng(seed)  # so many that a hub of 15 to 29 leaves has slots, and few neighbours
    leaves = first + second
    graph = nx.complete_bipartite_graph(leaves, hubs)
    graph.remove_edges_from([pair for pair in list(graph.edges) if rng.random() < 0.02])
    nx.set_edge_attributes(graph, 1.0, "weight")
    volume = np.array([1] * leaves + [int(rng.integers(0, 2)) for _ in range(hubs)])
    labels = np.array([0] * first + [1] * second + [parts - 1] * hubs, np.int32)
    order = rng.permutation(leaves + hubs)
    indptr, neighbor, _ = csr_arrays(graph)
    got = refine_copies(WeightedGraph(indptr, neighbor, NO_WEIGHTS, volume), order, labels, parts, leaves)
    assert got.tolist() == moved_by_definition(graph, volume.tolist(), order.tolist(), labels.tolist(), leaves)


def refine(pairs: list[tuple[int, int]], volume: list[int], labels: list[int], bound: int) -> list[int]:
    graph = nx.Graph()
    graph.add_nodes_from(range(len(volume)))
    graph.add_edges_from(pairs, weight=1.0)
    indptr, neighbor, _ = csr_arrays(graph)
    order = np.arange(len(volume), dtype=np.int64)
    lists = WeightedGraph(indptr, neighbor, NO_WEIGHTS, np.array(volume, np.int64))
    return refine_copies(lists, order, np.array(labels, np.int32), 1 + max(labels), bound).tolist()


@pytest.mark.parametrize("more_parts", [0, 20])  # lists of labels, and a slot for each part
def test_a_user_follows_items_that_would_lose_a_copy(more_parts: int) -> None:
    # Items 0, 1; users 2, 3, 4 of both. User 4 alone makes copies in part 1.
    pairs = [(user, item) for user in (2, 3, 4) for item in (0, 1)]
    labels, volume = [0, 0, 0, 0, 1], [0, 0, 1, 1, 1]
    if more_parts:
        labels, volume = [*labels, more_parts], [*volume, 1]
    assert refine(pairs, volume, labels, bound=3)[2:5] == [0, 0, 0]
    assert refine(pairs, volume, labels, bound=2)[2:5] == [0, 0, 1]


def test_a_part_over_its_bound_gives_away_what_loses_least() -> None:
    # Part 0 has a clique 0-3 and node 4, which hangs on it by one edge and on node 5 by another.
    pairs = [(a, b) for a in range(4) for b in range(a)] + [(3, 4), (4, 5), (5, 6)]
    assert refine(pairs, [1] * 7, [0, 0, 0, 0, 0, 1, 1], bound=4) == [0, 0, 0, 0, 1, 1, 1]


def test_worths_rise_with_every_neighbour_so_that_one_fewer_is_known_from_its_byte() -> None:
    most = copy_refinement._MOST_COUNT
    worth = [round(255 * (1 - KEEP**count) / (1 - KEEP**most)) for count in range(most + 1)]
    assert worth[0] == 0
    assert worth[-1] == 255
    assert np.diff(worth).min() >= 1
