"""Hops against networkx."""

import networkx as nx
import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pipeline.kernels.hop_distances import FAR, hop_distances
from tests.strategies import csr_arrays, weighted_graphs


@given(weighted_graphs(), st.integers(0, 5), st.data())
def test_hops_are_those_of_networkx(graph: nx.Graph, hops: int, data: st.DataObject) -> None:
    source = data.draw(st.sampled_from(sorted(graph)))
    indptr, neighbor, _ = csr_arrays(graph)
    n = len(graph)
    distance, queue = np.zeros(n, np.int8), np.empty(n, np.int64)
    hop_distances(indptr, neighbor.astype(np.int64), source, hops, distance, queue)
    want = nx.single_source_shortest_path_length(graph, source, cutoff=hops)
    assert distance.tolist() == [want.get(node, FAR) for node in range(n)]
