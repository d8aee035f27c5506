"""Factors of the logarithm of the transition matrix against dense algebra, for any tree, and labels read off them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from scipy import sparse

from pipeline.embedding.in_memory import block_from_edges, embed_in_memory
from pipeline.embedding.methods import CONFIG, EMBEDDING
from pipeline.embedding.settings import GraphSummary, Settings
from pipeline.evaluation.classification import classify_nodes
from pipeline.kernels.hashing import splitmix64
from tests.benchmarks.planted_coauthors import Coauthors, planted_coauthors
from tests.embedding.graphs_in_parts import ONE, GraphInParts, graphs_in_parts
from tests.embedding.methods_in_parts import in_rounds, log_transition, random_tree
from tests.oracles.log_transition import dense_adjacency, log_transition_matrix, prone, unit
from tests.oracles.simulator import Graph


def absolute(matrix: np.ndarray) -> np.ndarray:
    """(F F^T)^1/2: what rows U s^1/2 multiply to, whatever their signs."""
    left, values, _ = np.linalg.svd(matrix)
    return (left * values) @ left.T


def rounding_of(logs: np.ndarray, columns: int) -> float:
    """How far float32 takes the product of all rows from (F F^T)^1/2, in the Frobenius norm.

    Entries are sums of three logarithms, each below 2^6, of rounded arguments. Products F Z add some 32 roundings for
    each column of Z. Singular values below the share of the largest that counts as noise are left out. And
    ‖|F + E| - |F|‖ is at most 2^1/2 ‖E‖ (Araki & Yamagami, 1981).
    """
    of_entries = 2.0**-18 * np.sqrt(np.count_nonzero(logs))
    of_products = 32 * 2.0**-24 * np.sqrt(columns) * np.linalg.norm(logs)
    left_out = len(logs) * max(columns, 16) * 2.0**-23 * np.linalg.norm(logs, 2)
    return float(np.sqrt(2.0) * (of_entries + of_products) + left_out)


def adjacency_of(made: GraphInParts) -> np.ndarray:
    return dense_adjacency(made.graph)


@settings(max_examples=25, deadline=None)
@given(
    # Equal keys would have equal rows.
    graphs_in_parts(has_equal_keys=False).filter(lambda made: made.items == 0),
    st.integers(1, 9),
    st.integers(0, 3),
)
def test_all_columns_are_the_factors_for_any_tree_and_weights(made: GraphInParts, iterations: int, seed: int) -> None:
    embedding = log_transition(dim=made.nodes, oversampling=4, iterations=iterations, seed=seed, smoothing=0)
    done = in_rounds(made, embedding)
    logs = log_transition_matrix(adjacency_of(made))
    rows = done.rows.values.astype(np.float64)
    assert np.linalg.norm(rows @ rows.T - absolute(logs)) <= rounding_of(logs, made.nodes + 4)
    assert not done.finished[made.home < 0].any()


@pytest.mark.parametrize("parts", [1, 4])
@pytest.mark.parametrize("smoothing", [1, 3])
def test_smoothing_takes_the_mean_of_unit_rows_over_the_neighbours(smoothing: int, parts: int) -> None:
    made = random_tree(parts, 0, 1)
    made = made if parts > 1 else made.in_one_block()
    done = in_rounds(made, log_transition(dim=made.nodes, smoothing=smoothing))
    adjacency = adjacency_of(made)
    logs, degree = log_transition_matrix(adjacency), made.graph.strength
    own = degree.sum() / made.graph.degree.sum()
    mean = (adjacency + own * np.eye(made.nodes)) / (degree + own)[:, None]
    left, values, _ = np.linalg.svd(logs)
    want = unit(np.linalg.matrix_power(mean, smoothing) @ unit(left * np.sqrt(values)))
    size = np.sqrt(made.nodes) / 2
    has_edges = degree > 0
    got = done.finished[has_edges].astype(np.float64) / size
    # Norms divide by the shortest row: of |F| what is off by the rounding, of the row by that over its square.
    shortest = np.sqrt(np.diag(absolute(logs))[has_edges].min())
    bound = 4.0 * rounding_of(logs, made.nodes + 4) / shortest**2
    assert np.abs(got @ got.T - (want @ want.T)[np.ix_(has_edges, has_edges)]).max() <= bound < 0.05
    np.testing.assert_allclose(np.linalg.norm(got, axis=1), 1.0, rtol=1e-5)


@pytest.mark.parametrize("parts", [1, 3])
def test_leading_factors_are_within_the_bound_of_davis_and_kahan(parts: int) -> None:
    rng = np.random.default_rng(4)
    graph = planted_coauthors(240, 6, 3, mean_degree=8.0, seed=1)
    made = cut(graph, parts, rng)
    done = in_rounds(made, log_transition(dim=5, smoothing=0, eigenvalue_power=0.0))
    rows = done.rows.values[:, :5].astype(np.float64)
    logs = log_transition_matrix(adjacency_of(made))
    left, values, _ = np.linalg.svd(logs)
    squares = np.array(done.report["singular_values"][:5]) ** 2
    np.testing.assert_allclose(np.sqrt(squares), values[:5], rtol=1e-3)
    # What is off is small, and tells how far the columns can be from the exact ones.
    off = logs @ (logs.T @ rows) - rows * squares
    bound = np.linalg.norm(off) / (squares[-1] - values[5] ** 2)
    assert np.linalg.norm(rows - left[:, :5] @ (left[:, :5].T @ rows), 2) <= bound + 1e-5
    assert bound < 0.1
    np.testing.assert_allclose(rows.T @ rows, np.eye(5), atol=1e-4)


def cut(graph: Coauthors, parts: int, rng: np.random.Generator) -> GraphInParts:
    """The graph with homes drawn at random."""
    nodes = graph.community.size
    plain = Graph(np.zeros(nodes, np.uint64), graph.src, graph.dst, np.ones(graph.src.size), np.zeros(nodes, np.bool_))
    home = np.where(plain.degree > 0, rng.integers(0, parts, nodes), -1).astype(np.int32)
    return GraphInParts(
        node_key=splitmix64(np.arange(nodes, dtype=np.uint64)),
        src=graph.src,
        dst=graph.dst,
        weight=np.full(graph.src.size, ONE),
        items=0,
        home=home,
        is_split=np.zeros(nodes, np.bool_),
    )


def test_narrow_rows_and_shared_out_columns_are_refused() -> None:
    plain = {"path": "x.parquet", "source_type": "node", "target_type": "node"}
    for key, value in (("boundary_dtype", "int8"), ("shards", 2), ("boundary", "halo")):
        keys = {"method": "spectral", "form": "log_transition", key: value}
        with pytest.raises(ValidationError, match=f"embedding.{key} is "):
            CONFIG.model_validate({"input": plain, "embedding": keys})


def test_labels_of_many_small_communities_are_read_off_better_than_by_prone_or_few_products() -> None:
    graph = planted_coauthors(8_000, 320, 20, seed=2)
    labels = np.zeros((8_000, 20), np.bool_)
    labels[graph.node, graph.label] = True
    node_key = splitmix64(np.arange(8_000, dtype=np.uint64))
    block = block_from_edges(node_key, graph.src, graph.dst, np.full(graph.src.size, ONE))
    labels, keys = labels[block.node_ix], block.node_key

    def micro_f1(rows: np.ndarray) -> float:
        scaled = (unit(rows) * np.sqrt(32) / 2).astype(np.float32)
        return classify_nodes(scaled, keys, labels, (0.1,), (0, 1), strength=1.0)[0].micro_f1

    def rows_of(spec: str, **changes: object) -> np.ndarray:
        embedding = EMBEDDING.model_validate({"method": "spectral", "dim": 32, **changes})
        every = (0, 8_000)
        return embed_in_memory(block, Settings(GraphSummary(8_000, every, every), embedding, spec))[block.node_ix]

    ends = np.concatenate([graph.src, graph.dst]), np.concatenate([graph.dst, graph.src])
    adjacency = sparse.csr_array((np.ones(ends[0].size), ends), (8_000, 8_000))
    adjacency = adjacency[block.node_ix][:, block.node_ix]
    logs = micro_f1(rows_of("log_transition", form="log_transition"))
    assert logs > 1.2 * micro_f1(rows_of("plain"))
    assert logs > micro_f1(prone(adjacency, 32, propagates=False))
    assert logs > micro_f1(prone(adjacency, 32, propagates=True))
    assert micro_f1(rows_of("plain", accelerate=True, iterations=16)) > 1.2 * micro_f1(rows_of("plain"))
