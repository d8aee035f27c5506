"""Edges weighed by the degrees of their ends, against scipy and exact arithmetic."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

from pipeline.kernels.transition import degree_weights, transition


@st.composite
def adjacencies(draw: st.DrawFn) -> sparse.csr_array:
    """Symmetric, with isolated nodes, loops and weights over many magnitudes."""
    n = draw(st.integers(1, 12))
    pairs = draw(st.lists(st.tuples(st.integers(0, n - 1), st.integers(0, n - 1)), max_size=30))
    weight = draw(st.lists(st.floats(2.0**-20, 2.0**20, width=32), min_size=len(pairs), max_size=len(pairs)))
    matrix = np.zeros((n, n), np.float32)
    for (u, v), one in zip(pairs, weight, strict=True):
        matrix[u, v] = matrix[v, u] = one
    return sparse.csr_array(matrix)


def of(matrix: sparse.csr_array) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return matrix.indptr.astype(np.int64), matrix.indices.astype(np.int32), matrix.data.astype(np.float32)


@given(adjacencies(), st.floats(-1, 1))
def test_an_entry_is_its_weight_times_the_powers_of_both_degrees(matrix: sparse.csr_array, power: float) -> None:
    indptr, indices, weights = of(matrix)
    degree = np.diff(indptr) + 1_000_000  # of a graph that this is a part of
    got = degree_weights(indptr, indices, weights, degree, power)
    diagonal = sparse.diags_array(degree.astype(float) ** power)
    want = (
        diagonal @ sparse.csr_array((weights.astype(float), indices, indptr), shape=matrix.shape) @ diagonal
    ).tocsr()
    # Two powers within 2 ulp here and 1 in numpy, three products, one rounding to float32.
    np.testing.assert_allclose(got, want.data, rtol=2.0**-24 + 12 * 2.0**-53)


@given(adjacencies(), st.floats(-1, 1))
def test_an_undirected_graph_stays_one(matrix: sparse.csr_array, power: float) -> None:
    indptr, indices, weights = of(matrix)
    got = degree_weights(indptr, indices, weights, np.diff(indptr), power)
    again = sparse.csr_array((got, indices, indptr), shape=matrix.shape)
    np.testing.assert_array_equal(again.toarray(), again.T.toarray())
    assert transition(indptr, indices, got).is_undirected


def test_weights_of_one_may_be_left_out() -> None:
    indptr, indices = np.array([0, 2, 3, 4]), np.array([1, 2, 0, 0], np.int32)
    degree = np.array([2, 1, 1])
    ones = np.ones(4, np.float32)
    np.testing.assert_array_equal(
        degree_weights(indptr, indices, None, degree, 0.3), degree_weights(indptr, indices, ones, degree, 0.3)
    )


def test_the_largest_degrees_and_weights_fit() -> None:
    indptr, indices = np.array([0, 1, 2]), np.array([1, 0], np.int32)
    heavy, light = np.full(2, 2.0**31, np.float32), np.full(2, 2.0**-32, np.float32)
    degree = np.full(2, 2**40)
    assert np.isfinite(degree_weights(indptr, indices, heavy, degree, 1.0)).all()
    assert (degree_weights(indptr, indices, light, degree, -1.0) >= np.finfo(np.float32).tiny).all()


@pytest.mark.parametrize("power", [-1.01, 1.01, float("nan")])
def test_another_power_is_refused(power: float) -> None:
    with pytest.raises(ValueError, match="from -1 to 1"):
        degree_weights(np.array([0]), np.empty(0, np.int32), None, np.empty(0, np.int64), power)
