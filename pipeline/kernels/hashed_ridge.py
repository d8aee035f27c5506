"""Ridge regression of rows' directions on sparse features, each hashed to one of a bounded number of columns."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pipeline.kernels.hashing import splitmix64

if TYPE_CHECKING:
    from scipy.sparse import csr_array

#: Columns that features share. The intercept has one of its own behind them.
COLUMNS = 2_048
_STREAM = np.uint64(0x7269646765)  # "ridge": what parts these places from the features' random rows


@dataclass
class RidgeSums:
    """X^T X and X^T Y over some hashed features X and directions Y of rows; their order sets the last bits.

    gram : (COLUMNS + 1, COLUMNS + 1) float64. products : (COLUMNS + 1, dim) float64. length : sum of the rows' lengths.
    """

    gram: NDArray[np.float64]
    products: NDArray[np.float64]
    length: float = 0.0

    @classmethod
    def zero(cls, dim: int) -> RidgeSums:
        """Sums of no rows."""
        return cls(np.zeros((COLUMNS + 1, COLUMNS + 1)), np.zeros((COLUMNS + 1, dim)))

    def add(self, features: csr_array, rows: NDArray[np.float32]) -> None:
        """Add the sums over some rows, in place.

        features : as of ``hashed_features``. rows : (n, dim) float32, none zero.
        """
        exact = rows.astype(np.float64)
        length = np.sqrt(np.einsum("ij,ij->i", exact, exact))
        self.gram += (features.T @ features).toarray()
        self.products += features.T @ (exact / length[:, None])
        self.length += math.fsum(length.tolist())


def hashed_features(indptr: NDArray[np.int64], key: NDArray[np.uint64], value: NDArray[np.float32]) -> csr_array:
    """Features as a matrix: each at the column that its key has, with a sign, and a last column of ones.

    Signs make the products of two features that share a column 0 on average.

    Parameters
    ----------
    indptr : (n + 1,) int64. key, value : (features,) of one row after the other.

    Returns
    -------
    (n, COLUMNS + 1) float64 by rows.

    Source
    ------
    Weinberger et al., "Feature hashing for large scale multitask learning", ICML 2009.
    """
    from scipy.sparse import csr_array  # a fifth of a second, which most runs have no use for

    word = splitmix64(key ^ _STREAM)
    column = (word % np.uint64(COLUMNS)).astype(np.int64)
    signed_value = np.where(word >> np.uint64(63), -value.astype(np.float64), value)
    n = indptr.size - 1
    entries = (
        np.insert(signed_value, indptr[1:], 1.0),
        np.insert(column, indptr[1:], COLUMNS),
        indptr + np.arange(n + 1),
    )
    return csr_array(entries, shape=(n, COLUMNS + 1))


def ridge_coefficients(sums: RidgeSums, ridge: float) -> NDArray[np.float64]:
    """A multiple of the W that makes ‖X W - Y‖² + ridge ‖W without its intercept‖² least.

    The multiple gives the predictions X W of the rows summed the root mean square that their lengths have as mean.
    Directions, since a row's length says how popular its node is, of which features know little: regressed as they
    are, the longest rows decide [planted facts, spectral, d = 64: half of the hidden items found at equal cost].

    Parameters
    ----------
    sums : over at least one row. ridge : above 0.

    Returns
    -------
    (COLUMNS + 1, dim) float64, zero at columns without a feature.

    Cost: 1/3 of the columns with a feature to the third, and as many squared times dim.
    """
    feature_columns = np.flatnonzero(np.diag(sums.gram))
    gram, penalty = sums.gram[np.ix_(feature_columns, feature_columns)], np.where(feature_columns < COLUMNS, ridge, 0.0)
    solution = np.linalg.solve(gram + np.diag(penalty), sums.products[feature_columns])
    rows = sums.gram[-1, -1]
    size = math.sqrt(max(float(np.einsum("ij,ij->", solution, gram @ solution)), 0.0) / rows)
    coefficients = np.zeros_like(sums.products)
    if size > 0:
        coefficients[feature_columns] = solution * (sums.length / rows / size)
    return coefficients
