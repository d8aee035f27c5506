from __future__ import annotations

from collections import defaultdict
from fractions import Fraction

import networkx as nx
import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pipeline.partitioning.kept_labels import join_neighbors, keep_labels
from pipeline.partitioning.pieces import CutGraph
from tests.strategies import weighted_graphs


def slow(graph: nx.Graph, volume: list[int], label: dict[int, int], parts: int) -> dict[int, int]:
    """The rule in the words of its docstring, with the chance of having no row elsewhere as a fraction of 2**20."""
    label = dict(label)
    load = [sum(volume[node] for node, one in label.items() if one == part) for part in range(parts)]

    def put(nodes: dict[int, int]) -> None:
        label.update(nodes)
        for node, part in nodes.items():
            load[part] += volume[node]

    worth = [1 + round(2**20 * float(Fraction(parts - 1, parts) ** degree)) for degree in range(len(graph) + 1)]
    while True:
        joined = {}
        for node in set(graph) - set(label):
            worths: dict[int, int] = defaultdict(int)
            for neighbor in graph[node]:
                if neighbor in label:
                    worths[label[neighbor]] += worth[graph.degree[neighbor]]
            if worths:
                joined[node] = min(worths, key=lambda part: (-worths[part], load[part], part))
        if not joined:
            break
        put(joined)
    rest = [part for part in nx.connected_components(graph) if not part & set(label) and len(part) > 1]
    for nodes in sorted(rest, key=lambda part: (-sum(volume[node] for node in part), min(part))):
        put(dict.fromkeys(nodes, load.index(min(load))))
    return {node: label.get(node, 0) for node in graph}


@given(weighted_graphs(max_nodes=40), st.integers(1, 5), st.data())
def test_new_nodes_join_by_the_rule_and_nobody_else_moves(graph: nx.Graph, parts: int, data: st.DataObject) -> None:
    nodes = len(graph)
    volume = data.draw(st.lists(st.sampled_from([0, 1, 2, 7]), min_size=nodes, max_size=nodes))
    had = data.draw(st.lists(st.sampled_from([-1, -1, *range(parts)]), min_size=nodes, max_size=nodes))
    edges = data.draw(st.permutations(sorted(graph.edges)))
    left, right = np.array(edges, np.int32).reshape(-1, 2).T
    seen = CutGraph(left, right, np.array(volume, np.int64), np.zeros(nodes, np.uint64))
    degree = np.array([graph.degree[node] for node in range(nodes)], np.int64)
    got = join_neighbors(seen, degree, np.array(had, np.int32), parts)
    wanted = slow(graph, volume, {node: one for node, one in enumerate(had) if one >= 0}, parts)
    assert got.tolist() == [wanted[node] for node in range(nodes)]


@given(st.lists(st.integers(0, 2**64 - 1), unique=True), st.data())
def test_who_stays_keeps_its_label(earlier: list[int], data: st.DataObject) -> None:
    key = st.integers(0, 2**64 - 1) | (st.sampled_from(earlier) if earlier else st.nothing())
    tonight = data.draw(st.lists(key, unique=True))
    labels = {key: label for label, key in enumerate(earlier)}
    keys = [np.array(one, np.uint64) for one in (tonight, earlier)]
    got = keep_labels(*keys, np.arange(len(earlier), dtype=np.int32))
    assert got.tolist() == [labels.get(key, -1) for key in tonight]
