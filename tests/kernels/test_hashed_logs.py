"""Hashed logarithms against a dict of places that is filled score by score, in Python's own integers."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.kernels.hashed_logs import hashed_logs, hashed_logs_of_columns
from pipeline.kernels.ppr_top_k import SparseScores
from tests.oracles.hashed_rows import places_of

NODES = 40


@st.composite
def sparse_scores(draw: st.DrawFn) -> SparseScores:
    """Scores of up to five sources, some of them empty."""
    lists = draw(
        st.lists(
            st.dictionaries(st.integers(0, NODES - 1), st.floats(1e-6, 1.0), max_size=NODES), min_size=1, max_size=5
        )
    )
    indptr = np.concatenate([[0], np.cumsum([len(one) for one in lists])]).astype(np.int64)
    nodes = np.array([node for one in lists for node in one], np.int32)
    scores = np.array([score for one in lists for score in one.values()], np.float64)
    return SparseScores(indptr, nodes, scores, np.zeros(len(lists)))


def brute(
    found: SparseScores, word: np.ndarray, bound: np.ndarray, nodes: int, columns: int, dim: int
) -> list[dict[int, float]]:
    rows = []
    for source in range(found.missing.size):
        row: dict[int, float] = {}
        for at in range(found.indptr[source], found.indptr[source + 1]):
            node, score = int(found.nodes[at]), float(found.scores[at])
            if score > bound[node] and nodes * score > 1:
                for place, sign in places_of(int(word[node]), columns, dim):
                    row[place] = row.get(place, 0.0) + sign * math.log(nodes * score) / math.sqrt(columns)
        rows.append(row)
    return rows


def test_dense_columns_have_the_sums_of_sparse_rows() -> None:
    rng = np.random.default_rng(0)
    degree, word = rng.uniform(1, 9, NODES), rng.integers(0, 2**63, NODES).astype(np.uint64)
    z = rng.exponential(0.01, (NODES, 16)).astype(np.float32)
    dense = np.empty((10, 33), np.float32)
    hashed_logs_of_columns(z, degree, word, 0.004, NODES, 3, dense)
    each = np.arange(11) * NODES
    scores = (degree[:, None] * z[:, :10]).T.ravel()
    sparse = SparseScores(each, np.tile(np.arange(NODES, dtype=np.int32), 10), scores, np.zeros(10))
    rows = hashed_logs(sparse, word, 0.004 * degree, NODES, 3, 33)
    assert np.abs(rows).max() > 1
    np.testing.assert_allclose(dense, rows, atol=1e-6)


@given(
    sparse_scores(),
    st.integers(0, 2**64 - 1),
    st.sampled_from([0.0, 0.05]),
    st.sampled_from([1, 40, 10**9]),
    st.integers(1, 5),
    st.sampled_from([1, 7, 16, 1000]),
)
def test_it_is_the_sum_over_places(
    found: SparseScores, first: int, bound: float, nodes: int, columns: int, dim: int
) -> None:
    word = np.array([(first + 0x9E3779B97F4A7C15 * node) % 2**64 for node in range(NODES)], np.uint64)
    bounds = np.linspace(0, 2 * bound, NODES)
    got = hashed_logs(found, word, bounds, nodes, columns, dim)
    assert got.shape == (found.missing.size, dim)
    assert got.dtype == np.float32
    for row, want in zip(got, brute(found, word, bounds, nodes, columns, dim), strict=True):
        dense = np.zeros(dim)
        dense[list(want)] = list(want.values())
        # float64 sums of at most 200 terms of log(1e9) = 21, rounded once to float32.
        np.testing.assert_allclose(row, dense, rtol=2.0**-23, atol=200 * 21 * 2.0**-50)


def test_products_are_those_of_the_logarithms_on_average_over_hashes() -> None:
    rng = np.random.default_rng(0)
    scores = np.exp(rng.uniform(-4, 4, (2, NODES))) / 100
    found = SparseScores(
        np.array([0, NODES, 2 * NODES]), np.tile(np.arange(NODES, dtype=np.int32), 2), scores.reshape(-1), np.zeros(2)
    )
    logs = np.maximum(np.log(100 * scores), 0)
    want = logs[0] @ logs[1]
    tries, dim = 4000, 32
    for columns in (1, 4):
        made = []
        for seed in range(tries):
            word = np.random.default_rng(seed).integers(0, 2**64, NODES, np.uint64)
            rows = hashed_logs(found, word, np.zeros(NODES), 100, columns, dim).astype(np.float64)
            made.append(rows[0] @ rows[1])
        # A product's variance is at most (|x|^2 |y|^2 + (x y)^2) / dim (Weinberger et al., lemma 2): five sigmas.
        spread = math.sqrt(((logs[0] @ logs[0]) * (logs[1] @ logs[1]) + want**2) / dim / tries)
        # Places of one node may fall together: their signs then add up or cancel, zero on average.
        assert abs(np.mean(made) - want) < 5 * math.sqrt(columns) * spread


@pytest.mark.parametrize("name", ["nodes", "columns", "dim"])
def test_counts_below_one_are_refused(name: str) -> None:
    counts = {"nodes": 1, "columns": 1, "dim": 1, name: 0}
    empty = SparseScores(np.zeros(2, np.int64), np.empty(0, np.int32), np.empty(0), np.zeros(1))
    with pytest.raises(ValueError, match=f"{name} is 0"):
        hashed_logs(empty, np.empty(0, np.uint64), np.empty(0), **counts)
