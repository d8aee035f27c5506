"""Personalised PageRank in dense algebra and by networkx: nodes without edges keep their walks."""

from __future__ import annotations

import networkx as nx
import numpy as np
from hypothesis import strategies as st

from pipeline.kernels.transition import RestartSets, Transition, restart_sets, transition
from tests.strategies import bipartite_graphs, csr_arrays, weighted_graphs


@st.composite
def looped_graphs(draw: st.DrawFn) -> nx.Graph:
    """Weighted graphs with self loops at some nodes, which count once in the degree."""
    graph = draw(weighted_graphs())
    for node in draw(st.sets(st.sampled_from(sorted(graph)), max_size=3)):
        graph.add_edge(node, node, weight=draw(st.sampled_from([0.5, 1.0, 1000.0])))
    return graph


@st.composite
def sided_graphs(draw: st.DrawFn) -> tuple[nx.Graph, int]:
    """Bipartite graphs and the number of nodes of their first side, the smaller or the larger one."""
    users, _, graph = draw(bipartite_graphs())
    return graph, users


@st.composite
def sets_of(draw: st.DrawFn, n: int, max_sources: int = 5) -> RestartSets:
    """Restart sets on n nodes: of one node, of several, of one named twice; perhaps none at all."""
    sets = draw(st.lists(st.lists(st.integers(0, n - 1), min_size=1, max_size=4), max_size=max_sources))
    indptr = np.concatenate([[0], np.cumsum([len(some) for some in sets], dtype=np.int64)]).astype(np.int64)
    nodes = np.array([node for some in sets for node in some], np.int64)
    weights = np.array([draw(st.sampled_from([1.0, 0.25, 9.0])) for _ in nodes], np.float64)
    return restart_sets(indptr, nodes, weights)


def uneven_sets(n: int, sources: int) -> RestartSets:
    """Restart sets of one to five nodes, with shares that are no round numbers."""
    sizes = 1 + np.arange(sources) % 5
    indptr = np.concatenate([[0], np.cumsum(sizes)])
    return restart_sets(indptr, np.arange(indptr[-1]) * 7 % n, 1.0 / (3.0 + np.arange(indptr[-1]) % 11))


def transition_of(graph: nx.Graph | nx.DiGraph, left: int | None = None) -> Transition:
    indptr, indices, weights = csr_arrays(graph)
    return transition(indptr, indices, weights.astype(np.float32), left)


def dense_restart(sources: RestartSets, n: int) -> np.ndarray:
    """(sources, n) float64: the chance of each node."""
    start = np.zeros((len(sources), n))
    for i in range(len(sources)):
        entries = slice(sources.indptr[i], sources.indptr[i + 1])
        np.add.at(start[i], sources.nodes[entries], sources.shares[entries])
    return start


def dense_pagerank(graph: Transition, sources: RestartSets, restart: float) -> np.ndarray:
    """(sources, n) float64, by solving the linear system."""
    n = graph.n
    step = np.zeros((n, n))
    rows = np.repeat(np.arange(n), np.diff(graph.indptr))
    np.add.at(step, (rows, graph.indices), 1.0 if graph.weights is None else graph.weights.astype(np.float64))
    step[np.arange(n)[graph.degree == 0], np.arange(n)[graph.degree == 0]] = 1.0
    step /= step.sum(axis=1, keepdims=True)
    start = dense_restart(sources, n)
    return restart * np.linalg.solve(np.eye(n) - (1 - restart) * step.T, start.T).T


def networkx_pagerank(graph: nx.Graph | nx.DiGraph, seeds: dict[int, float], restart: float, **options) -> np.ndarray:  # type: ignore[no-untyped-def]
    # networkx calls the complement alpha: the chance of *following* an edge.
    ranks = nx.pagerank(graph, alpha=1 - restart, personalization=seeds, tol=1e-13, max_iter=20_000, **options)
    return np.array([ranks[node] for node in range(len(graph))])
