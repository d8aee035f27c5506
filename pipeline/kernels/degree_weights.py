"""Weights of edges anew, by how many neighbours their ends have."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipeline.kernels.array_types import In, Out, kernel
from pipeline.kernels.csr import weight_of
from pipeline.kernels.elementary import power_or_zero


def degree_weights(
    indptr: NDArray[np.int64],
    indices: NDArray[np.int32],
    weights: NDArray[np.float32] | None,
    degree: NDArray[np.int64],
    power: float,
) -> NDArray[np.float32]:
    """``weight(u, v) * (degree(u) * degree(v)) ** power`` of every entry: an edge weighs the same from both ends.

    Parameters
    ----------
    indptr, indices, weights : of an adjacency; None where every weight is 1.
    degree : (n,) int64 neighbours over the whole graph, so that entries of a part weigh what they weigh in the whole.
    power : between -1 and 1, so that float32 holds the products of any degrees. Above 0 a walk prefers nodes with many
        neighbours; below 0 those with few.

    Returns
    -------
    (entries,) float32, the products taken in float64 and rounded once.

    Raises
    ------
    ValueError : for another power.
    """
    if not -1 <= power <= 1:
        raise ValueError(f"power is {power}; it must be from -1 to 1: float32 may not hold the products of more")
    out = np.empty(indices.size, np.float32)
    _weigh(indptr, indices, weights, power_or_zero(degree.astype(np.float64), power), out)
    return out


@kernel
def _weigh(
    indptr: In[np.int64],
    indices: In[np.int32],
    weights: In[np.float32] | None,
    factor: In[np.float64],
    out: Out[np.float32],
) -> None:
    for row in range(indptr.size - 1):
        for e in range(indptr[row], indptr[row + 1]):
            # The two factors first: their product is the same bits from either end.
            both = factor[row] * factor[indices[e]]
            out[e] = np.float32(both * weight_of(weights, e))
