"""Largest dot products as nearest neighbours, which is what an index by distance or by cosine can find.

Bachrach et al., "Speeding up the Xbox recommender system using a Euclidean transformation for inner-product spaces",
RecSys 2014. Needs numpy, no more.
"""

import numpy as np
from numpy.typing import NDArray


def with_equal_norms(rows: NDArray[np.float32], largest_norm: float) -> NDArray[np.float32]:
    """Return rows with one more column, sqrt(largest_norm² - |x|²), by which all have the norm ``largest_norm``.

    For a query with 0 in that column, the dot product stays what it was. As norms are equal, the largest dot product,
    the largest cosine and the smallest distance are one row.

    Parameters
    ----------
    rows : (n, dim) float32. largest_norm : no row's norm is above it, but for rounding.

    Returns
    -------
    (n, dim + 1) float32, C-contiguous.
    """
    squares = np.einsum("ij,ij->i", rows, rows, dtype=np.float64)
    wide = np.empty((len(rows), rows.shape[1] + 1), np.float32)
    wide[:, :-1] = rows
    wide[:, -1] = np.sqrt(np.maximum(largest_norm**2 - squares, 0.0))
    return wide


def with_zero(queries: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return queries with a last column of 0: what to ask rows of :func:`with_equal_norms` with; (q, dim + 1)."""
    return np.pad(np.asarray(queries, np.float32), ((0, 0), (0, 1)))


def unit_rows(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return rows at norm 1, whose dot products are cosines; zero rows stay; (n, dim) float32."""
    norm = np.sqrt(np.einsum("ij,ij->i", rows, rows, dtype=np.float64))
    return (rows / np.where(norm > 0, norm, 1.0)[:, None]).astype(np.float32)
