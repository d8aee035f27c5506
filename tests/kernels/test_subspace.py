"""Sums over tall matrices and what follows from them, against dense float64 algebra."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

from pipeline.kernels.csr import Csr
from pipeline.kernels.subspace import (
    combine_columns,
    cross_sums,
    eigenpairs,
    gram,
    orthonormal_columns,
    weighted_square_sums,
)

UNIT = 2.0**-53  # of float64


def tall(rows: int, columns: int, seed: int) -> np.ndarray:
    """Columns of very different lengths."""
    rng = np.random.default_rng(seed)
    return (rng.standard_normal((rows, columns)) * 10.0 ** rng.uniform(-3, 3, columns)).astype(np.float32)


@pytest.mark.parametrize("rows", [0, 1, 7, 2_048, 5_000])
def test_sums_are_those_of_float64_whatever_the_blocks(rows: int) -> None:
    x, y = tall(rows, 5, 1), tall(rows, 3, 2)
    scale = np.random.default_rng(3).uniform(0, 2, rows)
    wide, other = x.astype(np.float64), y.astype(np.float64)
    # Each sum's error is at most rows + a few roundings of the sum of absolute terms.
    bound = (rows + 8) * UNIT * np.abs(wide).T
    assert (np.abs(gram(x) - wide.T @ wide) <= bound @ np.abs(wide)).all()
    assert (np.abs(gram(x, scale) - (wide.T * scale) @ wide) <= 4 * (bound * scale) @ np.abs(wide)).all()
    assert (np.abs(cross_sums(x, y) - wide.T @ other) <= bound @ np.abs(other)).all()
    np.testing.assert_array_equal(gram(x), gram(x).T)
    np.testing.assert_array_equal(gram(x, scale), gram(x, scale).T)


def test_sums_of_parts_are_the_sum_of_the_whole() -> None:
    x = tall(3_000, 6, 4)
    parts = gram(x[:700]) + gram(x[700:701]) + gram(x[701:])
    np.testing.assert_allclose(parts, gram(x), rtol=0, atol=3_008 * UNIT * np.abs(gram(x)).max() * 4)


def test_combined_columns_are_those_of_float64_to_float32() -> None:
    x, matrix = tall(300, 6, 5), np.random.default_rng(6).standard_normal((6, 4))
    got = combine_columns(x, matrix)
    assert got.dtype == np.float32
    assert got.flags.c_contiguous
    assert got.ctypes.data % 64 == 0
    bound = (6 + 2) * 2.0**-24 * np.abs(x).astype(np.float64) @ np.abs(matrix)
    assert (np.abs(got - x.astype(np.float64) @ matrix) <= bound).all()


@given(st.integers(1, 8), st.integers(0, 8), st.integers(0, 99))
def test_columns_become_orthonormal_by_falling_singular_value(columns: int, rank: int, seed: int) -> None:
    rank = min(rank, columns)
    rng = np.random.default_rng(seed)
    left = np.linalg.qr(rng.standard_normal((40, columns)))[0]
    right = np.linalg.qr(rng.standard_normal((columns, columns)))[0]
    values = np.sort(10.0 ** rng.uniform(-2, 2, columns))[::-1]
    values[rank:] = 0.0
    y = (left * values) @ right.T
    basis = orthonormal_columns(y.T @ y, 1e-6)
    assert basis.rank == rank
    # Squares of 1e-2 beside squares of 1e2: 1e-8 of what float64 rounds to 1e-16.
    np.testing.assert_allclose(basis.values, values, atol=1e-6 * values[0])
    z = y @ basis.transform
    want = np.diag((np.arange(columns) < rank).astype(float))
    np.testing.assert_allclose(z.T @ z, want, atol=1e-6)
    assert not basis.transform[:, rank:].any()
    np.testing.assert_allclose(z @ (z.T @ y), y, atol=1e-6 * max(values[0], 1e-300))


def test_singular_values_at_the_noise_are_dropped_and_those_above_it_kept() -> None:
    for exponent, rank in ((-9, 3), (-10, 2), (-11, 2)):
        basis = orthonormal_columns(np.diag([1.0, 0.25, 2.0 ** (2 * exponent)]), 2.0**-10)
        assert basis.rank == rank
    np.testing.assert_array_equal(basis.values, [1.0, 0.5, 0.0])


def test_sums_of_nothing_have_rank_0() -> None:
    basis = orthonormal_columns(np.zeros((3, 3)), 1e-6)
    assert basis.rank == 0
    assert not basis.transform.any()
    assert not basis.values.any()


def test_signs_are_fixed_by_the_largest_entry() -> None:
    rng = np.random.default_rng(7)
    half = rng.standard_normal((6, 6))
    matrix = half + half.T
    for by_magnitude in (False, True):
        values, vectors = eigenpairs(matrix, by_magnitude=by_magnitude)
        np.testing.assert_allclose(matrix @ vectors, vectors * values, atol=1e-13 * np.abs(values).max())
        np.testing.assert_allclose(vectors.T @ vectors, np.eye(6), atol=1e-13)
        sizes = np.abs(values) if by_magnitude else values
        assert (np.diff(sizes) <= 0).all()
        largest = vectors[np.abs(vectors).argmax(axis=0), np.arange(6)]
        assert (largest > 0).all()
    basis = orthonormal_columns(half.T @ half, 1e-9)
    assert (basis.transform[np.abs(basis.transform).argmax(axis=0), np.arange(6)] > 0).all()


def test_of_equal_magnitudes_the_positive_come_first_whatever_rounding_says() -> None:
    rotation = np.linalg.qr(np.random.default_rng(3).standard_normal((6, 6)))[0]
    for noise in (1e-9, -1e-9):
        values = np.array([-1.0 - noise, 1.0, 0.5, -0.5 + noise, -0.4, 0.3])
        found, vectors = eigenpairs((rotation * values) @ rotation.T, by_magnitude=True, slack=1e-6)
        np.testing.assert_allclose(found, [1.0, -1.0, 0.5, -0.5, -0.4, 0.3], atol=1e-8)
        np.testing.assert_allclose(np.abs(vectors[:, 0] @ rotation[:, 1]), 1.0, atol=1e-8)


@pytest.mark.parametrize("has_weights", [False, True])
def test_square_sums_of_some_rows_are_those_of_the_dense_matrix(has_weights: bool) -> None:
    rng = np.random.default_rng(8)
    dense = sparse.random_array((9, 9), density=0.4, format="csr", dtype=np.float32, rng=rng)
    weights = dense.data if has_weights else None
    factors = rng.uniform(0, 3, 6)
    first_col = 3
    some = dense.toarray().astype(np.float64)[:, first_col:]
    if not has_weights:
        some = (some != 0).astype(np.float64)
    inside = sparse.csr_array(dense.toarray() * (np.arange(9) >= first_col))
    weights = inside.data if has_weights else None
    matrix = Csr(inside.indptr.astype(np.int64), inside.indices.astype(np.int32), weights)
    got = weighted_square_sums(matrix, factors, 2, 8, first_col)
    np.testing.assert_allclose(got, ((some * factors) ** 2).sum(axis=1)[2:8], rtol=1e-14)
