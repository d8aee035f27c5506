"""Reconstruction against networkx and loops."""

import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn.metrics import average_precision_score

from pipeline.evaluation.reconstruction import average_precision, reconstruct
from pipeline.evaluation.table import Pairs, Table
from pipeline.kernels.hashing import splitmix64
from tests.strategies import bipartite_graphs, weighted_graphs


@given(hnp.arrays(np.bool_, st.integers(0, 40)))
def test_average_precision_is_scikit_learns(relevant: np.ndarray) -> None:
    got = average_precision(relevant)
    if not relevant.any():
        assert got is None
    else:
        assert got == pytest.approx(average_precision_score(relevant, -np.arange(relevant.size)), rel=1e-12)


def a_table(n: int, ranges: dict[str, tuple[int, int]], similarity: str, seed: int, n_parts: int | None) -> Table:
    rng = np.random.default_rng(seed)
    rows = rng.integers(-2, 3, (n, 3)).astype(np.float32)  # with ties and zero rows; products are exact
    types = list(ranges)
    return Table(
        rows=rows,
        node_key=splitmix64(np.arange(n, dtype=np.uint64)),
        degree=np.zeros(n, np.int64),
        ranges=ranges,
        source=types[0],
        target=types[-1],
        similarity=similarity,
        part=None if n_parts is None else rng.integers(0, n_parts, n),
    )


def pairs_of(graph: nx.Graph) -> Pairs:
    ends = np.array([(min(a, b), max(a, b)) for a, b in graph.edges if a != b], np.int64).reshape(-1, 2)
    return Pairs(ends[:, 0].copy(), ends[:, 1].copy())


def by_loops(table: Table, graph: nx.Graph, hops: int, wanted_part: str) -> tuple[float | None, int]:
    """Mean of average precisions over nodes, one after the other."""
    type_of = {node: name for name, (first, stop) in table.ranges.items() for node in range(first, stop)}
    found = []
    for node in graph:
        if not any(other != node for other in graph[node]):
            continue
        distance = nx.single_source_shortest_path_length(graph, node)
        listed = []
        for other in range(len(table.rows)):
            is_same_type = type_of[other] == type_of[node]
            is_ranked = table.is_plain or is_same_type == (hops % 2 == 0)
            is_same_part = table.part is None or table.part[other] == table.part[node]
            in_part = wanted_part == "all" or is_same_part == (wanted_part == "same")
            if other == node or not is_ranked or not in_part or distance.get(other, 99) < hops:
                continue
            use = table.similarity if table.is_plain or not is_same_type else table.feature
            rows = table.rows_for(use)
            listed.append((-float(np.float32(rows[node].astype(float) @ rows[other].astype(float))), other))
        places = [place for place, (_, other) in enumerate(sorted(listed), 1) if distance.get(other, 99) == hops]
        if places:
            found.append(np.mean([(number + 1) / place for number, place in enumerate(places)]))
    return (float(np.mean(found)) if found else None), len(found)


@settings(max_examples=40)
@given(weighted_graphs(max_nodes=12), st.integers(0, 99), st.sampled_from([None, 2]))
def test_a_plain_graph_by_loops(graph: nx.Graph, seed: int, n_parts: int | None) -> None:
    n = len(graph)
    table = a_table(n, {"node": (0, n)}, "dot", seed, n_parts)
    assert_same(table, graph, n_parts)


@settings(max_examples=40)
@given(bipartite_graphs(max_users=6, max_items=6), st.integers(0, 99))
def test_a_graph_of_two_types_by_loops(drawn: tuple[int, int, nx.Graph], seed: int) -> None:
    n_users, n_items, graph = drawn
    n = n_users + n_items
    table = a_table(n, {"user": (0, n_users), "item": (n_users, n)}, "dot", seed, 2)
    assert_same(table, graph, 2)


def assert_same(table: Table, graph: nx.Graph, n_parts: int | None) -> None:
    got = reconstruct(table, pairs_of(graph), 0, None)
    for hop in got.hops:
        kinds = {"all": hop.all} | ({"same": hop.same_part, "cross": hop.cross_part} if n_parts else {})
        for kind, figure in kinds.items():
            want, nodes = by_loops(table, graph, hop.hops, kind)
            assert figure is not None
            assert figure.nodes == nodes
            assert figure.map == (None if want is None else pytest.approx(want, rel=1e-12))
    assert (got.hops[0].same_part is None) == (n_parts is None)


def test_rows_that_hold_the_graph_score_one_and_noise_scores_by_chance() -> None:
    graph = nx.gnp_random_graph(200, 0.05, seed=2)
    table = a_table(200, {"node": (0, 200)}, "dot", 0, None)
    adjacency = nx.to_numpy_array(graph).astype(np.float32)
    vectors = np.linalg.eigh(adjacency.astype(np.float64) + 50 * np.eye(200))  # positive: u.v is the entry
    exact = (vectors[1] * np.sqrt(vectors[0])).astype(np.float32)
    found = {}
    noise = np.random.default_rng(1).standard_normal((200, 32)).astype(np.float32)
    for name, rows in (("exact", exact), ("noise", noise)):
        one = Table(**{**vars(table), "rows": rows})
        found[name] = reconstruct(one, pairs_of(graph), 0, None).hops[0].all
    assert found["exact"].map == pytest.approx(1.0, abs=1e-12)
    assert found["noise"].map is not None
    # A random order's precision is above the share of edges by about ln(n)/n; far below three times as much.
    assert found["noise"].by_chance == pytest.approx(0.05, rel=0.1)
    assert found["noise"].by_chance < found["noise"].map < 3 * found["noise"].by_chance


def test_a_sample_is_stated_and_part_of_a_larger_one() -> None:
    graph = nx.path_graph(50)
    table = a_table(50, {"node": (0, 50)}, "cosine", 0, None)
    got = reconstruct(table, pairs_of(graph), 0, 10)
    assert (got.nodes, got.population, got.is_sampled) == (10, 50, True)
    assert not reconstruct(table, pairs_of(graph), 0, 50).is_sampled
