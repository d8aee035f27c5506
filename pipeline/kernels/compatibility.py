"""Which products of columns tell an edge: a matrix between the rows of both ends, in closed form."""

import math

import numpy as np
from numpy.typing import NDArray

_AT_ONCE = 8_192  # rows in float64 at a time


def compatibility_matrix(
    rows: NDArray[np.float32],
    pairs: tuple[NDArray[np.int64], NDArray[np.int64]],
    weights: tuple[NDArray[np.float64], NDArray[np.float64]],
    ridge: float,
    *,
    is_symmetric: bool,
) -> NDArray[np.float64]:
    """The matrix H by which l2(u) H l2(i)^T tells pairs from all other products of both sides, by ridge regression.

    With L = Σ_u v_u l2(u)^T l2(u) over the left side, R the same over the right side and C = Σ l2(u)^T l2(i) over the
    pairs, H = (L + ρ_L)^-1 C (R + ρ_R)^-1, ρ = ``ridge`` times the mean eigenvalue of L or R: the least of

        Σ_u,i v_u w_i (l2(u) H l2(i)^T)^2 - 2 Σ_pairs l2(u) H l2(i)^T,  each side held back by its ridge.

    So every product counts as a negative of weight v_u w_i, though none is formed. Scaled to Frobenius norm sqrt(dim).

    Parameters
    ----------
    rows : (n, dim) float32, of both sides. A zero row adds nothing.
    pairs : two (m,) int64 positions in ``rows``, left and right.
    weights : two (n,) float64, at least 0: v and w. 0: not of this side.
    is_symmetric : pairs have no direction, and the sides are one: H is symmetric then.

    Returns
    -------
    (dim, dim) float64; the identity where the pairs say nothing.

    Cost
    ----
    2 (m + 2 n) dim² operations, and a few dim³.

    Source
    ------
    Lee et al., "NetInfoF", ICLR 2024 (arXiv 2402.07999: a compatibility matrix between rows of neighbours), with the
    implicit negatives of Hu, Koren & Volinsky, "Collaborative filtering for implicit feedback datasets", ICDM 2008.
    """
    dim = rows.shape[1]
    cross = np.zeros((dim, dim))
    for first in range(0, pairs[0].size, _AT_ONCE):
        left, right = (_unit_rows(rows[side[first : first + _AT_ONCE]]) for side in pairs)
        cross += left.T @ right
    if is_symmetric:
        cross += cross.T
    if not cross.any():
        return np.eye(dim)
    left, right = (_with_ridge(_weighted_gram(rows, weight), ridge) for weight in weights)
    matrix = np.linalg.solve(right, np.linalg.solve(left, cross).T).T
    if is_symmetric:
        matrix = (matrix + matrix.T) / 2.0
    return matrix * (math.sqrt(dim) / np.linalg.norm(matrix))


def nearest_root(matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    """The symmetric root of the positive semidefinite matrix nearest to a symmetric one; (dim, dim) float64."""
    values, vectors = np.linalg.eigh(matrix)
    return (vectors * np.sqrt(np.maximum(values, 0.0))) @ vectors.T


def fold_matrix(rows: NDArray[np.float32], matrix: NDArray[np.float64]) -> None:
    """Turn each row x into H x at the length of x, in place, in float64 and rounded once; (n, dim), (dim, dim).

    A row that H makes zero stays as it is.
    """
    for first in range(0, len(rows), _AT_ONCE):
        batch = rows[first : first + _AT_ONCE]
        before = batch.astype(np.float64)
        after = before @ matrix.T
        length = np.sqrt(np.einsum("ij,ij->i", after, after))
        is_changed = length > 0
        scale = np.sqrt(np.einsum("ij,ij->i", before, before))[is_changed] / length[is_changed]
        batch[is_changed] = after[is_changed] * scale[:, None]


def _unit_rows(rows: NDArray[np.float32]) -> NDArray[np.float64]:
    wide = rows.astype(np.float64)
    length = np.sqrt(np.einsum("ij,ij->i", wide, wide))
    length[length == 0.0] = 1.0
    wide /= length[:, None]
    return wide


def _weighted_gram(rows: NDArray[np.float32], weight: NDArray[np.float64]) -> NDArray[np.float64]:
    total = np.zeros((rows.shape[1], rows.shape[1]))
    positions = np.flatnonzero(weight)
    for first in range(0, positions.size, _AT_ONCE):
        batch = positions[first : first + _AT_ONCE]
        unit = _unit_rows(rows[batch])
        total += unit.T @ (unit * weight[batch, None])
    return total


def _with_ridge(gram: NDArray[np.float64], ridge: float) -> NDArray[np.float64]:
    dim = len(gram)
    return gram + np.eye(dim) * (ridge * (float(np.trace(gram)) / dim or 1.0))
