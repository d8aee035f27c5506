from __future__ import annotations

import networkx as nx
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.kernels.neighbor_lists import neighbor_lists
from pipeline.kernels.strongest_edges import strongest_edges
from tests.strategies import csr_arrays, weighted_graphs


@settings(deadline=None)
@given(weighted_graphs(), st.integers(1, 4))
def test_an_edge_stays_if_it_is_among_the_strongest_of_an_end(graph: nx.Graph, most: int) -> None:
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
    got_indptr, got_neighbor, got_weight = strongest_edges(indptr, neighbor, whole, most)
    got_rows = np.repeat(np.arange(len(graph)), np.diff(got_indptr))
    pairs = list(zip(got_rows.tolist(), got_neighbor.tolist(), strict=True))
    assert pairs == sorted(kept)
    assert got_weight.tolist() == [strength[pair] for pair in pairs]


@settings(deadline=None)
@given(st.integers(1, 12), st.data())
def test_lists_are_those_of_networkx_in_any_order_of_edges(rows: int, data: st.DataObject) -> None:
    node = st.integers(0, rows - 1)
    drawn = data.draw(st.sets(st.tuples(node, node).map(lambda pair: (min(pair), max(pair)))))
    pairs = data.draw(st.permutations(sorted(drawn)))
    left, right = np.array(pairs, np.int32).reshape(-1, 2).T.copy()
    indptr, neighbor = neighbor_lists(left, right, rows)
    graph = nx.Graph([pair for pair in pairs if pair[0] != pair[1]])
    want = [sorted(graph[row]) if row in graph else [] for row in range(rows)]
    assert [neighbor[indptr[row] : indptr[row + 1]].tolist() for row in range(rows)] == want
