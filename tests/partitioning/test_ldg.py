from __future__ import annotations

import networkx as nx
import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pipeline.kernels.greedy_stream import ONE, REMEMBERED, ROOM, stream_labels
from pipeline.kernels.neighbor_lists import NO_WEIGHTS, WeightedGraph
from tests.strategies import csr_arrays, weighted_graphs


def slow(graph: nx.Graph, volume: list[int], order: list[int], parts: int, capacity: int) -> list[int]:
    """The rule in the words of its docstring."""
    label: dict[int, int] = {}
    remembered: dict[int, list[int]] = {}
    load = [0] * parts
    for node in order:
        if volume[node] == 0:
            continue
        near = [0] * parts
        for other in graph[node]:
            if volume[other]:
                if other in label:
                    near[label[other]] += ONE
            elif last := remembered.get(other, [])[-REMEMBERED:]:
                for part in last:
                    near[part] += ONE // len(last)
        fitting = [part for part in range(parts) if load[part] + volume[node] <= capacity]
        score = {part: near[part] * (ROOM * (capacity - load[part]) // capacity) for part in fitting}
        chosen = min(fitting or range(parts), key=lambda part: (-score.get(part, 0), load[part], part))
        label[node] = chosen
        load[chosen] += volume[node]
        for other in graph[node]:
            if volume[other] == 0:
                remembered.setdefault(other, []).append(chosen)
    return [label.get(node, 0) for node in range(len(graph))]


def lists_of(graph: nx.Graph, volume: list[int]) -> WeightedGraph:
    indptr, neighbor, _ = csr_arrays(graph)
    return WeightedGraph(indptr, neighbor, NO_WEIGHTS, np.array(volume, np.int64))


@given(weighted_graphs(max_nodes=60), st.integers(1, 5), st.integers(1, 60), st.data())
def test_the_kernel_equals_the_rule(graph: nx.Graph, parts: int, capacity: int, data: st.DataObject) -> None:
    nodes = len(graph)
    volume = data.draw(st.lists(st.sampled_from([0, 1, 2, 7]), min_size=nodes, max_size=nodes))
    order = data.draw(st.permutations(range(nodes)))
    got = stream_labels(lists_of(graph, volume), np.array(order, np.int64), parts, capacity)
    assert got.tolist() == slow(graph, volume, order, parts, capacity)


def test_a_shared_node_forgets_its_oldest_labels() -> None:
    graph = nx.star_graph(100)  # node 0 is shared
    nx.set_edge_attributes(graph, 1.0, "weight")
    volume, order = [0, *[1] * 100], [*range(1, 101), 0]
    got = stream_labels(lists_of(graph, volume), np.array(order, np.int64), 3, 40)
    assert got.tolist() == slow(graph, volume, order, 3, 40)
    assert np.bincount(got[1:]).max() <= 40


def test_a_shared_neighbour_counts_once_however_many_labels_it_remembers() -> None:
    # Nodes 0 and 1 go to part 0; 2, 3 and 4 follow shared node 6 to part 1; node 5 has 0, 1 and 6 for neighbours.
    graph = nx.Graph()
    graph.add_nodes_from(range(7))
    graph.add_edges_from([(0, 1), (2, 6), (3, 6), (4, 6), (0, 5), (1, 5), (5, 6)], weight=1.0)
    volume, order = [1, 1, 1, 1, 1, 1, 0], [0, 2, 1, 3, 4, 5, 6]
    assert stream_labels(lists_of(graph, volume), np.array(order, np.int64), 2, 100).tolist() == [0, 0, 1, 1, 1, 0, 0]
