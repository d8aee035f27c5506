"""Scores by a filter of the graph, in dense float64 algebra: eigenvectors, powers and products of whole matrices."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipeline.kernels.graph_filter import FilterRule
from pipeline.kernels.transition import Transition


def dense_operator(
    graph: Transition, rows: tuple[int, int], columns: tuple[int, int]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return P = M^T M (columns, columns), B (rows, columns), and the columns' degrees."""
    dense = np.zeros((graph.n, graph.n))
    row = np.repeat(np.arange(graph.n), np.diff(graph.indptr))
    np.add.at(dense, (row, graph.indices), 1.0 if graph.weights is None else graph.weights.astype(np.float64))
    edges = dense[slice(*rows), slice(*columns)]
    degree_of_rows, degree = edges.sum(axis=1), edges.sum(axis=0)
    scaled = _power(degree_of_rows, -0.5)[:, None] * edges * _power(degree, -0.5)
    return scaled.T @ scaled, edges, degree


def leading_vectors(
    graph: Transition, rows: tuple[int, int], columns: tuple[int, int], rank: int
) -> NDArray[np.float32]:
    """Return the leading eigenvectors of P as float32 columns, fewer where P has fewer."""
    vectors = np.linalg.eigh(dense_operator(graph, rows, columns)[0])[1]
    return np.ascontiguousarray(vectors[:, ::-1][:, :rank], np.float32)


def dense_filter(
    graph: Transition,
    rows: tuple[int, int],
    columns: tuple[int, int],
    sources: NDArray[np.int64],
    basis: NDArray[np.float32],
    rule: FilterRule,
) -> NDArray[np.float64]:
    """Return the scores (columns, sources): h on the eigenvalues of P, and the basis as it is."""
    operator, edges, degree = dense_operator(graph, rows, columns)
    values, vectors = np.linalg.eigh(operator)
    response = np.polynomial.chebyshev.chebval(2 * values - 1, list(rule.coefficients))
    low_pass = basis.astype(np.float64)
    filtered = vectors * response @ vectors.T + rule.alpha * low_pass @ low_pass.T
    signals = edges[sources - rows[0]].T * _power(degree, -rule.beta)[:, None]
    return _power(degree, rule.beta)[:, None] * (filtered @ signals)


def _power(x: NDArray[np.float64], exponent: float) -> NDArray[np.float64]:
    return np.where(x > 0, np.where(x > 0, x, 1.0) ** exponent, 0.0)
