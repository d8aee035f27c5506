"""A matrix of products that tell pairs: the least squares that it solves, its root, and rows that take it up."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pipeline.kernels.compatibility import compatibility_matrix, fold_matrix, nearest_root


def unit(rows: np.ndarray) -> np.ndarray:
    wide = rows.astype(np.float64)
    return wide / np.maximum(np.linalg.norm(wide, axis=1, keepdims=True), 1e-300)


@settings(deadline=None, max_examples=25)
@given(st.integers(1, 5), st.integers(3, 14), st.floats(0.01, 20), st.booleans(), st.integers(0, 2**32 - 1))
@example(1, 6, 1.0, False, 50001697)
def test_it_is_the_ridge_regression_over_all_products(
    dim: int, nodes: int, ridge: float, is_symmetric: bool, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(nodes, dim)).astype(np.float32)
    rows[rng.integers(nodes)] = 0
    src, dst = rng.integers(0, nodes, (2, 30))
    v = rng.uniform(0, 2, nodes)
    w = v if is_symmetric else rng.uniform(0, 2, nodes)

    matrix = compatibility_matrix(rows, (src, dst), (v, w), ridge, is_symmetric=is_symmetric)

    # The normal equations of vec(H) as one system of dim^2 unknowns, every product of both sides formed.
    x = unit(rows)
    features = np.stack([np.outer(left, right).ravel() for left in x for right in x])
    gram = features.T @ (features * np.outer(v, w).ravel()[:, None])
    left, right = (x.T @ (x * one[:, None]) for one in (v, w))
    held_left, held_right = (one + np.eye(dim) * ridge * np.trace(one) / dim for one in (left, right))
    np.testing.assert_allclose(gram, np.kron(left, right), atol=1e-9)
    target = x[src].T @ x[dst]
    target = target + target.T if is_symmetric else target
    want = np.eye(dim)  # where pairs cancel, as signs of one column do, they say nothing
    if target.any():
        want = np.linalg.solve(np.kron(held_left, held_right), target.ravel()).reshape(dim, dim)
        want *= np.sqrt(dim) / np.linalg.norm(want)
    np.testing.assert_allclose(matrix, want, atol=1e-6 * np.linalg.cond(np.kron(held_left, held_right)) + 1e-8)
    if is_symmetric:
        np.testing.assert_array_equal(matrix, matrix.T)
        root = nearest_root(matrix)
        values, vectors = np.linalg.eigh(matrix)
        np.testing.assert_allclose(root @ root, (vectors * np.maximum(values, 0)) @ vectors.T, atol=1e-9)


def test_without_pairs_nothing_turns() -> None:
    rows = np.ones((3, 2), np.float32)
    no_pairs = (np.empty(0, np.int64), np.empty(0, np.int64))
    np.testing.assert_array_equal(
        compatibility_matrix(rows, no_pairs, (np.ones(3), np.ones(3)), 1.0, is_symmetric=False), np.eye(2)
    )


def test_rows_keep_their_length_and_zero_rows_stay() -> None:
    rng = np.random.default_rng(3)
    rows, matrix = rng.normal(size=(9_000, 6)).astype(np.float32), rng.normal(size=(6, 6))
    rows[7] = 0
    folded = rows.copy()
    fold_matrix(folded, matrix)

    turned = rows.astype(np.float64) @ matrix.T
    np.testing.assert_allclose(unit(folded), unit(turned), atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(folded, axis=1), np.linalg.norm(rows, axis=1), rtol=1e-6)
    assert not folded[7].any()


def test_a_row_that_the_matrix_makes_zero_stays() -> None:
    rows = np.array([[0, 2], [3, 4]], np.float32)
    fold_matrix(rows, np.diag([1.0, 0.0]))
    np.testing.assert_array_equal(rows, np.array([[0, 2], [5, 0]], np.float32))


def test_planted_products_are_found() -> None:
    """Sides whose columns are permuted: only the matrix knows which belong together."""
    rng = np.random.default_rng(5)
    left = rng.normal(size=(400, 8)).astype(np.float32)
    right = left[:, rng.permutation(8)]
    rows = np.concatenate((left, right))
    pairs = (np.arange(400), np.arange(400, 800))
    sides = np.repeat([1.0, 0.0], 400), np.repeat([0.0, 1.0], 400)
    matrix = compatibility_matrix(rows, pairs, sides, 0.1, is_symmetric=False)
    folded = right.copy()
    fold_matrix(folded, matrix)
    before, after = (np.argmax(unit(left) @ unit(one).T, axis=1) == np.arange(400) for one in (right, folded))
    assert before.mean() < 0.3
    assert after.mean() == pytest.approx(1.0, abs=0.02)
