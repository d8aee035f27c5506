"""Graphs for property tests, with the awkward ones drawn on purpose."""

from __future__ import annotations

import networkx as nx
import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

#: Uneven over twelve orders of magnitude, and exact in float32 sums of a few.
_WEIGHTS = st.one_of(st.sampled_from([1.0, 2.0**-20, 0.5, 1000.0, 2.0**20]), st.integers(1, 9).map(float))


@st.composite
def weighted_graphs(draw: st.DrawFn, max_nodes: int = 24) -> nx.Graph:
    """Undirected graphs on nodes 0..n-1 with positive float weights and no self loops.

    Among them single nodes, isolated nodes, several components, stars and uneven weights.
    """
    shape = draw(st.sampled_from(["single", "star", "components", "any"]))
    graph = nx.Graph()
    if shape == "single":
        graph.add_node(0)
        return graph
    n = draw(st.integers(2, max_nodes))
    graph.add_nodes_from(range(n))
    if shape == "star":
        hub = draw(st.integers(0, n - 1))
        pairs = {(min(hub, leaf), max(hub, leaf)) for leaf in range(n) if leaf != hub}
    else:
        # Two halves with no edge between them, or one whole; few edges, so that some nodes have none.
        cut = draw(st.integers(1, n - 1)) if shape == "components" else n
        allowed = [(u, v) for u in range(n) for v in range(u + 1, n) if (u < cut) == (v < cut)]
        pairs = draw(st.sets(st.sampled_from(allowed), max_size=3 * n)) if allowed else set()
    for u, v in sorted(pairs):
        graph.add_edge(u, v, weight=draw(_WEIGHTS))
    return graph


@st.composite
def bipartite_graphs(draw: st.DrawFn, max_users: int = 12, max_items: int = 10) -> tuple[int, int, nx.Graph]:
    """(users, items, graph): users are nodes 0..users-1, items follow; edges run between the sides only."""
    users, items = draw(st.integers(1, max_users)), draw(st.integers(1, max_items))
    graph = nx.Graph()
    graph.add_nodes_from(range(users + items))
    cells = st.tuples(st.integers(0, users - 1), st.integers(users, users + items - 1))
    for user, item in sorted(draw(st.sets(cells, max_size=3 * (users + items)))):
        graph.add_edge(user, item, weight=draw(_WEIGHTS))
    return users, items, graph


def csr_arrays(graph: nx.Graph) -> tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.float64]]:
    """(start, neighbor, weight) of a graph on 0..n-1: row u is ``neighbor[start[u] : start[u + 1]]``."""
    neighbors = [sorted(graph[node]) for node in range(len(graph))]
    start = np.concatenate([[0], np.cumsum([len(row) for row in neighbors], dtype=np.int64)]).astype(np.int64)
    neighbor = np.array([v for row in neighbors for v in row], np.int32)
    weight = np.array([graph[u][v]["weight"] for u, row in enumerate(neighbors) for v in row], np.float64)
    return start, neighbor, weight
