"""Orthogonal Procrustes: the rotation that brings one set of rows nearest to another."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_AT_ONCE = 8_192  # rows in float64 at a time


@dataclass(frozen=True)
class CrossSums:
    """Sums over pairs of rows x, y of the same nodes."""

    products: NDArray[np.float64]  # (dim, dim), of x^T y
    own_squares: float  # of the entries of all x
    other_squares: float  # of all y
    rows: int

    def __add__(self, other: "CrossSums") -> "CrossSums":
        return CrossSums(
            self.products + other.products,
            self.own_squares + other.own_squares,
            self.other_squares + other.other_squares,
            self.rows + other.rows,
        )

    @classmethod
    def zero(cls, dim: int) -> "CrossSums":
        """Sums of no rows."""
        return cls(np.zeros((dim, dim)), 0.0, 0.0, 0)


@dataclass(frozen=True)
class Rotation:
    """An orthogonal matrix, and how near it brings the rows.

    ``residuals`` are ‖X Q - Y‖ / ‖Y‖ by group (Frobenius norms), ``residual`` their root mean square over the groups
    that count: those with common rows that are not all zero.
    """

    matrix: NDArray[np.float64]  # (dim, dim)
    residual: float
    residuals: Mapping[str, float]


def cross_sums(x: NDArray[np.float32], y: NDArray[np.float32]) -> CrossSums:
    """Sums over the rows of two matrices of one shape; (n, dim) float32 each.

    Cost: 2 n dim² operations, and two slabs of 8,192 rows in float64.
    """
    total = CrossSums.zero(x.shape[1])
    for first in range(0, len(x), _AT_ONCE):
        own = x[first : first + _AT_ONCE].astype(np.float64)
        other = y[first : first + _AT_ONCE].astype(np.float64)
        total += CrossSums(own.T @ other, _squares(own), _squares(other), len(own))
    return total


def rotation_to(groups: Mapping[str, CrossSums], dim: int) -> Rotation:
    """Return the orthogonal Q that makes Σ_g ‖X_g Q - Y_g‖² / ‖Y_g‖² least.

    One matrix for all groups, so that products of rows of two groups stay what they are; each group counts the same,
    however many rows it has and however long they are. With C = Σ_g X_g^T Y_g / ‖Y_g‖² = U S V^T, Q = U V^T. Where
    C says nothing (singular values at rounding level: columns that are zero, fewer rows than columns), Q is the
    orthogonal matrix nearest to the identity, so that nothing turns without a reason.

    Parameters
    ----------
    groups : sums by group name, each over rows of width ``dim``.

    Returns
    -------
    Rotation : the identity, with residual inf, if no group has rows that are not all zero on both sides.

    Source
    ------
    Schönemann, "A generalized solution of the orthogonal Procrustes problem", Psychometrika 1966.
    """
    nonzero_groups = {
        name: groups[name] for name in sorted(groups) if groups[name].own_squares * groups[name].other_squares
    }
    if not nonzero_groups:
        return Rotation(np.eye(dim), math.inf, {})
    target = np.zeros((dim, dim))
    for sums in nonzero_groups.values():
        target += sums.products / sums.other_squares
    left, values, right = np.linalg.svd(target)
    is_positive = values > values[0] * dim * np.finfo(np.float64).eps
    matrix = left[:, is_positive] @ right[is_positive]
    if not is_positive.all():
        free_left, free_right = left[:, ~is_positive], right[~is_positive].T
        # The same for any bases of the two null spaces, as long as no direction of one is orthogonal to the other.
        inner_left, _, inner_right = np.linalg.svd(free_left.T @ free_right)
        matrix += free_left @ (inner_left @ inner_right) @ free_right.T
    residuals = {name: _residual(sums, matrix) for name, sums in nonzero_groups.items()}
    overall = math.sqrt(sum(value * value for value in residuals.values()) / len(residuals))
    return Rotation(matrix, overall, residuals)


def rotate_rows(x: NDArray[np.float32], matrix: NDArray[np.float64]) -> None:
    """``x @ matrix`` in place, in float64 and rounded once; a zero row stays one. (n, dim), (dim, dim)."""
    for first in range(0, len(x), _AT_ONCE):
        batch = x[first : first + _AT_ONCE]
        batch[:] = batch.astype(np.float64) @ matrix


def _squares(rows: NDArray[np.float64]) -> float:
    return float(np.einsum("ij,ij->", rows, rows))


def _residual(sums: CrossSums, matrix: NDArray[np.float64]) -> float:
    # ‖XQ - Y‖² by its three terms; near zero it is rounding, which may fall below.
    square = sums.own_squares + sums.other_squares - 2.0 * float(np.sum(matrix * sums.products))
    return math.sqrt(max(0.0, square) / sums.other_squares)
