from __future__ import annotations

from random import Random

import networkx as nx
import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pipeline.kernels.neighbor_lists import WeightedGraph
from pipeline.kernels.strongest_edges import keep_strongest_edges
from tests.strategies import csr_arrays, weighted_graphs


@given(weighted_graphs(), st.integers(1, 4), st.randoms(use_true_random=False))
def test_an_edge_stays_if_it_is_among_the_strongest_of_an_end(graph: nx.Graph, most: int, random: Random) -> None:
    indptr, neighbor, weight = csr_arrays(graph)
    whole = np.maximum(1, weight).astype(np.int32)
    rows = np.repeat(np.arange(len(graph)), np.diff(indptr))
    strength = dict(zip(zip(rows.tolist(), neighbor.tolist(), strict=True), whole.tolist(), strict=True))

    kept = {
        pair
        for row in graph
        for other in sorted(graph[row], key=lambda v, row=row: (-strength[row, v], v))[:most]
        for pair in ((row, other), (other, row))
    }
    # The order within a row counts for nothing.
    entry = np.array(sorted(range(rows.size), key=lambda e: (rows[e], random.random())), np.int64)
    neighbor, whole = neighbor[entry], whole[entry]
    volume = np.arange(len(graph))
    got = keep_strongest_edges(WeightedGraph(indptr, neighbor, whole, volume), most)
    got_rows = np.repeat(np.arange(len(graph)), np.diff(got.indptr))
    pairs = list(zip(got_rows.tolist(), got.neighbor.tolist(), strict=True))
    assert pairs == sorted(kept)
    assert got.edge_weight.tolist() == [strength[pair] for pair in pairs]
