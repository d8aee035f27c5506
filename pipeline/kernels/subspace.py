"""Subspace iteration on tall matrices: Gram sums in float64, orthonormal columns, eigenpairs on a subspace.

Everything that is summed over rows is (columns x columns) and float64, in blocks of fixed size: sums of parts can
be added in any tree, and differ by rounding only.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.kernels.array_types import In, Out, kernel, read_only
from pipeline.kernels.buffers import aligned_empty
from pipeline.kernels.csr import Csr, weight_of

_ROWS_AT_ONCE = 2_048


@dataclass(frozen=True)
class Basis:
    """Columns that make a tall matrix orthonormal.

    transform : (l, l) float64; Y @ transform has ``rank`` orthonormal columns first, by falling singular value, and
        zeros behind them.
    values : (l,) float64 singular values of Y, falling; 0 from ``rank`` on.
    """

    transform: NDArray[np.float64]
    values: NDArray[np.float64]
    rank: int


def gram(x: NDArray[np.float32], scale: NDArray[np.float64] | None = None) -> NDArray[np.float64]:
    """``x.T @ diag(scale) @ x`` in float64; (n, l) float32, (n,) float64 not below 0 -> (l, l), symmetric."""
    total = np.zeros((x.shape[1], x.shape[1]))
    roots = None if scale is None else np.sqrt(scale)
    for first in range(0, len(x), _ROWS_AT_ONCE):
        block = x[first : first + _ROWS_AT_ONCE].astype(np.float64)
        if roots is not None:
            block *= roots[first : first + _ROWS_AT_ONCE, None]
        total += block.T @ block  # the same array twice: half the work, and exactly symmetric
    return total


def cross_sums(x: NDArray[np.float32], y: NDArray[np.float32]) -> NDArray[np.float64]:
    """``x.T @ y`` in float64; (n, l) and (n, m) float32 -> (l, m)."""
    total = np.zeros((x.shape[1], y.shape[1]))
    for first in range(0, len(x), _ROWS_AT_ONCE):
        rows = slice(first, first + _ROWS_AT_ONCE)
        total += x[rows].astype(np.float64).T @ y[rows].astype(np.float64)
    return total


def combine_columns(
    x: NDArray[np.float32], matrix: NDArray[np.float64], out: NDArray[np.float32] | None = None
) -> NDArray[np.float32]:
    """``x @ matrix``, float32 throughout; (n, l) and (l, m) -> (n, m), by default in a new, 64-byte aligned matrix."""
    target = aligned_empty((len(x), matrix.shape[1])) if out is None else out
    # OpenBLAS may raise the processor's flag for what it reads beside small operands and throws away (as in
    # numpy/numpy#24067). Rows that are not finite are refused when they are finished.
    with np.errstate(invalid="ignore"):
        np.matmul(x, matrix.astype(np.float32), out=target)
    return target


def orthonormal_columns(sums: NDArray[np.float64], noise: float) -> Basis:
    """Return what makes Y orthonormal, from Y^T Y: Y = U W E^T, so that Y E W^-1 = U.

    Parameters
    ----------
    sums : (l, l) float64 Gram matrix.
    noise : singular values of at most this share of the largest count as rounding noise: their columns are zero.

    Source
    ------
    Halko, Martinsson & Tropp, SIAM Review 53 (2011), algorithm 4.4, with the Gram matrix in float64 in the place
    of a QR of float32 rows: it is exact to 1e-16 of the largest value squared, rows to 1e-7 of the largest.
    """
    values, vectors = _symmetric_eigen(sums)
    roots = np.sqrt(np.maximum(values[::-1], 0.0))
    columns = vectors[:, ::-1]
    rank = int(np.count_nonzero(roots > noise * roots[:1].max(initial=0.0)))
    transform = np.zeros_like(columns)
    transform[:, :rank] = _with_fixed_signs(columns[:, :rank]) / roots[:rank]
    roots[rank:] = 0.0
    return Basis(transform, roots, rank)


def eigenpairs(
    operator: NDArray[np.float64], *, by_magnitude: bool, slack: float = 0.0
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Eigenpairs of Z^T A Z, the Rayleigh-Ritz approximation of A's on the columns of an orthonormal Z.

    Parameters
    ----------
    slack : share of the largest magnitude by which magnitudes may differ and count as equal; of equal ones the
        positive come first. A graph whose edges all run between two halves has -w for every w: rounding must not
        choose which of the two is left out.

    Returns
    -------
    values : (l,) float64, falling, or by falling magnitude.
    vectors : (l, l) float64 columns, the largest entry of each positive.
    """
    values, vectors = _symmetric_eigen(operator)
    order = np.argsort(-np.abs(values) if by_magnitude else -values, kind="stable")
    if by_magnitude:
        order = _positive_first(values, order, slack)
    return values[order], _with_fixed_signs(vectors[:, order])


def _positive_first(values: NDArray[np.float64], order: NDArray[np.intp], slack: float) -> NDArray[np.intp]:
    """Put positive values first among those that follow each other with magnitudes of about the first one's."""
    sizes = np.abs(values[order])
    least = sizes - slack * sizes[:1].max(initial=0.0)
    groups = []
    start = 0
    while start < order.size:
        stop = start + int(np.count_nonzero(sizes[start:] >= least[start]))
        group = order[start:stop]
        groups.append(group[np.argsort(values[group] < 0, kind="stable")])
        start = stop
    return np.concatenate([order[:0], *groups])


def weighted_square_sums(
    matrix: Csr, factors: NDArray[np.float64], start: int, stop: int, first_col: int
) -> NDArray[np.float64]:
    """Sum of ``(weight * factor of the neighbour) ** 2`` over the entries of rows start to stop.

    Parameters
    ----------
    factors : (m,) float64, those of the columns from ``first_col`` on.

    Returns
    -------
    (stop - start,) float64, added in entry order.
    """
    sums = np.zeros(stop - start)
    _add_squares(read_only(matrix), factors, start, stop, first_col, sums)
    return sums


def _symmetric_eigen(matrix: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    values, vectors = np.linalg.eigh((matrix + matrix.T) / 2)
    return values, vectors


def _with_fixed_signs(columns: NDArray[np.float64]) -> NDArray[np.float64]:
    largest = np.take_along_axis(columns, np.abs(columns).argmax(axis=0)[None, :], axis=0)
    return columns * np.where(largest < 0, -1.0, 1.0)


@kernel
def _add_squares(
    matrix: Csr, factors: In[np.float64], start: int, stop: int, first_col: int, sums: Out[np.float64]
) -> None:
    indptr, indices, weights = matrix
    for i in range(start, stop):
        total = 0.0
        for e in range(indptr[i], indptr[i + 1]):
            term = factors[indices[e] - first_col] * weight_of(weights, e)
            total += term * term
        sums[i - start] = total
