"""Hard negatives: at the distance promised, free, and the same in any numbering."""

import networkx as nx
import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pipeline.evaluation.link_prediction import Nodes, hard_negatives, pair_codes
from pipeline.kernels.hashing import splitmix64
from tests.strategies import bipartite_graphs, weighted_graphs


def nodes_of(node_type: np.ndarray, degree: np.ndarray) -> Nodes:
    return Nodes(splitmix64(np.arange(node_type.size, dtype=np.uint64)), node_type, degree)


def edges_of(graph: nx.Graph) -> tuple[np.ndarray, np.ndarray]:
    ends = np.array([(a, b) for a, b in graph.edges if a != b], np.int64).reshape(-1, 2)
    return ends[:, 0].copy(), ends[:, 1].copy()


@given(weighted_graphs(), st.integers(0, 1000))
def test_on_a_plain_graph_they_are_two_hops_away(graph: nx.Graph, seed: int) -> None:
    n = len(graph)
    src, dst = edges_of(graph)
    nodes = nodes_of(np.zeros(n, np.int64), np.array([graph.degree(node) for node in range(n)]))
    edge_codes = pair_codes(src, dst, n, is_undirected=True)
    got = hard_negatives(src, dst, nodes, edge_codes, edge_codes, seed)
    for a, other in zip(src.tolist(), got.tolist(), strict=True):
        two_away = {b for b, hops in nx.single_source_shortest_path_length(graph, a, cutoff=2).items() if hops == 2}
        # 32 walks may miss one of a large graph, but never invent one.
        assert other in two_away or (other == -1 and (not two_away or n > 6))


@given(bipartite_graphs(), st.integers(0, 1000))
def test_between_two_types_they_are_three_hops_away(drawn: tuple[int, int, nx.Graph], seed: int) -> None:
    n_users, n_items, graph = drawn
    n = n_users + n_items
    src, dst = edges_of(graph)
    src, dst = np.minimum(src, dst), np.maximum(src, dst)
    node_type = (np.arange(n) >= n_users).astype(np.int64)
    nodes = nodes_of(node_type, np.bincount(np.concatenate((src, dst)), minlength=n))
    walk_codes, edge_codes = pair_codes(src, dst, n, is_undirected=True), pair_codes(src, dst, n, is_undirected=False)
    got = hard_negatives(src, dst, nodes, walk_codes, edge_codes, seed)
    for a, other in zip(src.tolist(), got.tolist(), strict=True):
        hops = nx.single_source_shortest_path_length(graph, a)
        assert other == -1 or (hops[other] == 3 and node_type[other] == 1)


def test_a_star_has_none_from_its_middle_and_a_path_one() -> None:
    nodes = nodes_of(np.zeros(4, np.int64), np.array([3, 1, 1, 1]))
    src, dst = np.zeros(3, np.int64), np.array([1, 2, 3])
    edge_codes = pair_codes(src, dst, 4, is_undirected=True)
    assert hard_negatives(src, dst, nodes, edge_codes, edge_codes, 0).tolist() == [-1, -1, -1]
    got = hard_negatives(dst, src, nodes, edge_codes, edge_codes, 0)  # from a leaf: the other leaves
    assert ((got > 0) & (got != dst)).all()


def test_positions_and_order_of_pairs_do_not_matter() -> None:
    graph = nx.gnp_random_graph(40, 0.1, seed=1)
    src, dst = edges_of(graph)
    nodes = nodes_of(np.zeros(40, np.int64), np.array([graph.degree(node) for node in range(40)]))
    edge_codes = pair_codes(src, dst, 40, is_undirected=True)
    want = hard_negatives(src, dst, nodes, edge_codes, edge_codes, 5)
    new = np.random.default_rng(0).permutation(40)  # node -> its new position
    moved = Nodes(*(np.empty_like(values) for values in (nodes.node_key, nodes.node_type, nodes.degree)))
    for to, values in zip(
        (moved.node_key, moved.node_type, moved.degree), (nodes.node_key, nodes.node_type, nodes.degree), strict=True
    ):
        to[new] = values
    order = np.random.default_rng(1).permutation(src.size)
    again = pair_codes(new[src], new[dst], 40, is_undirected=True)
    got = hard_negatives(new[src][order], new[dst][order], moved, again, again, 5)
    np.testing.assert_array_equal(got, np.where(want >= 0, new[want], -1)[order])
    assert (hard_negatives(src, dst, nodes, edge_codes, edge_codes, 6) != want).any()
