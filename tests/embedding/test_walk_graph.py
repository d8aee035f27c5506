"""The walk graph of a block whose edges are weighed anew, against networkx on the weights written out."""

from __future__ import annotations

import networkx as nx
import numpy as np
import pytest

from pipeline.embedding.in_memory import block_from_edges
from pipeline.embedding.ppr.walk_graph import WalkGraph, reweigh_edges
from pipeline.kernels.ppr_chebyshev import chebyshev_scores
from pipeline.kernels.transition import single_seeds


@pytest.mark.parametrize("power", [-0.5, 0.3, 1.0])
def test_a_walk_follows_the_edges_as_they_are_weighed_edges(power: float) -> None:
    graph = nx.barabasi_albert_graph(40, 3, seed=1)
    src, dst = np.array(sorted(graph.edges), np.int64).T
    weight = (1 + np.arange(src.size) % 5) * 2**32
    block = block_from_edges(np.arange(40, dtype=np.uint64), src, dst, weight)
    walks = WalkGraph.of(block, None, power)
    for (u, v), one in zip(sorted(graph.edges), weight, strict=True):
        graph[u][v]["weight"] = float(one >> 32) * float(graph.degree[u] * graph.degree[v]) ** power
    x, bound = chebyshev_scores(walks.graph, single_seeds(np.arange(40)), 0.2, 1e-3)
    for node in range(40):
        exact = nx.pagerank(graph, alpha=0.8, personalization={node: 1.0}, tol=1e-13, max_iter=1000)
        # 1e-6: weights rounded to float32, 2**-24 of each step's, over 1 / restart steps.
        assert np.abs(x[node] - [exact[other] for other in range(40)]).sum() <= bound[node] + 1e-6


def test_power_0_leaves_the_mapped_weights_as_they_are() -> None:
    block = block_from_edges(np.arange(3, dtype=np.uint64), np.array([0, 1]), np.array([1, 2]), np.full(2, 2**32))
    assert reweigh_edges(block, 0.0) is block
