"""The logarithm of the transition matrix in dense float64, its factors, and ProNE as its authors published it."""

from __future__ import annotations

import numpy as np
from scipy import sparse
from scipy.special import iv
from sklearn.utils.extmath import randomized_svd

from tests.oracles.simulator import Graph


def dense_adjacency(graph: Graph) -> np.ndarray:
    """(n, n) float64; a loop stands once on the diagonal."""
    n = graph.node_key.size
    matrix = np.zeros((n, n))
    matrix[graph.src, graph.dst] = graph.weight
    matrix[graph.dst, graph.src] = graph.weight
    return matrix


def log_transition_matrix(adjacency: np.ndarray) -> np.ndarray:
    """F_ij = ln(A_ij / d_i) - ln n_j where A_ij is not 0, n_j = c_j^.75 / Σ c^.75, c_j = Σ_i A_ij / d_i."""
    degree = adjacency.sum(axis=1, keepdims=True)
    walks = np.divide(adjacency, degree, out=np.zeros_like(adjacency), where=degree > 0)
    noise = walks.sum(axis=0) ** 0.75
    chance = np.broadcast_to(noise / noise.sum(), walks.shape)
    logs = np.zeros_like(walks)
    is_edge = adjacency > 0
    logs[is_edge] = np.log(walks[is_edge]) - np.log(chance[is_edge])
    return logs


def prone(adjacency: sparse.csr_array, dim: int, *, propagates: bool, seed: int = 0) -> np.ndarray:
    """Rows of ProNE: factors by a randomised SVD of five iterations, then its band-pass of degree 10.

    Source
    ------
    https://github.com/THUDM/ProNE, proNE.py: pre_factorization, chebyshev_gaussian, get_embedding_dense.
    """
    walks = sparse.csr_array(sparse.diags_array(1.0 / adjacency.sum(axis=1)) @ adjacency)
    noise = walks.sum(axis=0) ** 0.75
    logs = walks.copy()
    logs.data = np.log(walks.data) - np.log(noise / noise.sum())[walks.indices]
    left, values, _ = randomized_svd(logs, dim, n_iter=5, random_state=seed)
    rows = unit(left * np.sqrt(values))
    return _propagated(adjacency, rows) if propagates else rows


def unit(rows: np.ndarray) -> np.ndarray:
    """Rows of norm 1; zero rows stay."""
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    return rows / np.where(length > 0, length, 1.0)


def _propagated(adjacency: sparse.csr_array, rows: np.ndarray, mu: float = 0.2, theta: float = 0.5) -> np.ndarray:
    looped = sparse.csr_array(adjacency + sparse.eye_array(len(rows)))
    step = (1.0 - mu) * sparse.eye_array(len(rows)) - sparse.diags_array(1.0 / looped.sum(axis=1)) @ looped
    before, term = rows, 0.5 * (step @ (step @ rows)) - rows
    total = iv(0, theta) * before - 2.0 * iv(1, theta) * term
    for degree in range(2, 10):
        before, term = term, step @ (step @ term) - 2.0 * term - before
        total += (-1.0) ** degree * 2.0 * iv(degree, theta) * term
    left, values, _ = np.linalg.svd(looped @ (rows - total), full_matrices=False)
    return unit(left * np.sqrt(values))
